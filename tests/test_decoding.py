"""The decoder against PIL, TensorFlow and the definitions of the formats."""

from __future__ import annotations

import io
import logging
import pathlib
import re
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tensorflow as tf

from tests.conftest import needs_shared
from tf_smoothadv.evaluation.data import decoding

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (17, 11, 3), np.uint8)
RAMP = np.stack([*np.meshgrid(np.arange(64) * 4, np.arange(48) * 5), np.full((48, 64), 90)], -1).astype(np.uint8)
PHOTO = PIL.Image.fromarray(RAMP)
ORIENTATION = 0x112


def encoded(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(depth: int, color: int, pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file, by the format's definition, of samples [H, W, C] of so many bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    bits = np.unpackbits(pixels.astype(">u2").reshape(height, -1, 1).view(np.uint8), axis=-1)[..., 16 - depth :]
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits.reshape(height, -1))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def bitmap(pixels: np.ndarray) -> bytes:
    """A BMP file with an alpha channel, which PIL reads but does not write."""
    height, width, _ = pixels.shape
    body = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHH6I", 108, width, height, 1, 32, 3, len(body), 0, 0, 0, 0) + masks
    return b"BM" + struct.pack("<3I", 122 + len(body), 0, 122) + info.ljust(108, b"\0") + body


def shown(content: bytes, mode: str = "RGB") -> np.ndarray:
    """What PIL shows."""
    pixels = np.array(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(content))).convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def turned(kind: str, orientation: int, image: PIL.Image.Image, **options: object) -> bytes:
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, kind, exif=exif, **options)


FILES = {
    "PNG": encoded(PHOTO, "PNG"),
    "PNG in a palette": encoded(PHOTO.quantize(7), "PNG"),
    "JPEG": encoded(PHOTO, "JPEG", quality=90),
    "JPEG, colours whole": encoded(PHOTO, "JPEG", quality=95, subsampling=0),
    "JPEG, progressive": encoded(PHOTO, "JPEG", progressive=True),
    "JPEG, turned": turned("JPEG", 6, PHOTO),
    "JPEG, CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "BMP": encoded(PHOTO, "BMP"),
    "BMP in a palette": encoded(PHOTO.quantize(7), "BMP"),
    "WebP": encoded(PHOTO, "WEBP"),
    "WebP without loss": encoded(PHOTO, "WEBP", lossless=True),
    "WebP, turned": turned("WEBP", 8, PHOTO, lossless=True),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_every_format_is_what_pil_shows(content):
    pixels = decoding.decode(content, "x")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, shown(content))


