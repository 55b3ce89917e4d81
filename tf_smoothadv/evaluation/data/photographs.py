"""Files of photographs: each read with what it is saved as, and written again like its own, with its metadata."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import tensorflow as tf

import tf_smoothadv as sa
from tf_smoothadv import checks
from tf_smoothadv.attacks import core
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.evaluation.data import decoding

__all__ = ["FORMATS", "MARK", "Photo", "by_tensorflow", "encoded", "photos", "read", "write"]

FORMATS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp"}
MARK = ".adversarial"  # what the name of an output ends in
ORIENTATION = 0x0112  # among the tags of EXIF


class Photo(NamedTuple):
    """A photograph as it lies in a file.

    Attributes:
        pixels: uint8 [H, W, C], in the order in which the file has them.
        orientation: of EXIF, how a viewer turns them.
        delivery: what it is saved as.
        format: of FORMATS.
        metadata: what PIL is to keep of the file's, unless it is a JPEG file, which keeps its own.
    """

    pixels: np.ndarray
    orientation: int
    delivery: Delivery
    format: str
    metadata: dict[str, Any]


def photos(paths: Iterable[str | pathlib.Path]) -> list[pathlib.Path]:
    """The image files at these paths: files, and those in flat folders but for outputs of before.

    Raises:
        ValueError: a path where nothing is, a folder without images, or none at all.
    """
    found: dict[pathlib.Path, None] = {}
    for path in map(pathlib.Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise ValueError(f"cannot read {path}: there is no such file")
            found[path] = None
            continue
        inside = [file for file in sorted(path.iterdir()) if file.suffix.lower() in decoding.SUFFIXES]
        inside = [file for file in inside if not file.stem.endswith(MARK)]
        if not inside:
            raise ValueError(f"{path} holds no image: {', '.join(decoding.SUFFIXES)}")
        found |= dict.fromkeys(inside)
    if not found:
        raise ValueError("name at least one image file or folder; received none")
    return list(found)


def read(content: bytes, upright: np.ndarray, name: str, format: str | None = None, quality: int = 95) -> Photo:
    """A photograph from the content of a file.

    Args:
        content: of the file, which `decoding.decode` has read.
        upright: the pixels that it gave.
        name: what the file is called in messages.
        format: of FORMATS, what it is to be written as; None for what it is.
        quality: of a JPEG file that is made of another one, 1 to 100.

    Raises:
        ValueError: a JPEG file that `Jpeg` refuses.
    """
    with PIL.Image.open(io.BytesIO(content)) as image:
        own = "jpeg" if image.format in ("JPEG", "MPO") else str(image.format).lower()
        orientation = image.getexif().get(ORIENTATION, 1)
        metadata = _metadata(image)
    wanted = format or own
    if wanted != "jpeg":
        return Photo(upright, 1, sa.Levels(), wanted, metadata)
    if own != "jpeg":
        buffer = io.BytesIO()
        picture = PIL.Image.fromarray(upright.squeeze())
        picture.save(buffer, "JPEG", quality=int(quality), subsampling=0, **metadata)
        content, orientation = buffer.getvalue(), 1
    try:
        delivery = sa.Jpeg([content])
    except ValueError as error:
        raise ValueError(str(error).replace("the JPEG file", name)) from None
    (pixels,) = checks.as_levels(delivery.images, "images")
    return Photo(pixels, orientation if orientation in range(1, 9) else 1, delivery, "jpeg", metadata)


def encoded(photo: Photo, result: core.AttackResult) -> bytes:
    """The file of the adversarial image, with the metadata of the photograph."""
    if isinstance(photo.delivery, sa.Jpeg):
        return photo.delivery.encode(result.code)[0]
    (pixels,) = checks.as_levels(result.adversarial, "images")
    buffer = io.BytesIO()
    options = {"lossless": True, "exact": True} if photo.format == "webp" else {}
    PIL.Image.fromarray(pixels.squeeze()).save(buffer, photo.format.upper(), **options, **photo.metadata)
    return buffer.getvalue()


def _metadata(image: PIL.Image.Image) -> dict[str, Any]:
    """What PIL keeps of an image's metadata when it saves it again, for pixels that are upright."""
    exif = image.getexif()
    exif.pop(ORIENTATION, None)
    kept: dict[str, Any] = {name: image.info[name] for name in ("icc_profile", "dpi", "xmp") if name in image.info}
    return kept | ({"exif": exif.tobytes()} if len(exif) else {})


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a file whole, or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def by_tensorflow(path: pathlib.Path, method: str, channels: int = 3) -> np.ndarray:
    """What TensorFlow decodes a JPEG file to, uint8 [H, W, C], by one of its methods, in the order of its pixels."""
    pixels: np.ndarray = tf.io.decode_jpeg(path.read_bytes(), channels, dct_method=method).numpy()
    return pixels
