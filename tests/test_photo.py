from __future__ import annotations

import io
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import time
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.many_runs import ROOT, here
from tf_smoothadv import resizing
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import classes

pytest.importorskip("jpeglib")

FAST = ("--gradients=15", "--attack=fmn", "--novisibility")


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> str:
    """The path of a network of 16 x 16 pixels, whose classes are which of four squares is the brightest."""
    layers = [keras.layers.AveragePooling2D(8), keras.layers.Flatten(), keras.layers.Dense(4, use_bias=False)]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers])
    model.layers[-1].set_weights([10 * np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)])
    path = tmp_path_factory.mktemp("network") / "net.keras"
    model.save(path)
    return str(path)


def picture(height: int = 40, width: int = 48, seed: int = 0) -> np.ndarray:
    """Noise, of which no square is much brighter, uint8 [H, W, 3]."""
    return np.clip(np.random.default_rng(seed).normal(128, 40, (height, width, 3)), 0, 255).astype(np.uint8)


def opened(path: pathlib.Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def save(path: pathlib.Path, shape: np.ndarray | None = None, **options) -> pathlib.Path:
    Image.fromarray(picture() if shape is None else shape).save(path, **options)
    return path


def judged(network: str | keras.Model, path: pathlib.Path, image: np.ndarray | None = None) -> int:
    """The class of a file, as anybody would ask for it: decoded, by PIL if not given, cut to its middle, resized."""
    model = keras.models.load_model(network) if isinstance(network, str) else network
    image = np.array(opened(path).convert("RGB")) if image is None else image
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[None, top : top + side, left : left + side] / 255
    return int(np.argmax(model(keras.ops.image.resize(square, (16, 16), antialias=True))))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {"quality": 90, "subsampling": 2}),
        ("a.png", {"dpi": (72, 72)}),
        ("a.webp", {"quality": 80}),
        pytest.param("a.bmp", {}, marks=pytest.mark.slow),
    ],
)
def test_a_file_becomes_an_adversarial_one_like_it(network, tmp_path, name, options):
    path = save(tmp_path / name, **options)
    before = path.read_bytes()
    done = here("eval.photo", str(path), f"--model={network}", *FAST)
    assert done.status == 0, done.stderr
    output = tmp_path / f"a.adversarial{path.suffix}"
    original, made = opened(path), opened(output)
    assert (made.format, made.size, made.mode) == (original.format, original.size, original.mode)
    assert made.info.get("dpi") == original.info.get("dpi")
    assert judged(network, output) != judged(network, path)
    assert path.read_bytes() == before
    told = re.search(r"class (\d) \(0\.\d\d\) -> class (\d) \(0\.\d\d\) in (\S+)\n\s+D (\d\.\d+)", done.stdout)
    assert (int(told[1]), int(told[2])) == (judged(network, path), judged(network, output))
    difference = np.asarray(made.convert("RGB"), float) - np.asarray(original.convert("RGB"), float)
    assert float(told[4]) == pytest.approx(np.linalg.norm(difference) / 255, abs=1e-3)
    assert "1 of 1 were made adversarial" in done.stdout


@pytest.mark.slow
def test_a_folder_with_broken_files(network, tmp_path):
    """All that can be is done, what cannot be is named, and a second run finds the outputs."""
    folder, output = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "turned.jpg", exif=exif)
    save(folder / "grey.png", picture()[..., 0])
    broken = broken_files()
    for name, (content, _) in broken.items():
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("no image")
    for attempt in range(2):
        done = here("eval.photo", str(folder), f"--output={output}", f"--model={network}", *FAST, *["--show"][attempt:])
        assert done.status == 1
        assert f"2 of {2 + len(broken)} were made adversarial" in done.stdout
        named(broken, done.stdout)
        assert done.stdout.count(" 0 gradients") == 2 * attempt
    assert opened(output / "turned.adversarial.jpg").getexif()[0x0112] == 6
    assert opened(output / "grey.adversarial.png").mode == "L"
    assert (output / "turned.adversarial.sheet.png").exists()
    assert not list(output.glob(".*"))