@pytest.mark.parametrize(
    "content",
    [encoded(PHOTO.convert(mode), kind) for kind in ("PNG", "JPEG", "BMP") for mode in ("L", "1") if kind != "JPEG"]
    + [encoded(PHOTO.convert("L"), "JPEG"), encoded(PHOTO.convert("LA"), "PNG")],
)
def test_grey_has_one_channel(content):
    np.testing.assert_array_equal(decoding.decode(content, "x"), shown(content, "L"))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_png_of_every_depth_fills_8_bits(depth):
    levels = RNG.integers(0, 2**depth, (9, 16, 1))
    pixels = decoding.decode(png(depth, 0, levels), "x")
    np.testing.assert_array_equal(pixels, np.round(levels / (2**depth - 1) * 255))
    if depth <= 8:
        np.testing.assert_array_equal(pixels, tf.io.decode_png(png(depth, 0, levels)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_png_of_every_depth(depth):
    palette = RNG.integers(0, 256, (2**depth, 3), np.uint8)
    places = RNG.integers(0, 2**depth, (9, 16, 1))
    content = png(depth, 3, places, (b"PLTE", palette.tobytes()))
    np.testing.assert_array_equal(decoding.decode(content, "x"), palette[places[..., 0]])


def test_colours_of_16_bits_keep_the_upper_8():
    pixels = RNG.integers(0, 2**16, (9, 16, 3))
    content = png(16, 2, pixels)
    np.testing.assert_array_equal(decoding.decode(content, "x"), pixels >> 8)
    np.testing.assert_array_equal(decoding.decode(content, "x"), shown(content))


def test_a_photograph_as_other_decoders_give_it():
    photo = PIL.Image.open(sorted(needs_shared("data/nips2017/images").glob("*.png"))[0])
    content = encoded(photo, "PNG")
    np.testing.assert_array_equal(decoding.decode(content, "x"), tf.io.decode_png(content, channels=3))
    content = encoded(photo.convert("RGB"), "JPEG", quality=90)
    exact = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(decoding.decode(content, "x"), exact)
    np.testing.assert_array_equal(decoding.decode(content, "x"), shown(content))


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        # The standard's words: which side of what is seen the first row and the first column of the file are.
        (1, NOISE),  # top, left
        (2, NOISE[:, ::-1]),  # top, right
        (3, NOISE[::-1, ::-1]),  # bottom, right
        (4, NOISE[::-1]),  # bottom, left
        (5, NOISE.transpose(1, 0, 2)),  # left, top
        (6, NOISE[:, ::-1].transpose(1, 0, 2)),  # right, top
        (7, NOISE[::-1, ::-1].transpose(1, 0, 2)),  # right, bottom
        (8, NOISE[::-1].transpose(1, 0, 2)),  # left, bottom
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_upright_whatever_the_orientation(kind, orientation, stored):
    content = turned(kind, orientation, PIL.Image.fromarray(np.ascontiguousarray(stored)), lossless=True)
    np.testing.assert_array_equal(decoding.decode(content, "x"), NOISE)


ALPHA = np.full((17, 11), 255, np.uint8)
HOLE = ALPHA.copy()
HOLE[3, 4] = 254
PALETTE = (b"PLTE", bytes(range(12)))
PLACES = np.arange(16).reshape(4, 4, 1) % 3


@pytest.mark.parametrize(
    "content",
    [
        encoded(PIL.Image.fromarray(np.dstack([NOISE, ALPHA])), "PNG"),
        encoded(PIL.Image.fromarray(np.dstack([NOISE[..., 0], ALPHA])), "PNG"),
        encoded(PIL.Image.fromarray(np.dstack([NOISE, ALPHA])), "WEBP", lossless=True),
        bitmap(np.dstack([NOISE, ALPHA])),
        png(2, 3, PLACES, PALETTE, (b"tRNS", b"\xff\xff\xff\0")),  # the colour that no pixel has
    ],
    ids=["RGBA", "LA", "WebP", "BMP", "palette"],
)
def test_opaque_alpha_is_left_out(content):
    pixels = decoding.decode(content, "x")
    np.testing.assert_array_equal(pixels, shown(content, "L" if pixels.shape[-1] == 1 else "RGBA")[..., :3])


@pytest.mark.parametrize(
    "content",
    [
        encoded(PIL.Image.fromarray(np.dstack([NOISE, HOLE])), "PNG"),
        encoded(PIL.Image.fromarray(np.dstack([NOISE[..., 0], HOLE])), "PNG"),
        png(16, 6, np.dstack([NOISE, HOLE]).astype(int) * 257),
        png(16, 4, np.dstack([NOISE[..., 0], HOLE]).astype(int) * 257),
        encoded(PIL.Image.fromarray(np.dstack([NOISE, HOLE])), "WEBP", lossless=True),
        bitmap(np.dstack([NOISE, HOLE])),
        png(2, 3, PLACES, PALETTE, (b"tRNS", b"\xff\0")),
        png(2, 3, PLACES, PALETTE, (b"tRNS", b"\xff\xff\xfe")),
        png(8, 2, NOISE, (b"tRNS", NOISE[2, 3].astype(">u2").tobytes())),
        png(16, 2, NOISE.astype(int) * 200, (b"tRNS", (NOISE[2, 3].astype(">u2") * 200).astype(">u2").tobytes())),
        png(1, 0, NOISE[..., :1] >> 7, (b"tRNS", b"\0\1")),
        png(2, 0, NOISE[..., :1] >> 6, (b"tRNS", b"\0\1")),
        png(8, 0, NOISE[..., :1], (b"tRNS", b"\0" + NOISE[2, 3, :1].tobytes())),
        png(16, 0, NOISE[..., :1].astype(int) * 200, (b"tRNS", (NOISE[2, 3, :1].astype(">u2") * 200).tobytes())),
    ],
)
def test_transparency_is_refused_in_every_form(content):
    with pytest.raises(ValueError, match=r"^cannot read x: it .* transparent.*; save it without transparency$"):
        decoding.decode(content, "x")


def test_an_animation_is_refused_and_the_first_picture_of_a_camera_taken():
    frames = {"save_all": True, "append_images": [PHOTO.transpose(PIL.Image.Transpose.ROTATE_180)]}
    for kind in ("PNG", "WEBP"):
        with pytest.raises(ValueError, match=r"^cannot read x: it is an animation; save one of its frames"):
            decoding.decode(encoded(PHOTO, kind, **frames), "x")
    np.testing.assert_array_equal(decoding.decode(encoded(PHOTO, "MPO", **frames), "x"), shown(encoded(PHOTO, "JPEG")))


HUGE = bytearray(FILES["BMP"])
HUGE[18:26] = struct.pack("<ii", 50_000, 50_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
        (b"no image at all", "cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
        (encoded(PHOTO, "GIF"), "cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
        (encoded(PHOTO, "TIFF"), "cannot identify image file; it must be PNG, JPEG, BMP or WebP"),
        (bytes(HUGE), "Image size .* exceeds limit"),
    ],
)
def test_what_is_no_image_is_refused(content, message):
    with pytest.raises(ValueError, match=f"^cannot read x: {message}") as raised:
        decoding.decode(content, "x")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_cut_anywhere_is_refused(content):
    # The last bytes of a PNG say that it is over.
    for length in range(0, len(content) - 12, max(1, len(content) // 50)):
        with pytest.raises(ValueError, match=r"^cannot read x: .+\Z"):
            decoding.decode(content[:length], "x")


@pytest.mark.parametrize("content", [FILES["PNG"], encoded(PIL.Image.fromarray(NOISE), "PNG")], ids=["ramp", "noise"])
def test_a_png_with_a_wrong_bit_is_refused_or_the_same(content):
    """PIL itself passes over the checksum of the pixels."""
    whole, refused = decoding.decode(content, "x"), 0
    for place in range(len(content)):
        wrong = bytearray(content)
        wrong[place] ^= 1 << place % 8
        try:
            np.testing.assert_array_equal(decoding.decode(bytes(wrong), "x"), whole)
        except ValueError:
            refused += 1
    assert refused > 0.9 * len(content)


@pytest.mark.filterwarnings("ignore:(Corrupt EXIF|Tag data|Truncated)")
@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_damage_is_one_line(content):
    rng = np.random.default_rng(1)
    for _ in range(60):
        wrong = bytearray(content)
        for place in rng.integers(0, min(len(content), 600), 3):
            wrong[place] = rng.integers(256)
        try:
            message = f"cannot read x: {decoding.decode(bytes(wrong), 'x').shape}"
        except ValueError as error:
            message = str(error)
        assert re.fullmatch("cannot read x: .+", message)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^cannot read .*nowhere\.png: No such file or directory$"):
        decoding.read(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"^cannot read a of b: Is a directory$"):
        decoding.read(tmp_path, "a of b")


class TestColourProfiles:
    OTHER = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()
    SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()

    def told(self, content: bytes, path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> list[str]:
        path.write_bytes(content)
        for _ in range(2):
            np.testing.assert_array_equal(decoding.read(path), shown(content))
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    @pytest.mark.parametrize("profile", [OTHER, b"no profile"])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_another_one_is_told_once_a_file(self, kind, profile, tmp_path, caplog):
        content = encoded(PHOTO, kind, icc_profile=profile)
        (line,) = self.told(content, tmp_path / "first", caplog)
        assert line.startswith(f"{tmp_path / 'first'} has a colour profile other than sRGB, which is ignored")
        assert len(self.told(content, tmp_path / "second", caplog)) == 2

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_srgb_is_nothing_to_tell(self, kind, tmp_path, caplog):
        assert not self.told(encoded(PHOTO, kind, icc_profile=self.SRGB), tmp_path / "x", caplog)
