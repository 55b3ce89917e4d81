from __future__ import annotations

import csv
import gzip
import json
import logging
import pathlib
import re
import zlib
from collections.abc import Sequence

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

import models
from tests.conftest import SAMPLE, needs_shared
from tests.test_eval import white_box
from tf_smoothadv import protocol
from tf_smoothadv.attacks import FGSM
from tf_smoothadv.evaluation import data
from tf_smoothadv.evaluation.data import decoding, mnist, targets

COLORS = np.random.default_rng(1).integers(0, 256, (6, 9, 7, 3), np.uint8)
GREY = COLORS[0, ..., 0]
OPAQUE = np.full((9, 7), 255, np.uint8)
RAMP = np.stack([*np.meshgrid(np.arange(64) * 4, np.arange(48) * 5), np.full((48, 64), 90)], -1).astype(np.uint8)


def write(path: pathlib.Path, pixels: np.ndarray | PIL.Image.Image, **options: object) -> pathlib.Path:
    """An image file in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    image.save(path, **options)
    return path


def write_nips(root: pathlib.Path, rows: Sequence[tuple[str, object]], there: Sequence[str]) -> pathlib.Path:
    """A folder in the form of NIPS 2017; the image of row i, if it is there, is COLORS[i]."""
    with open(root / "images.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("ImageId", "URL", "TrueLabel"), *((name, "a,b", label) for name, label in rows)])
    for pixels, (name, _) in zip(COLORS, rows):
        if name in there:
            write(root / "images" / f"{name}.png", pixels)
    return root


def write_records(path: pathlib.Path, records: Sequence[tuple[bytes, object]]) -> pathlib.Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for encoded, label in records:
            features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))}
            if isinstance(label, int):
                features["image/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path


def contents(dataset: data.Dataset) -> tuple[np.ndarray, list[int]]:
    batches = [(images.numpy(), labels.numpy()) for images, labels in dataset]
    images, labels = (np.concatenate(column) for column in zip(*batches))
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    return images, labels.tolist()


class TestMnist:
    def test_the_first_digits(self, digits):
        dataset = data.load("mnist", None, num_images=12, batch_size=5)
        images, labels = contents(dataset)
        np.testing.assert_array_equal(images, digits[0][:12])
        assert labels == digits[1][:12].tolist()
        assert dataset.names[::11] == ["00000", "00011"]
        assert [len(batch[1]) for batch in dataset] == [5, 5, 2]

    def test_200_by_default(self, tmp_path):
        with np.load(SAMPLE) as sample:
            np.savez(tmp_path / "mnist.npz", **{name: np.concatenate([sample[name]] * 2) for name in sample})
        assert len(mnist.read(str(tmp_path / "mnist.npz"), "test")[1]) == 400
        assert len(data.load("mnist", str(tmp_path / "mnist.npz")).names) == 200
        assert len(data.load("mnist", str(tmp_path / "mnist.npz"), num_images=201).names) == 201


class TestNips2017:
    ROWS = (("zebra", 341), ("cat", "1"), ("gone", 5), ("b.c", 1000), ("lost", 7))
    THERE = ("zebra", "cat", "b.c")

    def test_images_classes_and_order_are_the_tables(self, tmp_path):
        root = write_nips(tmp_path, self.ROWS, self.THERE)
        dataset = data.load("nips2017", str(root), batch_size=2)
        for _ in range(2):
            images, labels = contents(dataset)
            np.testing.assert_array_equal(images, COLORS[[0, 1, 3]] / np.float32(255))
            assert labels == [340, 0, 999]
        assert dataset.names == ["zebra", "cat", "b.c"]

    def test_its_own_targets(self, tmp_path):
        root = write_nips(tmp_path, self.ROWS, self.THERE)
        table = (root / "images.csv").read_text("utf-8-sig").splitlines()
        rows = [f"{row},{target}" for row, target in zip(table, ("TargetClass", 2, 7, 3, 999, 5))]
        (root / "images.csv").write_text("\n".join(rows))
        loaded = data.load("nips2017", str(root), batch_size=2)
        assert loaded.targets is None
        batches = list(data.aimed(None, loaded, "given"))
        assert [targets.numpy().tolist() for *_, targets in batches] == [[1, 6], [998]]
        assert [labels.numpy().tolist() for _, labels, _ in batches] == [[340, 0], [999]]

    def test_missing_images_are_told_once(self, tmp_path, caplog):
        rows = [(f"i{number}", 1) for number in range(6)]
        dataset = data.load("nips2017", str(write_nips(tmp_path, rows, ("i1",))))
        contents(dataset)
        contents(dataset)
        (told,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "5 of the 6 images of" in told.getMessage()
        assert told.getMessage().endswith("are missing: i0.png, i2.png, i3.png and 2 more")

    def test_num_images_counts_those_that_are_there_and_reads_no_more(self, tmp_path):
        root = write_nips(tmp_path, self.ROWS, self.THERE)
        (root / "images" / "b.c.png").write_bytes(b"")
        dataset = data.load("nips2017", str(root), num_images=2)
        assert contents(dataset)[1] == [340, 0]
        assert dataset.names == ["zebra", "cat"]

    def test_the_real_ones(self):
        root = needs_shared("data/nips2017")
        dataset = data.load("nips2017", str(root), batch_size=64)
        with open(root / "images.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if (root / "images" / f"{row['ImageId']}.png").exists()]
        images, labels = contents(dataset)
        assert images.shape == (200, 299, 299, 3)
        assert dataset.names == [row["ImageId"] for row in rows]
        assert labels == [int(row["TrueLabel"]) - 1 for row in rows]
        for position in (0, 77, 199):
            pixels = np.asarray(PIL.Image.open(root / "images" / f"{dataset.names[position]}.png"))
            np.testing.assert_array_equal(images[position], pixels / np.float32(255))


class TestFolder:
    @pytest.fixture
    def root(self, tmp_path) -> pathlib.Path:
        write(tmp_path / "n02" / "b.PNG", COLORS[0])
        write(tmp_path / "n02" / "a.png", COLORS[1])
        write(tmp_path / "n01" / "one.jpeg", COLORS[2])
        write(tmp_path / "n03" / "x.png", COLORS[3])
        for ignored in ("n01/.hidden.png", "n01/notes.txt", "n02/x.gif", ".cache/z.png", "README"):
            (tmp_path / ignored).parent.mkdir(exist_ok=True)
            (tmp_path / ignored).write_bytes(b"no image")
        (tmp_path / "n01" / "folder.png").mkdir()
        return tmp_path

    def test_classes_in_sorted_order_and_images_in_turns(self, root):
        dataset = data.load("folder", str(root), image_size=9)
        assert dataset.names == ["n01/one.jpeg", "n02/a.png", "n03/x.png", "n02/b.PNG"]
        assert dataset.labels == contents(dataset)[1] == [0, 1, 2, 1]

    def test_classes_by_the_lines_of_classes_txt(self, root):
        (root / "classes.txt").write_bytes(b"\xef\xbb\xbfn03\r\nn00\r\nn01\r\nn02\r\n")
        dataset = data.load("folder", str(root), image_size=9)
        assert dataset.names == ["n03/x.png", "n01/one.jpeg", "n02/a.png", "n02/b.PNG"]
        assert dataset.labels == [0, 2, 3, 3]

    def test_what_is_ignored_is_counted_and_named(self, root, caplog):
        (root / "classes.txt").write_text("n01\nn02\nn03\n")
        data.load("folder", str(root))
        (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert told == f"4 files or folders of {root} are ignored: README, n01/folder.png, n01/notes.txt and 1 more"

    def test_the_content_tells_the_format_not_the_ending(self, tmp_path, caplog):
        kinds = {"a.JPE": "JPEG", "b.jfif": "PNG", "c.bmp": "BMP", "d.WebP": "WEBP", "e.png": "WEBP", "f.jpg": "BMP"}
        for name, kind in kinds.items():
            write(tmp_path / "a" / name, RAMP, format=kind, lossless=True, quality=100)
        images, _ = contents(data.load("folder", str(tmp_path), image_size=64))
        assert len(images) == len(kinds)
        for image in images[1:]:
            np.testing.assert_array_equal(image, images[1])
        assert not caplog.records

    def test_photographs_are_turned_upright(self, tmp_path):
        """A camera on its side: what the file holds is turned, and the tag says so."""
        exif = PIL.Image.Exif()
        exif[0x112] = 6
        stored = PIL.Image.fromarray(RAMP).transpose(PIL.Image.Transpose.ROTATE_90)
        for name, kind in (("a.jpg", "JPEG"), ("b.png", "PNG"), ("c.webp", "WEBP")):
            file = write(tmp_path / "a" / name, stored, format=kind, exif=exif)
            expected = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(file)).convert("RGB"))
            np.testing.assert_array_equal(decoding.read(file), expected)
            np.testing.assert_array_equal(data.dataset.prepared(file, None), expected / np.float32(255))
            assert np.abs(expected.astype(int) - RAMP).mean() < 10
        images, _ = contents(data.load("folder", str(tmp_path), image_size=64))
        for image in images:
            assert np.abs(image - tf.image.resize(RAMP / 255, [64, 64], antialias=True)).mean() < 0.04

    def test_class_folders_without_classes_txt_must_be_all_classes(self, root):
        dataset = data.load("folder", str(root), image_size=9)
        dataset.check_classes(3)
        message = (
            f"{root} has 3 class folders, the model has 1000 classes: write {root}/classes.txt, one folder name a line "
            "in the order of the model's classes, or --labels=predicted"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            dataset.check_classes(1000)
        with pytest.raises(ValueError, match="has 3 class folders, the model has 2 classes"):
            dataset.check_classes(2)
        data.labelled_by(lambda images: tf.one_hot([0] * len(images), 1000), dataset).check_classes(1000)
        (root / "classes.txt").write_text("n01\nn02\nn03\n")
        data.load("folder", str(root), image_size=9).check_classes(1000)
        data.load("mnist", None).check_classes(1000)

    def test_images_of_several_sizes_become_299(self, tmp_path):
        write(tmp_path / "a" / "wide.png", RAMP)
        write(tmp_path / "a" / "tall.png", COLORS[0])
        assert contents(data.load("folder", str(tmp_path)))[0].shape == (2, 299, 299, 3)

    @pytest.mark.parametrize(("resize", "box"), [("crop", (0, 7, 47, 54)), ("squash", (0, 0, 47, 61))])
    def test_resizing_is_bilinear_with_antialiasing_on_the_grid_of_8_bits(self, tmp_path, resize, box):
        file = write(tmp_path / "a" / "noise.png", np.random.default_rng(2).integers(0, 256, (61, 47, 3), np.uint8))
        images, _ = contents(data.load("folder", str(tmp_path), image_size=24, resize=resize))
        resized = PIL.Image.open(file).crop(box).resize((24, 24), PIL.Image.Resampling.BILINEAR)
        assert np.abs(images[0] * 255 - np.asarray(resized)).max() <= 1.01
        np.testing.assert_array_equal(images, protocol.quantize(images))


class TestTFRecord:
    @pytest.fixture
    def root(self, tmp_path) -> pathlib.Path:
        encoded = [write(tmp_path / f"{label}.jpg", RAMP // label, quality=95).read_bytes() for label in (1, 2, 3)]
        write_records(tmp_path / "val-00001-of-00002", [(encoded[2], 3)])
        write_records(tmp_path / "val-00000-of-00002", [(encoded[0], 1), (encoded[1], 1000)])
        return tmp_path

    @pytest.mark.parametrize("pattern", ["", "val-*", "val-*-of-00002"])
    def test_records_in_the_order_of_their_files(self, root, pattern):
        dataset = data.load("tfrecord", str(root / pattern), image_size=48)
        images, labels = contents(dataset)
        assert labels == [0, 999, 2]
        assert dataset.names == ["val-00000-of-00002-00000", "val-00000-of-00002-00001", "val-00001-of-00002-00000"]
        assert images.shape == (3, 48, 48, 3)
        means = [np.mean(RAMP // divisor) for divisor in (1, 2, 3)]
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)) * 255, means, atol=1)

    @pytest.mark.parametrize("packed", [gzip.compress, zlib.compress], ids=["GZIP", "ZLIB"])
    def test_packed_files_are_unpacked(self, root, packed):
        expected = contents(data.load("tfrecord", str(root), image_size=48))
        whole = root / "val-00000-of-00002"
        whole.write_bytes(packed(whole.read_bytes()))
        images, labels = contents(data.load("tfrecord", str(root), image_size=48))
        np.testing.assert_array_equal(images, expected[0])
        assert labels == expected[1]
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"^cannot read .*val-00000-of-00002, record \d: (truncated|corrupted)"):
            data.load("tfrecord", str(root))

    @pytest.mark.parametrize("start", [b"\x78\x9c", b"\x78\xda", b"\x1f\x8b"])
    def test_the_length_of_a_record_is_no_sign_of_packing(self, start, tmp_path):
        """A record whose length is written with the bytes that packed files begin with."""
        image = write(tmp_path / "x.png", RAMP).read_bytes()
        length = int.from_bytes(start, "little")
        short = write_records(tmp_path / "x", [(image + bytes(length - 400), 1)]).stat().st_size - 16
        file = write_records(tmp_path / "x.tfrecord", [(image + bytes(2 * length - 400 - short), 1)])
        assert file.read_bytes().startswith(start)
        assert contents(data.load("tfrecord", str(file)))[1] == [0]

    def test_a_damaged_image_is_named_by_its_record(self, tmp_path):
        whole = write(tmp_path / "x.png", RAMP).read_bytes()
        write_records(tmp_path / "x.tfrecord", [(whole, 1), (whole[:90], 2)])
        with pytest.raises(ValueError, match=r"^cannot read x\.tfrecord-00001 of .*x\.tfrecord: .*truncated"):
            contents(data.load("tfrecord", str(tmp_path / "x.tfrecord")))

    def test_files_are_read_no_further_than_needed(self, root):
        (root / "val-00001-of-00002").write_bytes(b"no record, but nobody looks")
        assert contents(data.load("tfrecord", str(root), num_images=2))[1] == [0, 999]


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey.png", GREY),
        ("bits.png", PIL.Image.fromarray(GREY > 127)),
        ("opaque.png", np.dstack([COLORS[0], OPAQUE])),
        ("grey_opaque.png", np.dstack([GREY, OPAQUE])),
        ("palette.png", PIL.Image.fromarray(GREY // 64 * 64).convert("P")),
        ("color.jpg", RAMP),
        ("grey.jpg", RAMP[..., 0]),
        ("cmyk.jpg", PIL.Image.fromarray(RAMP).convert("CMYK")),
        ("color.bmp", RAMP),
        ("color.webp", RAMP),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_image_is_what_pil_shows_in_rgb(name, pixels, tmp_path):
    file = write(tmp_path / name, pixels)
    expected = np.asarray(PIL.Image.open(file).convert("RGB")) / np.float32(255)
    for image in (tf.constant(file.read_bytes()), file):
        np.testing.assert_array_equal(data.dataset.prepared(image, None), expected)
    np.testing.assert_array_equal(data.dataset.decoded(tf.constant(file.read_bytes())), expected)
    np.testing.assert_array_equal(np.broadcast_to(decoding.read(file) / np.float32(255), expected.shape), expected)


def test_grey_of_16_bits_is_rounded_to_8(tmp_path):
    file = write(tmp_path / "x.png", GREY.astype(np.uint16) * 256 + 200)
    levels = np.round((GREY[..., None] * 256.0 + 200) / 257)
    np.testing.assert_array_equal(decoding.read(file), levels)
    np.testing.assert_array_equal(data.dataset.prepared(file, None), np.repeat(levels, 3, -1).astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", r"images\.csv must have a column ImageId; its first line has none"),
        (
            b"ImageId,Label\na,1\n",
            r"images\.csv must have a column TrueLabel; its first line has \['ImageId', 'Label'\]",
        ),
        (b"ImageId,TrueLabel\n\xff,1\n", r"images\.csv must be text in UTF-8"),
        (b'ImageId,TrueLabel\na,"' + b"1" * 200_000, r"images\.csv, after line 1: field larger than field limit"),
        (b"ImageId,TrueLabel\na,1\n../a,1\n", r"line 3: ImageId must be a plain file name; received '\.\./a'"),
        (b"ImageId,TrueLabel\n/etc/a,1\n", "line 2: ImageId must be a plain file name; received '/etc/a'"),
        (b"ImageId,TrueLabel\nb/a,1\n", "line 2: ImageId must be a plain file name; received 'b/a'"),
        (b"ImageId,TrueLabel\nb\\a,1\n", r"line 2: ImageId must be a plain file name; received 'b\\\\a'"),
        (b"ImageId,TrueLabel\n,1\n", "line 2: ImageId must be a plain file name; received ''"),
        (b"ImageId,TrueLabel\n..,1\n", r"line 2: ImageId must be a plain file name; received '\.\.'"),
        (b"ImageId,TrueLabel\na,0\n", "line 2: TrueLabel must be an integer from 1 to 1000; received '0'"),
        (b"ImageId,TrueLabel\na,1001\n", "line 2: TrueLabel must be an integer from 1 to 1000; received '1001'"),
        (b"ImageId,TrueLabel\na,3.5\n", "line 2: TrueLabel must be an integer from 1 to 1000; received '3.5'"),
        (b"ImageId,TrueLabel\n\na\n", "line 3: TrueLabel must be an integer from 1 to 1000; received ''"),
        (b"ImageId,TrueLabel\na,1\nb,2\na,3\n", "line 4: every ImageId must be another; received 'a' again"),
        (b"ImageId,TrueLabel\nb,1\n", r"none of the 1 images of .*images\.csv is in .*images"),
    ],
)
def test_bad_tables(table, message, tmp_path):
    write(tmp_path / "images" / "a.png", COLORS[0])
    (tmp_path / "images.csv").write_bytes(table)
    with pytest.raises(ValueError, match=message) as raised:
        data.load("nips2017", str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imagenet", "DIR"), "dataset must be one of 'mnist', 'nips2017', 'folder', 'tfrecord'; received 'imagenet'"),
        (("nips2017", None), "dataset 'nips2017' needs --data=PATH, where its images lie; received none"),
        (("nips2017", "DIR"), r"no such file: .*images\.csv"),
        (("folder", "DIR/nowhere"), "no such folder: .*nowhere"),
        (("folder", "DIR/unlisted/b"), r"must hold a folder of images \(\.png .* \.webp\) for each class; found none"),
        (
            ("folder", "DIR/unlisted"),
            r"classes\.txt must name every folder beside it; it does not name b, c, d and 1 more",
        ),
        (("folder", "DIR/twice"), r"classes\.txt, line 2: every line must name another folder; received 'a'"),
        (("folder", "DIR/sizes", 3), "DIR/sizes holds 2 test images, 3 were asked for"),
        (("folder", "DIR/sizes", 0), "num_images must be an integer of at least 1; received 0"),
        (("folder", "DIR/sizes", 1, 0), "batch_size must be an integer of at least 1; received 0"),
        (("folder", "DIR/sizes", 1, 1, 0), "image_size must be an integer of at least 1; received 0"),
        (
            ("tfrecord", "DIR/*.nothing"),
            r"no TFRecord files: .*nothing must be a file, a glob, or a folder of \*\.tfrecord",
        ),
        (("tfrecord", "DIR/text.tfrecord"), r"cannot read .*text\.tfrecord, record 0: corrupted record at 0"),
        (("tfrecord", "DIR/short.tfrecord"), r"cannot read .*short\.tfrecord, record 1: (truncated|corrupted) record"),
        (("tfrecord", "DIR/unlabelled.tfrecord"), r"cannot read .*unlabelled\.tfrecord, record 1: .*image/class/label"),
        (("tfrecord", "DIR/zero.tfrecord"), r"zero\.tfrecord, record 1: image/class/label must be .*; received 0"),
        (("tfrecord", "DIR/empty.tfrecord"), r"empty\.tfrecord holds 0 test images, 1 were asked for"),
        (("tfrecord", "DIR/*/x.tfrecord"), r"the files of DIR/\*/x.tfrecord must have different names"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_places(arguments, message, tmp_path):
    for name in "abcde":
        (tmp_path / "unlisted" / name).mkdir(parents=True)
        write_records(tmp_path / "unlisted" / name / "x.tfrecord", [])
    (tmp_path / "unlisted" / "classes.txt").write_text("a\n")
    write(tmp_path / "twice" / "a" / "1.png", COLORS[0])
    (tmp_path / "twice" / "classes.txt").write_text("a\n a \n")
    write(tmp_path / "sizes" / "a" / "1.png", COLORS[0])
    write(tmp_path / "sizes" / "b" / "1.png", RAMP)
    for name in "bc":
        (tmp_path / name).mkdir()
        write_records(tmp_path / name / "x.tfrecord", [])
    (tmp_path / "text.tfrecord").write_text("this is no record at all")
    whole = write_records(tmp_path / "short.tfrecord", [(b"x", 1), (b"y", 1)])
    whole.write_bytes(whole.read_bytes()[:-5])
    write_records(tmp_path / "unlabelled.tfrecord", [(b"x", 1), (b"y", None)])
    write_records(tmp_path / "zero.tfrecord", [(b"x", 1), (b"y", 0)])
    write_records(tmp_path / "empty.tfrecord", [])
    dataset, path, *others = arguments
    with pytest.raises(ValueError, match=message.replace("DIR", re.escape(str(tmp_path)))) as raised:
        data.load(dataset, path and path.replace("DIR", str(tmp_path)), *others)
    assert "\n" not in str(raised.value)


TRANSPARENT = np.dstack([COLORS[0], GREY])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.write_bytes(b""), "cannot identify image file; it must be PNG, JPEG, BMP or WebP$"),
        (
            lambda file: file.write_text("no image at all"),
            "cannot identify image file; it must be PNG, JPEG, BMP or WebP$",
        ),
        (lambda file: file.write_bytes(file.read_bytes()[:90]), "truncated"),
        (lambda file: file.write_bytes(write(file.with_suffix(".jpg"), RAMP).read_bytes()[:700]), "truncated"),
        (lambda file: write(file, TRANSPARENT), "it has transparent pixels; save it without transparency$"),
        (
            lambda file: write(file, COLORS[0], format="GIF"),
            "cannot identify image file; it must be PNG, JPEG, BMP or WebP$",
        ),
        (lambda file: file.unlink(), "No such file or directory"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(spoil, message, tmp_path):
    rows = [("first", 1), ("second", 2), ("third", 3)]
    dataset = data.load("nips2017", str(write_nips(tmp_path, rows, ("first", "second", "third"))), batch_size=2)
    spoil(tmp_path / "images" / "third.png")
    batches = iter(dataset)
    assert next(batches)[1].numpy().tolist() == [0, 1]
    with pytest.raises(ValueError, match=f"^cannot read third of {re.escape(str(tmp_path))}: .*{message}") as raised:
        next(batches)
    assert "\n" not in str(raised.value)
    assert "node" not in str(raised.value)


def test_labels_of_the_model_itself(digits):
    model = models.c4("adversarial")
    given = data.load("mnist", None, num_images=30, batch_size=7)
    dataset = data.labelled_by(model, given)
    expected = np.argmax(model(digits[0][:30], training=False), axis=1)
    assert dataset.labels == expected.tolist()
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in dataset]), expected)
    assert protocol.evaluate(model, dataset, {"fgsm": FGSM(0.1)}).accuracy == 1.0


def test_images_of_different_sizes_without_image_size(tmp_path):
    root = write_nips(tmp_path, [("first", 1), ("second", 2)], ("first",))
    write(root / "images" / "second.png", RAMP)
    with pytest.raises(
        ValueError, match=r"second of .* is 48 x 64, those before it are 9 x 7; --image_size resizes them"
    ):
        contents(data.load("nips2017", str(root)))
    assert contents(data.load("nips2017", str(root), image_size=5))[0].shape == (2, 5, 5, 3)


@pytest.mark.slow
def test_white_box_on_a_folder_names_its_images(tmp_path):
    for name, level in (("dark/a.png", 60), ("dark/b.png", 90), ("light/c.jpg", 200)):
        write(tmp_path / "images" / name, np.full((10, 12, 3), level, np.uint8))
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    network.layers[-1].set_weights([np.tile([-0.1, 0.1], (192, 1)), np.array([9.6, -9.6])])
    network.save(tmp_path / "net.keras")
    arguments = [
        f"--model={tmp_path / 'net.keras'}",
        "--dataset=folder",
        f"--data={tmp_path / 'images'}",
        "--image_size=8",
    ]
    finished = white_box(*arguments, "--attacks=fgsm", "--save_images", f"--output={tmp_path / 'results'}")
    assert finished.status == 0, finished.stderr
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert (summary["dataset"], summary["num_images"], summary["accuracy"]) == ("folder", 3, 1)
    written = tmp_path / "results" / "images" / "fgsm"
    files = sorted(str(file.relative_to(written)) for file in written.rglob("*.png"))
    assert files == ["dark/a.png.png", "dark/b.png.png", "light/c.jpg.png"]
    assert tf.io.decode_png((written / "dark/b.png.png").read_bytes()).shape == (8, 8, 3)


class TestTargets:
    LOGITS = ((3.0, 1.0, 2.0, 0.0), (0.0, 3.0, 1.0, 2.0))
    IMAGES = (0.2, 0.8)  # the shade tells which logits

    @pytest.fixture
    def two(self) -> data.Dataset:
        pixels = [tf.fill([2, 2, 1], shade) for shade in self.IMAGES]
        return data.Dataset(["a", "b"], [0, 1], pixels, 2, "somewhere")

    def model(self, images: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant(self.LOGITS), tf.cast(images[:, 0, 0, 0] > 0.5, tf.int32))

    @pytest.mark.parametrize(
        ("wanted", "expected"), [("next", [1, 2]), ("second", [2, 3]), ("least_likely", [3, 0]), ("2", [2, 2])]
    )
    def test_are_what_the_word_says(self, two, wanted, expected):
        ((_, labels, found),) = data.aimed(self.model, two, wanted)
        assert (labels.numpy().tolist(), found.numpy().tolist()) == ([0, 1], expected)

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ("1", "1 of the images are of the class that they are to reach: take --targets=second"),
            ("given", "2 of the 2 images of somewhere have no target of their own"),
            (
                "first",
                "targets must be one of 'given', .*, 'least_likely', 'a class', 'a file'; received 'first'",
            ),
        ],
    )
    def test_what_is_none_is_refused(self, two, wanted, message):
        with pytest.raises(ValueError, match=message):
            data.aimed(self.model, two, wanted)

    def test_of_a_file(self, two, tmp_path):
        table = tmp_path / "targets.csv"
        table.write_text("image,target,comment\nb,3,\nother,9,\na,2,no matter in which order\n")
        ((*_, found),) = data.aimed(self.model, two, str(table))
        assert found.numpy().tolist() == [2, 3]
        before = targets.told(str(table))
        table.write_text(table.read_text().replace("b,3", "b,2"))
        assert targets.told(str(table)) != before
        assert targets.told("second") == "second"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("image,target\na,2\n", "1 of the 2 images of somewhere have no target in .*targets.csv"),
            ("image,class\na,2\n", "targets.csv must have a column target"),
            ("image,target\na,two\n", "line 2: target must be the number of a class, from 0; received 'two'"),
            ("image,target\na,1\na,2\n", "line 3: every image must be another; received 'a' again"),
            ("image,target\na,0\nb,2\n", "1 of the images are of the class that they are to reach"),
        ],
    )
    def test_a_wrong_file_is_refused(self, two, tmp_path, content, message):
        table = tmp_path / "targets.csv"
        table.write_text(content)
        with pytest.raises(ValueError, match=message):
            data.aimed(self.model, two, str(table))