@pytest.mark.slow
def test_five_hundred_files_of_which_twenty_are_broken(network, tmp_path):
    """Killed three times on the way: nothing is lost, nothing is made twice, nothing is half written."""
    folder, output, moments = tmp_path / "photos", tmp_path / "out", random.Random(0)
    folder.mkdir()
    broken = broken_files()
    assert len(broken) == 20
    for name, (content, _) in broken.items():
        (folder / name).write_bytes(content)
    for seed in range(480):
        suffix, options = (("jpg", {"quality": 90}), ("png", {}), ("webp", {"quality": 80}), ("bmp", {}))[seed % 4]
        save(folder / f"{seed}.{suffix}", picture(*((40, 48), (48, 40))[seed % 2], seed=seed), **options)
    line = [sys.executable, "-m", "eval.photo", str(folder), f"--output={output}", f"--model={network}", *FAST]
    for wanted in (20, 150, 300):
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(output.glob("*"))) < wanted:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in output.glob("*.adversarial.*")}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "480 of 500 were made adversarial" in done.stdout
    named(broken, done.stdout)
    made = sorted(output.iterdir())
    assert {path.name for path in made} == {
        f"{path.stem}.adversarial{path.suffix}" for path in folder.iterdir() if path.name not in broken
    }
    assert done.stdout.count(" 0 gradients") == len(kept) >= 300
    assert all(path.stat().st_mtime_ns == moment for path, moment in kept.items())
    judge = keras.models.load_model(network)
    for path in made:
        assert judged(judge, path) != judged(judge, folder / path.name.replace(".adversarial", ""))


def named(broken: dict[str, tuple[bytes, str]], printed: str) -> None:
    """Every broken file has a line, which says why."""
    for name, (_, reason) in broken.items():
        assert re.search(rf"/{name}: .*{reason}", printed), (name, printed)


