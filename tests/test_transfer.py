"""Transfer: the library's records and scores, the fixed settings, and the binary, run as a user runs it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from models import slim
from tests.conftest import needs_shared
from tests.many_runs import C4, Finished, here
from tests.test_attacks import Linear
from tests.test_slim import VERSIONS, reference, save
from tf_smoothadv import metrics, protocol, transfer
from tf_smoothadv.attacks import FGSM
from tf_smoothadv.evaluation import data, families, presets, variants
from tf_smoothadv.evaluation.records import schema

pytestmark = pytest.mark.usefixtures("without_figures")
SOURCES = ["c4", "c4_adversarial"]
NETWORKS = [*SOURCES, "bilateral+c4"]
ATTACKS = ["fgsm", "pgd2"]
DIGITS = [f"--attacks={','.join(ATTACKS)}", "--num_images=12", "--batch_size=5"]
BOTH_WAYS = [f"--sources={','.join(SOURCES)}", "--targets=bilateral+c4", *DIGITS]


def run(*arguments: object) -> Finished:
    return here("eval.transfer", *arguments, columns=100)


def read(folder: pathlib.Path) -> tuple[dict, list[transfer.Record]]:
    rows = map(json.loads, (folder / "records.jsonl").read_text().splitlines())
    return json.loads((folder / "transfer.json").read_text()), [schema.built(transfer.Record, row) for row in rows]


def told(label: int, clean: int, delivered: int, distortion: float) -> transfer.Record:
    """A record of a source and of one target, as far as scores look at it."""
    values = {field.name: 0 for field in dataclasses.fields(transfer.Record)}
    scores = {name: metrics.Score(False, size, 0, 0) for name, size in (("computed", 99.0), ("delivered", distortion))}
    values |= {"label": label, "trace": (), **scores}
    return transfer.Record(**values | {"clean": {"target": clean}, "predictions": {"target": delivered}})


class TestScores:
    """By hand: wrong; right; wrong before and after; wrong before, and right by the attack."""

    four = (told(1, 1, 2, 3.0), told(1, 1, 1, 9.0), told(4, 0, 5, 1.0), told(4, 0, 4, 9.0))

    def test_over_all_images_and_over_those_that_the_target_gets_right(self):
        assert transfer.scores(self.four, "target") == {
            "num_images": 4,
            "p_suc": 0.5,
            "mean_distortion": 2.0,
            "num_images_correct": 2,
            "p_suc_correct": 0.5,
        }

    def test_without_a_success(self):
        scores = transfer.scores(self.four[1:2], "target")
        assert (scores["p_suc"], scores["p_suc_correct"]) == (0, 0)
        assert math.isnan(scores["mean_distortion"])

    def test_a_target_that_is_never_right(self):
        scores = transfer.scores(self.four[2:], "target")
        assert (scores["p_suc"], scores["num_images_correct"]) == (0.5, 0)
        assert math.isnan(scores["p_suc_correct"])


class TestRecords:
    @pytest.fixture
    def networks(self):
        """A linear network; its boundary moved until half the images lie beyond it; and it turned round."""
        source = Linear(7, (8, 8, 1))
        moved, turned = Linear(7, (8, 8, 1)), Linear(7, (8, 8, 1))
        moved.b = source.b - np.float32(np.median(source.margins))
        turned.a, turned.b = -source.a, -source.b
        return {"source": source, "moved": moved, "turned": turned}

    def test_every_network_sees_the_delivered_images(self, networks):
        source = networks["source"]
        dataset = [(source.images[:4], source.labels[:4]), (source.images[4:], source.labels[4:])]
        clean = {name: protocol.predict(network, source.images) for name, network in networks.items()}
        attacks = {"fgsm": FGSM(0.05), "weak": FGSM(0.01)}
        records = list(itertools.chain(*transfer.records(networks, "source", dataset, attacks, clean)))
        assert sorted((record.attack, record.index) for record in records) == sorted(
            itertools.product(attacks, range(7))
        )
        assert {record.source for record in records} == {"source"}
        for name, attack in attacks.items():
            delivered = protocol.quantize(attack(source, source.images, source.labels).adversarial)
            rows = [record for record in records if record.attack == name]
            for target, network in networks.items():
                before, after = (
                    (np.sum(network.a * images, axis=(1, 2, 3)) + network.b < 0).tolist()
                    for images in (source.images, delivered)
                )
                assert [row.clean[target] for row in rows] == before
                assert [row.predictions[target] for row in rows] == after
            assert all(row.predictions["source"] == row.delivered.prediction for row in rows)
            assert all(row.predictions["turned"] == 1 - row.delivered.prediction for row in rows)

    def test_only_what_the_source_gets_right_is_attacked_and_what_is_done_is_left_out(self, networks):
        moved = networks["moved"]
        clean = {name: protocol.predict(network, moved.images) for name, network in networks.items()}
        right = np.flatnonzero(clean["moved"] == 0).tolist()
        attacks = {"a": FGSM(0.01), "b": FGSM(0.02)}
        done = {("a", image) for image in right}
        dataset = [(moved.images, moved.labels)]
        (records,) = transfer.records(networks, "moved", dataset, attacks, clean, done=done)
        assert 0 < len(right) < 7
        assert [(record.attack, record.index) for record in records] == [("b", image) for image in right]


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("name", families.NAMES)
class TestSettings:
    def test_one_setting_an_attack_and_no_search_for_epsilon(self, family, name):
        fixed = variants.transfer(family, name, presets.ATTACKS, levels=256)
        assert tuple(fixed) == presets.ATTACKS
        for (attack,) in fixed.values():
            assert getattr(attack, "binary_search_steps", 0) == 0 or not hasattr(attack, "epsilon")
            assert attack.delivery == sa.Levels()

    def test_the_rest_is_that_of_the_preset(self, family, name):
        fixed = variants.transfer(family, name, presets.ATTACKS)
        preset = presets.preset(family, name, presets.ATTACKS)
        for attack in ("cw", "scw"):
            assert fixed[attack] == preset[attack]
        for attack in ("fgsm", "ifgsm", "pgd2", "spgd2"):
            for key in ("loss", "smoothing", "steps"):
                assert getattr(fixed[attack][0], key, None) == getattr(preset[attack][0], key, None)

    def test_unknown_attack(self, family, name):
        with pytest.raises(ValueError, match=r"attack must be one of 'fgsm', .*; received 'deepfool'"):
            variants.transfer(family, name, ["fgsm", "deepfool"])


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> tuple[Finished, pathlib.Path]:
    folder = tmp_path_factory.mktemp("transfer")
    return run(*BOTH_WAYS, f"--output={folder}"), folder


@pytest.fixture(scope="module")
def networks() -> dict[str, keras.Model]:
    return {"c4": C4("clean"), "c4_adversarial": C4("adversarial")}


class TestBinary:
    def test_the_diagonal_is_the_white_box_attack(self, result, networks):
        finished, folder = result
        assert finished.status == 0, finished.stderr
        summary, _ = read(folder)
        attacks = variants.transfer("digits", "tuned", ATTACKS, levels=256)
        dataset = data.load("mnist", None, num_images=12, batch_size=5)
        for source, network in networks.items():
            white_box = protocol.evaluate(network, dataset, attacks)
            assert summary["accuracy"][source] == white_box.accuracy
            assert summary["num_correct"][source] == white_box.num_correct
            for attack in ATTACKS:
                outcome, scores = white_box.outcome(attack, delivered=True), summary["transfer"][source][attack][source]
                assert scores["num_images"] == scores["num_images_correct"] == white_box.num_correct
                assert scores["p_suc"] == scores["p_suc_correct"] == outcome.p_suc
                assert scores["mean_distortion"] == pytest.approx(outcome.mean_distortion, rel=1e-4)

    def test_records_are_what_the_networks_say(self, result, networks, digits):
        _, records = read(result[1])
        images, labels = (column[:12] for column in digits)
        filtered = sa.defenses.BilateralFilter()
        judges = {**networks, "bilateral+c4": lambda x: networks["c4"](filtered(x))}
        clean = {name: np.argmax(judge(images), axis=1) for name, judge in judges.items()}
        for source, (attack, (variant,)) in itertools.product(
            SOURCES, variants.transfer("digits", "tuned", ATTACKS, levels=256).items()
        ):
            right = np.flatnonzero(clean[source] == labels)
            rows = [record for record in records if (record.source, record.attack) == (source, attack)]
            assert [(row.index, row.label) for row in rows] == list(zip(right, labels[right]))
            adversarial = variant(networks[source], images[right], labels[right]).adversarial.numpy()
            delivered = np.round(adversarial * 255) / np.float32(255)
            distortion = np.linalg.norm((delivered - images[right]).reshape(len(right), -1), axis=1)
            np.testing.assert_allclose([row.delivered.distortion for row in rows], distortion, rtol=1e-3)
            for target, judge in judges.items():
                assert [row.clean[target] for row in rows] == clean[target][right].tolist()
                assert [row.predictions[target] for row in rows] == np.argmax(judge(delivered), axis=1).tolist()

    def test_the_matrix_follows_from_the_records(self, result):
        summary, records = read(result[1])
        assert list(summary["transfer"]) == SOURCES
        assert list(summary["accuracy"]) == NETWORKS
        for source, attack, target in itertools.product(SOURCES, ATTACKS, NETWORKS):
            scores = summary["transfer"][source][attack][target]
            rows = [record for record in records if (record.source, record.attack) == (source, attack)]
            wrong = [row.delivered.distortion for row in rows if row.predictions[target] != row.label]
            right = [row for row in rows if row.clean[target] == row.label]
            assert scores["num_images"] == len(rows) == summary["num_correct"][source]
            assert scores["p_suc"] == len(wrong) / len(rows)
            assert scores["mean_distortion"] == (pytest.approx(sum(wrong) / len(wrong)) if wrong else None)
            assert scores["num_images_correct"] == len(right)
            assert scores["p_suc_correct"] == sum(row.predictions[target] != row.label for row in right) / len(right)

    def test_tables(self, result):
        finished, folder = result
        summary, _ = read(folder)
        lines = [line.split() for line in finished.stdout.splitlines()]
        for source, attack in itertools.product(SOURCES, ATTACKS):
            cells = [
                f"{scores[key]:{form}}" if scores[key] is not None else "nan"
                for scores in summary["transfer"][source][attack].values()
                for key, form in (("p_suc", ".3f"), ("mean_distortion", ".2f"), ("p_suc_correct", ".3f"))
            ]
            assert [attack, *cells] in lines
            assert [source, *cells] in lines
        assert "12 images of mnist, attacked on c4 " in finished.stdout
        assert "fgsm, from source to target" in finished.stdout
        assert "pgd2 attack=PGD2, epsilon=5.1, step_size=1.275" in finished.stdout

    @pytest.mark.slow
    def test_networks_of_another_kind(self, result, networks, tmp_path):
        """C4 from bytes to probabilities, with and without the filter, as C4 itself is."""
        images = keras.Input((28, 28, 1))
        probabilities = keras.layers.Softmax()(networks["c4"](keras.layers.Rescaling(1 / 255)(images)))
        path = str(tmp_path / "net.keras")
        keras.Model(images, keras.layers.Reshape((10,))(probabilities)).save(path)
        flags = [f"--sources={path}", f"--targets=bilateral+{path}", "--input_range=0,255", "--outputs=probabilities"]
        finished = run(*flags, *DIGITS, "--attacks=fgsm", f"--output={tmp_path / 'run'}")
        assert finished.status == 0, finished.stderr
        made_with = json.loads((tmp_path / "run" / "settings.json").read_text())
        assert (made_with["input_range"], made_with["outputs"]) == ([0, 255], "probabilities")
        assert set(made_with["weights"].values()) == {models.fingerprint(networks["c4"])}
        expected = [record for record in read(result[1])[1] if (record.source, record.attack) == ("c4", "fgsm")]
        _, found = read(tmp_path / "run")
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected):
            for name in ("c4", "bilateral+c4"):
                assert one.predictions[name.replace("c4", path)] == other.predictions[name]

    @pytest.mark.slow
    def test_an_interrupted_run_goes_on_where_it_stopped(self, result, tmp_path):
        _, whole = result
        folder = tmp_path / "run"
        shutil.copytree(whole, folder)
        (folder / "transfer.json").unlink()
        lines = (whole / "records.jsonl").read_text().splitlines(keepends=True)
        kept = 29  # all of the first source, and a batch of the second but for one image
        (folder / "records.jsonl").write_text("".join(lines[:kept]) + lines[kept][:40])
        finished = run(*BOTH_WAYS, f"--output={folder}")
        assert finished.status == 0, finished.stderr
        assert "was cut off and is made again" in finished.stderr
        assert (folder / "records.jsonl").read_text().startswith("".join(lines[:kept]))
        assert (folder / "transfer.json").read_text() == (whole / "transfer.json").read_text()


@pytest.mark.slow
def test_a_checkpoint_of_tf_slim_as_target(tmp_path):
    """Photographs, from a small network of 1000 classes that labels them itself to TF-Slim's of 1001."""
    checkpoint = save(tmp_path / "resnet.ckpt", reference("resnet_v2_50")[0], VERSIONS["resnet_v2_50"])
    photographs = sorted(needs_shared("data/nips2017/images").glob("*.png"))[:3]
    images = keras.Input((64, 64, 3))
    features = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(images))
    kernel = keras.initializers.RandomNormal(seed=0)
    source = keras.Model(images, keras.layers.Dense(1000, kernel_initializer=kernel)(features))
    source.save(tmp_path / "source.keras")

    prepared = tf.stack([data.dataset.prepared(tf.constant(path.read_bytes()), 64) for path in photographs])
    for path, label in zip(photographs, np.argmax(source(prepared), axis=1)):
        folder = tmp_path / "images" / f"{label:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    (tmp_path / "images" / "classes.txt").write_text("".join(f"{label:03d}\n" for label in range(1000)))

    target = f"slim:resnet_v2_50:{checkpoint}"
    finished = run(
        f"--sources={tmp_path / 'source.keras'}",
        f"--targets={target}",
        "--dataset=folder",
        f"--data={tmp_path / 'images'}",
        "--image_size=64",
        "--attacks=fgsm",
        f"--output={tmp_path / 'results'}",
    )
    assert finished.status == 0, finished.stderr
    summary, records = read(tmp_path / "results")
    assert summary["accuracy"][str(tmp_path / "source.keras")] == 1
    scores = summary["transfer"][str(tmp_path / "source.keras")]["fgsm"][target]
    assert scores["num_images"] == len(records) == 3
    assert scores["num_images_correct"] == sum(record.clean[target] == record.label for record in records)

    ((originals, labels),) = data.load("folder", str(tmp_path / "images"), image_size=64)
    ((attack,),) = variants.transfer("small", "tuned", ["fgsm"], levels=256).values()
    delivered = protocol.quantize(attack(source, originals, labels).adversarial)
    network = slim.load("resnet_v2_50", checkpoint)
    for name, shown in (("clean", originals), ("predictions", delivered)):
        expected = np.argmax(network(shown, training=False)[:, 1:], axis=1).tolist()
        assert [getattr(record, name)[target] for record in records] == expected
