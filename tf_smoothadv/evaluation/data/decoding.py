"""The one decoder of image files: an image is what PIL, and a viewer, shows."""

from __future__ import annotations

import functools
import io
import pathlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
from absl import logging

from tf_smoothadv.evaluation.data.remote import Remote

__all__ = ["SUFFIXES", "decode", "read"]

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp")
GREY = ("1", "L", "LA")  # PIL's modes of one channel, but for the 16 bits of I;16


def read(path: pathlib.Path | Remote, name: str | None = None, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The pixels of an image file, see `decode`.

    Args:
        path: the file.
        name: what it is called in messages; by default its path.
        shape: what [H, W, C] must be; None for any.

    Raises:
        ValueError: a file that cannot be read, what `decode` refuses, or another shape.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {name or path}: {error.strerror or error}") from None
    pixels = decode(encoded, name or str(path))
    if shape not in (None, pixels.shape):
        raise ValueError(f"{name or path} must be of the shape {shape}, like its original; received {pixels.shape}")
    return pixels


def decode(encoded: bytes, name: str) -> np.ndarray:
    """The pixels of a PNG, JPEG, BMP or WebP file, whichever its content says, upright as its EXIF orientation says.

    They are those of PIL to the last bit: palettes and CMYK become RGB, opaque alpha is left out. Of 16 bits, grey is
    rounded to 8 bits, and colours keep the upper 8 bits. Of a JPEG that holds several pictures, as some cameras write
    it, the first is taken. Colours are taken as sRGB; a warning names a file with another colour profile, once.

    Args:
        encoded: the content of the file.
        name: what it is called in messages.

    Returns:
        uint8 [H, W, C], C = 1 for grey and 3 for colours.

    Raises:
        ValueError: another format (GIF is one), a damaged file, an animation, or transparency: pixels that are not
            opaque, or a colour that stands for transparent ones.
    """
    try:
        with PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise ValueError("it is an animation; save one of its frames as an image")
            pixels = _opaque(PIL.ImageOps.exif_transpose(image))
            profile = image.info.get("icc_profile")
        # PIL shows a PNG whose checksums are wrong, and with it wrong pixels; only this looks at them.
        with PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            image.verify()
    except PIL.UnidentifiedImageError:
        raise ValueError(f"cannot read {name}: cannot identify image file; it must be PNG, JPEG, BMP or WebP") from None
    except Exception as error:  # of many kinds, by what is wrong with the file
        raise ValueError(f"cannot read {name}: {' '.join(str(error).split()) or type(error).__name__}") from None
    if profile and not _is_srgb(profile):
        _warn_of_profile(name)
    return pixels


def _opaque(image: PIL.Image.Image) -> np.ndarray:
    """The pixels without the alpha channel."""
    if "transparency" in image.info and image.mode != "P":
        # PIL finds that colour only where channels have 8 bits.
        raise ValueError("it names a colour that is transparent; save it without transparency")
    if image.mode.startswith("I"):
        return np.round(np.asarray(image)[..., np.newaxis] / 257).astype(np.uint8)
    grey = image.mode in GREY
    if not image.has_transparency_data:
        pixels = np.array(image.convert("L" if grey else "RGB"))
        return pixels[..., np.newaxis] if grey else pixels
    pixels = np.array(image.convert("LA" if grey else "RGBA"))
    if pixels[..., -1].min() < 255:
        raise ValueError("it has transparent pixels; save it without transparency")
    return pixels[..., :-1]


@functools.lru_cache
def _is_srgb(profile: bytes) -> bool:
    try:
        return "sRGB" in PIL.ImageCms.getProfileDescription(io.BytesIO(profile))
    except PIL.ImageCms.PyCMSError:
        return False


@functools.cache  # a file is decoded several times
def _warn_of_profile(name: str) -> None:
    logging.warning("%s has a colour profile other than sRGB, which is ignored: convert it if colours matter", name)