def broken_files() -> dict[str, tuple[bytes, str]]:
    """By name: the bytes of a file that cannot be attacked, and what is said of it."""
    jpeg, png, webp, bmp = (encoded(picture(), format) for format in ("JPEG", "PNG", "WEBP", "BMP"))
    clear = np.dstack([picture(), np.full((40, 48), 100, np.uint8)])
    frames = {"save_all": True, "append_images": [Image.fromarray(picture(seed=1))]}
    data, frame = png.index(b"IDAT"), jpeg.index(b"\xff\xc0")
    vast = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    unknown = "cannot identify image file"
    return {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "cut.webp": (webp[: len(webp) // 2], "decoder"),
        "cut.bmp": (bmp[: len(bmp) // 2], "truncated"),
        "empty.png": (b"", unknown),
        "one_byte.jpg": (b"\xff", unknown),
        "zeros.jpg": (bytes(5000), unknown),
        "text.bmp": (b"not an image", unknown),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", unknown),
        "gif.png": (encoded(picture(), "GIF"), unknown),
        "tiff.jpg": (encoded(picture(), "TIFF"), unknown),
        "header.png": (png[:33], unknown),
        "checksum.png": (png[: data + 40] + b"wrong" + png[data + 45 :], "broken data stream"),
        "no_tables.jpg": (jpeg[:2] + jpeg[frame:], "broken data stream"),
        "no_scan.jpg": (jpeg[: jpeg.index(b"\xff\xda")], unknown),
        "cmyk.jpg": (encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG"), "must be grey or of YCbCr"),
        "clear.png": (encoded(clear, "PNG"), "transparent pixels"),
        "moving.webp": (encoded(picture(), "WEBP", **frames), "animation"),
        "moving.png": (encoded(picture(), "PNG", **frames), "animation"),
        "vast.png": (png[:8] + chunk(b"IHDR", vast) + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "exceeds limit"),
    }


def encoded(image: np.ndarray | Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_names_of_classes_and_a_label(network, tmp_path):
    path, names = save(tmp_path / "a.png"), tmp_path / "names.txt"
    names.write_text("north west\nnorth east\nsouth west\nsouth east\n")
    label = judged(network, path)
    done = here("eval.photo", str(path), f"--model={network}", f"--classes={names}", f"--label={label}", *FAST)
    assert re.search(r"(north|south) (west|east) \(0\.\d\d\) -> (north|south) (west|east) \(", done.stdout)


def test_a_line_tells_what_another_decoder_undoes(network, tmp_path):
    """Six files at the boundary, some of which TensorFlow's default puts back; beyond it none."""
    model = keras.models.load_model(network)
    for seed in range(6):
        save(tmp_path / f"{seed}.jpg", picture(seed=seed), quality=90, subsampling=0)

    def undone() -> list[str]:
        names = []
        for path in sorted(tmp_path.glob("?.jpg")):
            output = path.with_name(f"{path.stem}.adversarial.jpg")
            decoded = tf.io.decode_jpeg(output.read_bytes(), dct_method="INTEGER_FAST").numpy()
            names += [path.name] * (judged(model, output, decoded) == judged(model, path))
        return names

    for more, some in (((), True), (("--confidence=0.3", "--overwrite"), False)):
        done = here("eval.photo", str(tmp_path), f"--model={network}", *FAST, *more)
        assert "6 of 6 were made adversarial" in done.stdout
        told = [part for part in done.stdout.split("[")[1:] if "by tf.io.decode_jpeg's default" in part]
        assert undone() == [re.search(r"\d\.jpg", part)[0] for part in told]
        assert bool(told) == some


def test_a_target_and_two_networks_at_once(network, tmp_path):
    other = keras.models.load_model(network)
    other.layers[-1].set_weights([0.5 * other.layers[-1].get_weights()[0]])
    second = str(tmp_path / "second.keras")
    other.save(second)
    path = save(tmp_path / "a.png")
    target = (judged(network, path) + 2) % 4
    done = here("eval.photo", str(path), f"--model={network}+{second}", f"--target={target}", *FAST)
    assert done.status == 0, done.stdout + done.stderr
    made = tmp_path / "a.adversarial.png"
    assert judged(network, made) == judged(second, made) == target


def test_an_evaluation_at_the_images_own_sizes(network, tmp_path):
    folder, output = tmp_path / "images" / "any", tmp_path / "results"
    folder.mkdir(parents=True)
    shapes = [(40, 48), (48, 40), (40, 48), (60, 64)]
    for place, shape in enumerate(shapes):
        save(folder / f"{place}.png", picture(*shape, seed=place))
    flags = ["--resolution=own", "--labels=predicted", "--attacks=fmn", "--gradients=15", "--save_images"]
    done = here(
        "eval.white_box",
        f"--model={network}",
        "--dataset=folder",
        f"--data={folder.parent}",
        *flags,
        f"--output={output}",
    )
    assert done.status == 0, done.stderr
    finished = records.read(output)
    assert [record.index for record in finished.run.records] == [0, 1, 2, 3]
    for record, shape in zip(finished.run.records, shapes):
        written = finished.picture(record.index, "fmn")
        assert opened(written).size == shape[::-1]
        assert record.delivered.success
        assert judged(network, written) == record.delivered.prediction != record.label
        assert judged(network, folder / f"{record.index}.png") == record.label


def test_another_format(network, tmp_path):
    path = save(tmp_path / "a.png")
    done = here("eval.photo", str(path), f"--model={network}", "--format=jpeg", "--quality=80", *FAST)
    assert done.status == 0, done.stderr
    made = opened(tmp_path / "a.adversarial.jpg")
    reference = io.BytesIO()
    Image.fromarray(picture()).save(reference, "JPEG", quality=80)
    assert made.quantization == Image.open(reference).quantization


def test_what_cannot_be_made_adversarial(network, tmp_path):
    """A white square on black, and one gradient: nothing is written, and the status says so."""
    white = np.zeros((40, 40, 3), np.uint8)
    white[:20, :20] = 255
    path = save(tmp_path / "a.png", white)
    done = here("eval.photo", str(path), f"--model={network}", "--gradients=1", "--attack=fmn", "--novisibility")
    assert done.status == 1
    assert "not adversarial" in done.stdout
    assert not (tmp_path / "a.adversarial.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one image file or folder; received none"),
        (["none.jpg"], "cannot read none.jpg: there is no such file"),
        (["a.png", "--attack=magic"], "attack must be one of"),
        (["a.png", "--attack=pgd2", "--gradients=1"], "steps must be an integer of at least 1; received 0"),
        (["a.png", "--attack=pgd2", "--confidence=1"], "confidence is of attacks that have one, such as fmn"),
        (["a.png", "--classes=none.txt"], "cannot read the names of classes from none.txt"),
        (["a.png", "b/a.png", "--output=out"], "2 of the files would be written to out/a.adversarial.png"),
        (["a.png", "a.adversarial.png"], "a.adversarial.png is an input, which is never overwritten"),
        (["c"], "c holds no image"),
    ],
)
def test_bad_input_is_one_line(network, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for folder in ("b", "c"):
        (tmp_path / folder).mkdir()
    for path in ("a.png", "a.adversarial.png", "b/a.png"):
        save(tmp_path / path)
    done = here("eval.photo", *arguments, f"--model={network}")
    assert done.status == 2
    assert re.fullmatch(rf"error: .*{re.escape(message)}.*\n", done.stderr), done.stderr


def test_a_network_must_be_named(tmp_path):
    done = here("eval.photo", str(save(tmp_path / "a.png")))
    assert done.status == 2
    assert "name the network that is to err: --model=net.keras" in done.stderr


def test_names_of_classes_from_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\n dog \n")
    assert classes.read(str(path)) == {0: "cat", 1: "dog"}
    assert classes.read(None) == {}
    path.write_text("")
    with pytest.raises(ValueError, match="holds no names of classes"):
        classes.read(str(path))


def test_what_a_model_says_it_takes():
    assert resizing.taken(keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten()])) == (16, 1)
    assert resizing.taken(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Flatten()])) == (None, 3)
    assert resizing.taken(lambda x: x) == (None, None)
