from __future__ import annotations

import functools
import http.server
import io
import json
import pathlib
import re
import runpy
import tarfile
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import slim, slim_archives
from tests.conftest import needs_shared
from tests.many_runs import here

V1, V2 = tf.compat.v1.train.SaverDef.V1, tf.compat.v1.train.SaverDef.V2
VERSIONS = {"inception_v3": V1, "resnet_v2_50": V2, "inception_resnet_v2": V2}
LARGE = pytest.param("inception_resnet_v2", marks=pytest.mark.slow)


def save(path: pathlib.Path, values: dict[str, np.ndarray], version: int) -> str:
    """Writes a checkpoint as TF-Slim does; returns the path to read it by."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        fed = {tf.compat.v1.placeholder(value.dtype, value.shape): value for value in values.values()}
        for name, initial in zip(values, fed):
            tf.compat.v1.Variable(initial, name=name, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer(), fed)
        saver = tf.compat.v1.train.Saver(write_version=version)
        return saver.save(session, str(path), write_meta_graph=False, write_state=False)


@functools.cache
def reference(network: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """TF-Slim's network: its variables, an image [1, 299, 299, 3] in [0, 1] and TF-Slim's logits of it [1, 1001]."""
    weights = runpy.run_path(str(needs_shared("slim/weights.py")))
    shapes = json.loads(needs_shared(f"slim/{network}.variables.json").read_text())
    logits = np.load(needs_shared(f"slim/{network}.logits.npy"))
    return {name: weights["value"](name, shape) for name, shape in shapes}, weights["image"](), logits.reshape(1, -1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slim")
    return functools.cache(lambda network: save(folder / f"{network}.ckpt", reference(network)[0], VERSIONS[network]))


@pytest.fixture(scope="session")
def loaded(checkpoints):
    return functools.cache(lambda network: slim.load(network, checkpoints(network)))


def assert_close(logits: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    assert logits.shape == expected.shape
    np.testing.assert_array_less(np.abs(logits - expected).max() / np.abs(expected).max(), tolerance)


@pytest.mark.parametrize("network", ["inception_v3", "resnet_v2_50", LARGE])
class TestNetworks:
    def test_logits_are_those_of_tf_slim(self, network, loaded):
        _, image, expected = reference(network)
        assert_close(loaded(network)(image, training=False).numpy(), expected)

    def test_by_name_without_the_background(self, network, checkpoints):
        _, image, expected = reference(network)
        model = models.load(f"slim:{network}:{checkpoints(network)}")
        assert_close(model(image, training=False).numpy(), expected[:, 1:])

    def test_other_sizes_and_finite_gradients(self, network, loaded):
        images = tf.random.uniform([2, 128, 140, 3])
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = loaded(network)(images, training=False)
        gradient = tape.gradient(logits, images).numpy()
        assert logits.shape == (2, 1001)
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()

    def test_what_is_ignored_is_the_auxiliary_logits(self, network, loaded):
        values = reference(network)[0]
        ignored = slim.assign(loaded(network), values)
        assert ignored == [name for name in values if "/AuxLogits/" in name]


@pytest.mark.parametrize("network", ["resnet_v2_50", LARGE])
def test_save_and_load(network, loaded, tmp_path):
    images = tf.random.uniform([1, 128, 128, 3])
    model = loaded(network)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert_close(again(images, training=False).numpy(), model(images, training=False).numpy(), 1e-6)


def test_unknown_network():
    with pytest.raises(ValueError, match=r"network must be one of 'inception_v3', .*; received 'inception_v4'"):
        slim.load("inception_v4", "nowhere.ckpt")


SHAPES = {
    "Net/conv/weights": (3, 3, 3, 2),
    "Net/conv/BatchNorm/beta": (2,),
    "Net/conv/BatchNorm/moving_mean": (2,),
    "Net/conv/BatchNorm/moving_variance": (2,),
    "Net/Logits/Logits/weights": (2, 5),
    "Net/Logits/Logits/biases": (5,),
}


def small_network() -> keras.Model:
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, use_bias=False, name="Net.conv")(images)
    x = keras.layers.BatchNormalization(scale=False, name="Net.conv.BatchNorm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(5, name="Net.Logits.Logits")(x), name="net")


@pytest.fixture
def values(rng) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def assert_holds(model: keras.Model, expected: dict[str, np.ndarray]) -> None:
    assert len(model.get_weights()) == len(SHAPES)
    for weight, name in zip(model.get_weights(), SHAPES):
        np.testing.assert_array_equal(weight, expected[name])


class TestAssign:
    def test_every_variable(self, values):
        model = small_network()
        assert slim.assign(model, values) == []
        assert_holds(model, values)

    @pytest.mark.parametrize("scope", ["Ens3", "Ens3/", "a/b"])
    def test_scope(self, scope, values):
        model = small_network()
        scoped = {f"{scope.strip('/')}/{name}": value for name, value in values.items()}
        others = {"global_step": np.array(7), "Ens4/Net/conv/weights": np.zeros(3)}
        assert slim.assign(model, scoped | others, scope) == list(others)
        assert_holds(model, values)

    def test_moving_averages(self, values):
        model = small_network()
        averages = {f"{name}/ExponentialMovingAverage": value + 1 for name, value in values.items()}
        assert slim.assign(model, values | averages) == list(averages)
        assert_holds(model, values)
        assert slim.assign(model, values | averages, moving_averages=True) == list(values)
        assert_holds(model, {name: value + 1 for name, value in values.items()})

    def test_statistics_without_a_moving_average_of_their_own(self, values):
        model = small_network()
        expected = {name: value if "/moving_" in name else value + 1 for name, value in values.items()}
        averages = {
            f"{name}/ExponentialMovingAverage": value for name, value in expected.items() if "/moving_" not in name
        }
        slim.assign(model, values | averages, moving_averages=True)
        assert_holds(model, expected)

    @pytest.mark.parametrize(
        "name",
        [
            "global_step",
            "beta1_power",
            "Net/AuxLogits/conv/weights",
            "Net/AuxLogits/conv/weights/RMSProp_1",
            "Net/conv/weights/ExponentialMovingAverage",
            "Net/conv/weights/Momentum",
            "Net/conv/weights/RMSProp",
            "Net/conv/weights/RMSProp_1",
            "Net/conv/BatchNorm/beta/Adam_1",
        ],
    )
    def test_ignored(self, name, values):
        assert slim.assign(small_network(), values | {name: np.zeros(2)}) == [name]

    @pytest.mark.parametrize(
        ("changed", "moving_averages", "message"),
        [
            ({"Net/conv/weights": None}, False, "the checkpoint does not fit net: it lacks Net/conv/weights$"),
            (dict.fromkeys(SHAPES), False, "it lacks Net/conv/weights, .*beta, .*moving_mean and 3 more$"),
            ({"Net/conv/biases": (2,)}, False, "has what the network has not: Net/conv/biases$"),
            ({"Net/conv/weights_1": (2,)}, False, "has what the network has not: Net/conv/weights_1$"),
            (
                {"Net/Logits/Logits/biases": (10,)},
                False,
                r"has other shapes: Net/Logits/Logits/biases \[10\] for \[5\]$",
            ),
            (
                {"Net/conv/BatchNorm/beta": None, "Net/conv/BatchNorm/gamma": (2,)},
                False,
                "it lacks Net/conv/BatchNorm/beta; it has what the network has not: Net/conv/BatchNorm/gamma$",
            ),
            ({}, True, "it lacks Net/conv/weights/ExponentialMovingAverage, .* and 1 more$"),
        ],
    )
    def test_refused_before_anything_is_set(self, changed, moving_averages, message, values):
        model = small_network()
        before = dict(zip(SHAPES, model.get_weights()))
        for name, shape in changed.items():
            values.pop(name, None)
            if shape:
                values[name] = np.zeros(shape, np.float32)
        with pytest.raises(ValueError, match=message):
            slim.assign(model, values, moving_averages=moving_averages)
        assert_holds(model, before)


class TestRead:
    @pytest.mark.parametrize("version", [V1, V2])
    def test_both_formats(self, version, values, tmp_path):
        read = slim.read(save(tmp_path / "model.ckpt", values, version))
        assert read.keys() == values.keys()
        for name, value in values.items():
            np.testing.assert_array_equal(read[name], value)

    @pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001", ".meta"])
    @pytest.mark.parametrize("version", [V1, V2])
    def test_by_the_name_of_any_of_its_files(self, version, suffix, values, tmp_path):
        read = slim.read(save(tmp_path / "model.ckpt-7", values, version) + suffix)
        assert read.keys() == values.keys()

    def test_a_folder_of_one(self, values, tmp_path):
        save(tmp_path / "model.ckpt", values, V2)
        assert slim.read(tmp_path).keys() == values.keys()

    def test_a_folder_of_several(self, values, tmp_path):
        """Is refused, but for a file that names the newest."""
        save(tmp_path / "new.ckpt", values, V2)
        save(tmp_path / "old.ckpt", {name: 0 * value for name, value in values.items()}, V1)
        with pytest.raises(ValueError, match=r"the folder holds .*new\.ckpt, .*old\.ckpt; name one of them$"):
            slim.read(tmp_path)
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "new.ckpt"\n')
        for name, value in slim.read(tmp_path).items():
            np.testing.assert_array_equal(value, values[name])

    def test_missing(self, tmp_path):
        with pytest.raises(ValueError, match=r"cannot read a checkpoint from .*nowhere\.ckpt"):
            slim.read(tmp_path / "nowhere.ckpt")

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a checkpoint" * 100])
    def test_something_else(self, content, tmp_path):
        (tmp_path / "model.ckpt").write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read a checkpoint from .*model\.ckpt") as error:
            slim.read(tmp_path / "model.ckpt")
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("version", [V1, V2])
    def test_truncated(self, version, values, tmp_path):
        save(tmp_path / "model.ckpt", values, version)
        for path in tmp_path.glob("model.ckpt*"):
            path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ValueError, match=r"cannot read a checkpoint from .*model\.ckpt"):
            slim.read(tmp_path / "model.ckpt")

    def test_empty_folder(self, tmp_path):
        with pytest.raises(ValueError, match=r"cannot read a checkpoint from .*: the folder holds none$"):
            slim.read(tmp_path)


class TestWithoutBackground:
    def test_logits_of_the_other_classes_in_their_order(self, rng, tmp_path):
        features = keras.Input((3,))
        model = keras.Model(features, keras.layers.Dense(1001)(features))
        x = rng.normal(size=(2, 3)).astype(np.float32)
        shorter = slim.without_background(model)
        assert shorter.output_shape == (None, 1000)
        np.testing.assert_array_equal(shorter(x), model(x)[:, 1:])
        shorter.save(tmp_path / "model.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), model(x)[:, 1:])

    def test_other_classes(self):
        with pytest.raises(ValueError, match=r"model must give logits \[B, 1001\]; received \(None, 5\)"):
            slim.without_background(small_network())


def write_archive(path: pathlib.Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> pathlib.Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class TestDownload:
    @pytest.fixture
    def served(self, tmp_path, monkeypatch):
        """A folder, and the address where a server on this machine offers its files."""
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        folder = tmp_path / "served"
        folder.mkdir()
        handler = functools.partial(QuietHandler, directory=str(folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
            yield folder, f"http://127.0.0.1:{server.server_port}"
            server.shutdown()

    def test_every_network_has_an_archive(self):
        assert slim_archives.ARCHIVES.keys() == slim.NETWORKS.keys()

    @pytest.mark.parametrize("version", [V1, V2])
    def test_fetched_once_and_read(self, version, served, values, tmp_path):
        folder, url = served
        save(tmp_path / "inception_v3.ckpt", values, version)
        files = {path.name: path.read_bytes() for path in tmp_path.glob("inception_v3.ckpt*")}
        archive = write_archive(folder / "inception_v3_2016_08_28.tar.gz", files)
        checkpoint = slim_archives.download("inception_v3", url, tmp_path / "cache")
        assert slim.read(checkpoint).keys() == values.keys()
        archive.unlink()
        assert slim_archives.download("inception_v3", url, tmp_path / "cache") == checkpoint

    def test_not_found(self, served, tmp_path):
        with pytest.raises(ValueError, match=r"cannot download the checkpoint of resnet_v2_50: .*\.tar\.gz.*404"):
            slim_archives.download("resnet_v2_50", served[1], tmp_path / "cache")

    def test_unknown_network(self):
        with pytest.raises(ValueError, match=r"network must be one of .*; received 'vgg_16'"):
            slim_archives.download("vgg_16")


class TestUnpack:
    @pytest.mark.parametrize(
        ("name", "links"),
        [
            ("../../evil.ckpt", {}),
            ("{outside}/evil.ckpt", {}),
            ("link/evil.ckpt", {"link": "{outside}"}),
            ("evil.ckpt", {"evil.ckpt": "{outside}/evil.ckpt"}),
            ("evil.ckpt", {"../link": "{outside}"}),
        ],
    )
    def test_nothing_leaves_the_folder(self, name, links, tmp_path):
        outside, inside = tmp_path / "outside", tmp_path / "a" / "b"
        outside.mkdir()
        inside.mkdir(parents=True)
        links = {link: target.format(outside=outside) for link, target in links.items()}
        archive = write_archive(inside / "net.tar.gz", {name.format(outside=outside): b"content"}, links)
        checkpoint = slim_archives.unpack(archive)
        assert checkpoint == inside / "net" / "evil.ckpt"
        written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
        assert written == {"outside", "a", "a/b", "a/b/net.tar.gz", "a/b/net", "a/b/net/evil.ckpt"}
        assert not checkpoint.is_symlink()

    @pytest.mark.parametrize(
        ("files", "count"), [({}, 0), ({"eval.graph": b""}, 0), ({"a.ckpt": b"", "b.ckpt.index": b""}, 2)]
    )
    def test_another_number_of_checkpoints(self, files, count, tmp_path):
        archive = write_archive(tmp_path / "net.tar.gz", files)
        with pytest.raises(ValueError, match=f"must hold one checkpoint; it holds {count}"):
            slim_archives.unpack(archive)

    @pytest.mark.parametrize("length", [0, 10, 500])
    def test_truncated(self, length, rng, tmp_path):
        archive = write_archive(tmp_path / "net.tar.gz", {"net.ckpt": rng.bytes(100_000)})
        archive.write_bytes(archive.read_bytes()[:length])
        with pytest.raises(ValueError, match=r"cannot unpack .*net\.tar\.gz: .*; delete it to download it again"):
            slim_archives.unpack(archive)


class TestBinary:
    @pytest.mark.parametrize(
        ("flags", "names"),
        [
            (["--background"], "{}"),
            (["--nobackground", "--scope=Ens3"], "Ens3/{}"),
            (["--moving_averages"], "{}/ExponentialMovingAverage"),
        ],
    )
    def test_converts(self, flags, names, monkeypatch, rng, tmp_path):
        """A network of one layer in the place of a large one."""
        layer = keras.layers.Dense(1001, name="Net.Logits")
        monkeypatch.setitem(slim.NETWORKS, "resnet_v2_50", lambda x: layer(keras.layers.GlobalAveragePooling2D()(x)))
        weights, biases = rng.normal(size=(3, 1001)).astype(np.float32), rng.normal(size=1001).astype(np.float32)
        values = {names.format("Net/Logits/weights"): weights, names.format("Net/Logits/biases"): biases}
        checkpoint = save(tmp_path / "net.ckpt", values | {"global_step": np.array(7)}, V2)
        output = tmp_path / "new" / "net.keras"
        finished = here(
            "models.convert_slim", "--network=resnet_v2_50", f"--checkpoint={checkpoint}", f"--output={output}", *flags
        )
        assert finished.status == 0, finished.stderr
        assert finished.stdout.splitlines() == [
            "ignored: global_step",
            f"2 variables of {checkpoint} are in {output}, 1 are ignored",
        ]
        images = rng.random((2, 4, 5, 3)).astype(np.float32)
        expected = (2 * images - 1).mean(axis=(1, 2)) @ weights + biases
        found = keras.models.load_model(output, compile=False)(images, training=False)
        assert_close(found.numpy(), expected[:, 1:] if "--nobackground" in flags else expected)

    def test_downloads(self, monkeypatch, tmp_path):
        """The archive of the network that is named."""
        asked = []
        monkeypatch.setattr(slim_archives, "download", lambda network: asked.append(network) or tmp_path / "none")
        flags = ["--network=adv_inception_v3", "--checkpoint=download", f"--output={tmp_path / 'net.keras'}"]
        finished = here("models.convert_slim", *flags)
        assert finished.status == 2
        assert re.match(r"error: cannot read a checkpoint from .*none", finished.stderr)
        assert asked == ["adv_inception_v3"]

    def test_help_needs_no_other_flag(self):
        finished = here("models.convert_slim", "--help")
        assert finished.status == 0, finished.stderr
        assert "Converts a TF-Slim checkpoint into a Keras file." in finished.stdout
        assert "--[no]background: Keep class 0" in finished.stdout

    @pytest.mark.slow
    def test_converts_a_network_of_tf_slim(self, checkpoints, tmp_path):
        values, image, expected = reference("inception_v3")
        output = tmp_path / "new" / "model.keras"
        finished = here(
            "models.convert_slim",
            "--network=ens3_adv_inception_v3",
            f"--checkpoint={checkpoints('inception_v3')}",
            f"--output={output}",
            "--nobackground",
        )
        assert finished.status == 0, finished.stderr
        ignored = [name for name in values if "/AuxLogits/" in name]
        assert {f"ignored: {name}" for name in ignored} < set(finished.stdout.splitlines())
        assert f"{len(values) - len(ignored)} variables of" in finished.stdout
        model = keras.models.load_model(output, compile=False)
        assert model.name == "ens3_adv_inception_v3"
        assert_close(model(image, training=False).numpy(), expected[:, 1:])
