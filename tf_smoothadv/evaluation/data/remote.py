"""Folders that are not of this machine, as far as datasets look at folders: on any of Beam's filesystems."""

from __future__ import annotations

import fnmatch
import pathlib
from collections.abc import Iterator
from typing import Any

__all__ = ["Remote", "folder_of"]


def folder_of(path: str) -> pathlib.Path | Remote:
    """A folder of this machine, or of where a URL such as gs://BUCKET/FOLDER says.

    Raises:
        ValueError: a URL without apache-beam installed, or that no filesystem of Beam's knows.
    """
    return Remote.listed(path.rstrip("/")) if "://" in path else pathlib.Path(path)


class Remote:
    """A file or folder at a URL, with those methods of `pathlib.Path` that datasets need.

    Args:
        url: where it is.
        files: the URLs of all files below the folder that was listed.
    """

    def __init__(self, url: str, files: frozenset[str]) -> None:
        self._url, self._files = url, files

    @classmethod
    def listed(cls, url: str) -> Remote:
        """A folder, whose files are listed once; raises ValueError as `folder_of` does."""
        try:
            from apache_beam.io.filesystems import FileSystems
        except ModuleNotFoundError:
            raise ValueError(f"{url} needs apache-beam: pip install 'tf_smoothadv[beam]'") from None
        try:
            (found,) = FileSystems.match([f"{url}/**"])
        except Exception as error:  # of many kinds, by the filesystem
            raise ValueError(f"cannot list {url}: {' '.join(str(error).split())}") from error
        return cls(url, frozenset(metadata.path for metadata in found.metadata_list))

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self._url}/{name}", self._files)

    def __str__(self) -> str:
        return self._url

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Remote) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self._url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The same without the suffix."""
        return pathlib.PurePosixPath(self.name).stem

    def exists(self) -> bool:
        """Whether it is a file or a folder."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._url in self._files

    def is_dir(self) -> bool:
        """Whether there is a file below it."""
        return any(file.startswith(f"{self._url}/") for file in self._files)

    def iterdir(self) -> Iterator[Remote]:
        """What is in the folder."""
        start = f"{self._url}/"
        below = {file.removeprefix(start).partition("/")[0] for file in self._files if file.startswith(start)}
        return (self / name for name in sorted(below))

    def glob(self, pattern: str) -> Iterator[Remote]:
        """What is in the folder and has such a name."""
        return (entry for entry in self.iterdir() if fnmatch.fnmatchcase(entry.name, pattern))

    def relative_to(self, folder: Remote) -> pathlib.PurePosixPath:
        """The path within a folder."""
        return pathlib.PurePosixPath(self._url.removeprefix(f"{folder}/"))

    def read_bytes(self) -> bytes:
        """The content of the file; raises OSError where it cannot be read."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        if not self.is_file():
            raise FileNotFoundError(2, "No such file", self._url)
        with FileSystems.open(self._url, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            content: bytes = file.read()
        return content

    def read_text(self, encoding: str) -> str:
        """The same as text."""
        return self.read_bytes().decode(encoding)
