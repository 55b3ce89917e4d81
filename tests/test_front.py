"""From the smallest to the smoothest: the front against brute force, and the binary that attacks over alpha."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

import tf_smoothadv as sa
from tests.many_runs import here
from tests.test_attacks import Linear
from tf_smoothadv import tensors
from tf_smoothadv.attacks import FMN
from tf_smoothadv.evaluation import families, presets, records, variants
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.front import Front, over_alpha


@pytest.fixture
def random() -> Front:
    """Seven attacks on fifty images, with ties, failures, and an image on which all fail."""
    rng = np.random.default_rng(0)
    success = rng.uniform(size=(7, 50)) < 0.8
    success[:, 3] = False
    distortion, energy = rng.integers(1, 9, size=(2, 7, 50)) / 4
    return Front(tuple("abcdefg"), np.arange(50), success, distortion, energy)


def test_undominated_is_what_no_other_success_beats(random):
    for image in range(50):
        for one in range(7):
            beaten = not random.success[one, image]
            for other in np.flatnonzero(random.success[:, image]):
                mine, its = (
                    (random.distortion[place, image], random.smoothness_energy[place, image]) for place in (one, other)
                )
                beaten |= its != mine and its[0] <= mine[0] and its[1] <= mine[1]
            assert random.undominated()[one, image] == (not beaten)


@pytest.mark.parametrize("premium", [1.0, 1.5, 100.0])
def test_smoothest_is_the_smoothest_within_the_premium(random, premium):
    picked = random.smoothest(premium)
    assert np.flatnonzero(picked < 0).tolist() == [3]
    for image in range(50):
        successful = np.flatnonzero(random.success[:, image])
        if len(successful):
            smallest = random.distortion[successful, image].min()
            allowed = [one for one in successful if random.distortion[one, image] <= premium * smallest]
            assert picked[image] in allowed
            assert random.smoothness_energy[picked[image], image] == random.smoothness_energy[allowed, image].min()
    assert len(random.chosen(random.distortion, picked)) == 49


def test_a_premium_below_one_is_refused(random):
    with pytest.raises(ValueError, match=r"premium must be a number in \[1, inf\); received 0.5"):
        random.smoothest(0.5)


def test_no_alpha_is_refused():
    with pytest.raises(ValueError, match="alphas must name at least one alpha; received none"):
        over_alpha(FMN(), [])


def test_maskings_without_alphas_are_refused():
    with pytest.raises(ValueError, match=r"maskings are beside alphas: add alphas=\(0.0,\); received maskings"):
        Config(maskings=("eye",))


def test_front_of_a_linear_model_goes_from_smallest_to_smoothest():
    """There r is along the smoothed gradient: the more it is smoothed, the longer and the smoother it is."""
    model = Linear(3, (8, 8, 1))
    spec = sa.Smoothing(gamma=3.0)
    found = sa.front(
        model,
        model.images,
        model.labels,
        over_alpha(FMN(40, delivery=sa.Levels(1024)), [0.0, 0.7, 0.95], spec),
        reference=spec,
    )
    assert found.attacks == ("fmn-0", "fmn-0.7", "fmn-0.95")
    assert np.all(found.success)
    assert np.all(np.diff(found.distortion, axis=0) > 0)
    assert np.all(np.diff(found.smoothness_energy, axis=0) < 0)
    assert np.all(found.undominated())
    assert found.smoothest(1.0).tolist() == [0, 0, 0]
    assert found.smoothest(100.0).tolist() == [2, 2, 2]
    norms = [tensors.l2_norm(each - model.images) for each in found.delivered]
    np.testing.assert_allclose(norms, found.distortion, rtol=1e-5)


def test_front_leaves_out_what_the_model_gets_wrong():
    model = Linear(3, (8, 8, 1))
    found = sa.front(model, model.images, [0, 1, 0], over_alpha(FMN(5), [0.0]))
    assert found.indices.tolist() == [0, 2]
    assert found.delivered.shape == (1, 2, 8, 8, 1)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_front_is_of_the_presets_attacks(family):
    alpha = families.reference(family, "tuned").alpha
    preset = presets.preset(family, "tuned", ["fmn", "sfmn"], levels=256, gradients=30)
    (smooth,) = preset["sfmn"]
    front = variants.front(family, "tuned", ["fmn"], [0.0, alpha], gradients=30)
    assert front["fmn-0"] == preset["fmn"]
    assert front[f"fmn-{alpha:g}"] == (smooth.replaced(smoothing=dataclasses.replace(smooth.smoothing, alpha=alpha)),)
    (plain,) = preset["fmn"]
    masked = variants.front(family, "tuned", ["fmn"], [0.0], 30, list(families.MASKINGS[family]))
    expected = {f"mfmn-{name}": (plain.replaced(masking=spec),) for name, spec in families.MASKINGS[family].items()}
    assert masked == {"fmn-0": (plain,), **expected}
    with pytest.raises(ValueError, match="masking must be one of"):
        variants.front(family, "tuned", ["fmn"], [0.0], 30, ["none"])


@pytest.fixture(scope="module")
def command(without_figures, tmp_path_factory) -> tuple[list[str], pathlib.Path]:
    folder = tmp_path_factory.mktemp("front")
    flags = ["--num_images=6", "--batch_size=4", "--attacks=fmn,ddn", "--alphas=0.95,0", "--gradients=15"]
    return ["eval.front", *flags, f"--output={folder}"], folder


def test_binary_picks_the_smoothest_image_within_the_premium(command):
    for premium in ("1.4", "1"):
        finished = here(*command[0], f"--premium={premium}")
        assert finished.status == 0, finished.stderr
        folder = command[1]
        summary = json.loads((folder / "front.json").read_text())
        assert list(summary["attacks"]) == ["fmn-0", "fmn-0.95", "ddn-0", "ddn-0.95"]
        kept = records.read(folder)
        front = Front.of(kept.run)
        assert sum(one["undominated"] for one in summary["attacks"].values()) >= 1
        assert len(summary["picked"]) == len(front.indices) == len(list((folder / "picked").iterdir()))
        for place, attack in zip(front.indices, front.smoothest(float(premium))):
            name = kept.images[place]
            assert summary["picked"][name] == front.attacks[attack]
            picked = (folder / "picked" / f"{name}.png").read_bytes()
            assert picked == kept.picture(place, front.attacks[attack]).read_bytes()
    assert set(summary["picked"].values()) <= {"fmn-0", "ddn-0"}


@pytest.mark.slow
def test_shards_are_picked_from_once_merged(command, tmp_path):
    parts = [tmp_path / "first", tmp_path / "second"]
    flags, whole = command[0][:-1], tmp_path / "whole"
    commands = [
        *([*flags, f"--shard={i}/2", f"--output={part}"] for i, part in enumerate(parts, start=1)),
        ["eval.merge", *map(str, parts), f"--output={whole}"],
        [*flags, f"--output={whole}"],
    ]
    for one in commands:
        finished = here(*one)
        assert finished.status == 0, finished.stderr
    kept = records.read(whole)
    assert kept.images == [f"{place:05d}" for place in range(kept.run.num_images)]
    assert len(kept.run.records) == 4 * kept.run.num_correct
    assert len(list((whole / "picked").iterdir())) == kept.run.num_correct
