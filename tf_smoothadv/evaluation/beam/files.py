"""Files on any of Beam's filesystems, local ones among them: each is written whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import uuid
from collections.abc import Sequence

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

__all__ = ["copy_tree", "exists", "joined", "names", "read", "remove", "use", "write"]

PART = ".part-"


def use(arguments: Sequence[str]) -> None:
    """Tells the filesystems of this process the flags of Beam, which not every runner tells its workers."""
    FileSystems.set_options(PipelineOptions(list(arguments)))


def joined(folder: str, *names: str) -> str:
    """The path of a file in a folder.

    >>> joined("gs://bucket/run", "images", "a.png")
    'gs://bucket/run/images/a.png'
    """
    return "/".join([folder.rstrip("/"), *names])


def read(path: str) -> bytes:
    """The content of a file, as it lies there."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        content: bytes = file.read()
    return content


def write(path: str, content: bytes) -> None:
    """Writes a file, under a name of its own first.

    Raises:
        OSError: what the filesystem says, with what to do.
    """
    part = f"{path}{PART}{uuid.uuid4().hex}"
    try:
        _make_folder(path)
        with FileSystems.create(part, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(content)
        _put(part, path)
    except (OSError, BeamIOError) as error:
        remove(part)
        raise OSError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}; make room there or name another "
            "folder, and give the same command again"
        ) from error


def exists(path: str) -> bool:
    """Whether there is such a file."""
    found: bool = FileSystems.exists(path)
    return found


def names(folder: str) -> set[str]:
    """The paths of the files below a folder, relative to it; none where there is no such folder."""
    start = folder.rstrip("/") + "/"
    (found,) = FileSystems.match([start + "**"])
    return {metadata.path.removeprefix(start) for metadata in found.metadata_list}


def remove(path: str) -> None:
    """Removes a file, if it is there."""
    with contextlib.suppress(OSError, BeamIOError):
        FileSystems.delete([path])


def copy_tree(folder: pathlib.Path, target: str) -> None:
    """Writes the files below a local folder to another one."""
    for root, _, files in os.walk(folder):
        for name in sorted(files):
            path = pathlib.Path(root, name)
            write(joined(target, *path.relative_to(folder).parts), path.read_bytes())


def _make_folder(path: str) -> None:
    """Makes the folder of a file where the filesystem has folders."""
    if "://" not in path:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)


def _put(part: str, path: str) -> None:
    """Gives a whole file its name, which another process may have given to the same content already."""
    try:
        FileSystems.rename([part], [path])
    except BeamIOError:
        if not exists(path):
            raise
        remove(part)
