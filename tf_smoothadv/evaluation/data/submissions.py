"""Adversarial images that anybody made, from a folder of PNG files or from arrays in a .npz file."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_smoothadv import checks, protocol
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import decoding, formats

__all__ = ["ARRAYS", "PNG", "Submission", "read", "read_all", "some"]

ARRAYS = ".npz"
PNG = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH = 24  # where a PNG file tells it


class Submission(NamedTuple):
    """What one attack made of the images of a dataset, or of some of them.

    Attributes:
        path: where it lies.
        images: by index in the dataset, [H, W, C], uint8 or float32 in [0, 1].
    """

    path: pathlib.Path
    images: dict[int, np.ndarray]

    def on(self, originals: protocol.Originals) -> np.ndarray:
        """The adversarial images [B, H, W, C] in [0, 1]; an original of which there is none stands for itself."""
        pairs = zip(originals.indices.tolist(), originals.images)
        return np.stack([_floats(self.images.get(index, original)) for index, original in pairs])

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Those of these indices that it has no image of."""
        return [index for index in indices if index not in self.images]

    def part(self, shard: tuple[int, int]) -> Submission:
        """The i-th of n parts of it, by the indices that its images have among those of `shard` (i, n)."""
        first, parts = shard[0] - 1, shard[1]
        images = {(place - first) // parts: image for place, image in self.images.items() if place % parts == first}
        return Submission(self.path, images)

    def described(self) -> dict[str, Any]:
        """What tells it from others, for JSON."""
        digest = hashlib.sha256()
        for index, image in sorted(self.images.items()):
            digest.update(f"{index} {image.dtype}".encode())
            digest.update(image.tobytes())
        return {"path": str(self.path), "images": len(self.images), "fingerprint": digest.hexdigest()[:16]}


def read_all(paths: Sequence[pathlib.Path], names: Sequence[str], shape: tuple[int, ...]) -> dict[str, Submission]:
    """Submissions by their names, each the last part of its path, without the ending of a file.

    Args:
        paths: of folders and .npz files.
        names: of the dataset's images.
        shape: [H, W, C], theirs.

    Raises:
        ValueError: two of one name, one named like the originals, and what `read` refuses.
    """
    by_name: dict[str, pathlib.Path] = {}
    for path in paths:
        whole = pathlib.Path(os.path.abspath(path))
        name = whole.name if path.is_dir() else whole.stem
        if name == records.ORIGINAL:
            raise ValueError(f"{path}: {name!r} is what images are called before an attack; give it another name")
        if name in by_name:
            raise ValueError(f"{by_name[name]} and {path} are both named {name}: give one of them another name")
        by_name[name] = path
    return {name: Submission(path, read(path, names, shape)) for name, path in by_name.items()}


def some(path: pathlib.Path, names: Mapping[int, str], shape: tuple[int, ...]) -> Submission:
    """The images of these indices and names, of what `read` has found to be right."""
    if path.is_dir():
        files = _by_name(path)
        found = {index: files[name] for index, name in names.items() if name in files}
        return Submission(path, {index: _pixels(file, shape) for index, file in found.items()})
    images, places = _known_arrays(path)
    chosen = [place for place, index in enumerate(places) if index in names]
    if not chosen:
        return Submission(path, {})
    checked = _checked(images[chosen], f"images of {path}", shape)
    return Submission(path, dict(zip((places[place] for place in chosen), checked)))


@functools.cache
def _by_name(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    return {_name(file, folder): file for file in _files(folder) if _is_image(file)}


@functools.lru_cache(maxsize=1)  # it may be large
def _known_arrays(path: pathlib.Path) -> tuple[np.ndarray, list[int]]:
    images, indices = _arrays(path)
    return images, list(range(len(images))) if indices is None else indices.tolist()


def read(path: pathlib.Path, names: Sequence[str], shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The images of a folder or .npz file by their indices among the dataset's.

    Args:
        path: a folder with NAME.png for each image, of 8 bits a channel, NAME its name in the dataset, slashes being
            folders; a warning names what else is there and is ignored. Or a .npz file with an array `images`
            [N, H, W, C], uint8 or floats in [0, 1], and optionally `indices` [N], where they stand in the
            dataset, without which they are its first N.
        names: of the dataset's images.
        shape: [H, W, C], theirs.

    Raises:
        ValueError: what cannot be read, of another shape, format or name, or values outside [0, 1].
    """
    if path.is_dir():
        return _from_folder(path, names, shape)
    if path.suffix == ARRAYS:
        return _from_arrays(path, names, shape)
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}")
    raise ValueError(f"{path} must be a folder of PNG files or a {ARRAYS} file")


def _from_folder(path: pathlib.Path, names: Sequence[str], shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    files = _files(path)
    visible = [file for file in files if _is_image(file)]
    if not visible:
        raise ValueError(f"{path} holds no PNG files; they are named like {names[0]}.png")
    formats.warn_of_ignored(path, set(files) - set(visible))
    indices = {name: index for index, name in enumerate(names)}
    images = {}
    for file in visible:
        name = _name(file, path)
        if name not in indices:
            raise ValueError(
                f"{file} is named like none of the dataset's {len(names)} images, {names[0]} to {names[-1]}: "
                "--dataset, --data and --num_images say which they are"
            )
        images[indices[name]] = _pixels(file, shape)
    return images


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


def _is_image(file: pathlib.Path) -> bool:
    return file.suffix.lower() in decoding.SUFFIXES


def _name(file: pathlib.Path, folder: pathlib.Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _pixels(file: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
    with open(file, "rb") as opened:
        start = opened.read(BIT_DEPTH + 1)
    if not start.startswith(PNG):
        raise ValueError(f"{file} is no PNG file: an adversarial image must be stored without loss")
    if start[BIT_DEPTH:] == b"\x10":
        raise ValueError(
            f"{file} has 16 bits a channel: an adversarial image must be stored with the 8 that are judged"
        )
    return decoding.read(file, shape=shape)


def _from_arrays(path: pathlib.Path, names: Sequence[str], shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    images, indices = _arrays(path)
    images = _checked(images, f"images of {path}", shape)
    if indices is None:
        indices = np.arange(len(images))
    if indices.dtype.kind not in "iu" or indices.shape != images.shape[:1]:
        raise ValueError(
            f"indices of {path} must be integers [{len(images)}], one an image; received {indices.dtype} "
            f"{list(indices.shape)}"
        )
    places: list[int] = indices.tolist()
    outside = [index for index in places if not 0 <= index < len(names)]
    if outside:
        raise ValueError(
            f"{path} has an image of index {outside[0]}, the dataset has the indices 0 to {len(names) - 1}: "
            "--num_images takes more"
        )
    if len(set(places)) < len(places):
        raise ValueError(f"indices of {path} must differ; one of them comes twice")
    return dict(zip(places, images))


def _arrays(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays `images` and, if it is there, `indices`."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return file["images"], file.get("indices")
    except FileNotFoundError:
        raise ValueError(f"no such file or folder: {path}") from None
    except Exception as error:  # zipfile, zlib, EOF, key and value errors, by what is wrong with the file
        raise ValueError(f"{path} is no {ARRAYS} file with an array 'images': {error}") from None


def _checked(images: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Arrays as uint8 or float32 in [0, 1], [N, *shape]."""
    if images.shape[1:] != shape or not len(images):
        channels_first = images.shape[1:] == (shape[-1], *shape[:-1])
        remedy = "; images.transpose(0, 2, 3, 1) puts the channels last" if channels_first else ""
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be [N, {wanted}], like the originals; received {list(images.shape)}{remedy}")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise ValueError(f"{name} must be uint8 or floats in [0, 1]; received {images.dtype}")
    checked: np.ndarray = checks.as_images(images.astype(np.float32), name).numpy()
    return checked


def _floats(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
