"""JPEG files, read to their quantised coefficients and written again, without loss."""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_smoothadv import checks

__all__ = ["File", "read", "written"]

SAMPLING = ((1, 1), (1, 2), (2, 2))  # 4:4:4, 4:2:2, 4:2:0: pixels to one of chroma, down and across
HUFFMAN: tuple[list[str], ...] = (
    [],
    ["+OPTIMIZE_CODING"],
)  # flags of jpeglib: the standard's tables of codes, or the file's own
START_OF_SCAN, RESTARTS, METADATA = 0xDA, range(0xD0, 0xD9), (*range(0xE0, 0xF0), 0xFE)  # markers of segments


@dataclasses.dataclass(frozen=True)
class File:
    """What a JPEG file holds.

    Attributes:
        name: what it is called in messages.
        height, width: of the image, in pixels.
        sampling: pixels to one of the chroma planes, down and across.
        planes: luminance, and of colours Cb and Cr: int16 [rows, columns, 8, 8], blocks of vertical by horizontal
            frequencies.
        tables: the steps of each plane, [planes, 8, 8].
    """

    name: str
    height: int
    width: int
    sampling: tuple[int, int]
    planes: tuple[np.ndarray, ...]
    tables: np.ndarray
    content: bytes = dataclasses.field(repr=False)
    handle: Any = dataclasses.field(repr=False)


def read(file: str | pathlib.Path | bytes) -> File:
    """Reads a JPEG file, given by its path or its content.

    Raises:
        ValueError: what cannot be read, is no JPEG file of grey or of YCbCr, or of another subsampling.
        ImportError: without jpeglib.
    """
    try:
        import jpeglib
    except ImportError as error:
        raise ImportError("JPEG files need jpeglib: pip install 'tf_smoothadv[jpeg]'") from error
    name = "the JPEG file" if isinstance(file, bytes) else str(file)
    try:
        content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror}") from None
    if not content.startswith(b"\xff\xd8\xff"):
        raise ValueError(f"cannot read {name}: it is no JPEG file")
    with tempfile.NamedTemporaryFile(suffix=".jpeg") as copied:
        copied.write(content)
        copied.flush()
        try:
            handle = jpeglib.read_dct(copied.name)
            handle.load()
        except Exception as error:  # of many kinds, by what is wrong with the file
            raise ValueError(f"cannot read {name}: {checks.first_line(error)}") from None
    planes = (handle.Y, handle.Cb, handle.Cr)[: handle.num_components]
    if handle.num_components not in (1, 3):
        raise ValueError(f"{name} must be grey or of YCbCr; it has {handle.num_components} planes: convert it to RGB")
    factors = np.array(handle.samp_factor)
    sampling = tuple(int(value) for value in factors[0] // factors[-1]) if len(planes) == 3 else (1, 1)
    if sampling not in SAMPLING or (len(planes) == 3 and tuple(factors[1]) != tuple(factors[2])):
        raise ValueError(f"{name} must have a subsampling of 4:4:4, 4:2:2 or 4:2:0; received {factors.tolist()}")
    tables = np.stack([handle.qt[number] for number in handle.quant_tbl_no])
    return File(name, handle.height, handle.width, sampling, planes, tables, content, handle)


def written(file: File, planes: list[np.ndarray]) -> bytes:
    """The content of the file with other coefficients, of the shapes of its `planes`.

    Its metadata are the file's, byte for byte. Its codes are the standard's or its own, whichever makes it more like
    the file in size. A progressive file becomes a sequential one.
    """
    handle = copy.copy(file.handle)
    for name, plane in zip(("Y", "Cb", "Cr"), planes):
        setattr(handle, name, np.ascontiguousarray(plane, np.int16))
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "written.jpeg"
        for flags in HUFFMAN:
            handle.write_dct(str(path), flags=flags)
            contents.append(_with_metadata(path.read_bytes(), file.content))
    return min(contents, key=lambda content: abs(len(content) - len(file.content)))


def _with_metadata(content: bytes, original: bytes) -> bytes:
    """A file with the metadata of another one in place of its own."""
    taken = b"".join(segment for marker, segment in _segments(original) if marker in METADATA)
    kept = b"".join(segment for marker, segment in _segments(content) if marker not in METADATA)
    return content[:2] + taken + kept


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments of a JPEG file after its first marker, each with its own; the last one is all from the scan on."""
    place = 2
    while place + 4 <= len(content):
        marker = content[place + 1]
        if content[place] != 0xFF or marker == START_OF_SCAN:
            break
        if marker == 0xFF or marker in RESTARTS:  # one byte to fill up, or a marker without a length
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        yield marker, content[place:end]
        place = end
    yield START_OF_SCAN, content[place:]
