"""Batches spread over several devices: the same results, no device idle, and what cannot be spread is refused."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tests.test_evaluation import kept
from tf_smoothadv.attacks.core import ZERO_GRADIENT

ROOT = pathlib.Path(__file__).parents[1]
TOLERANCE = 2e-3  # of the distortion, relative: as that of batches of other sizes, see test_batch_independence.py


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((2, "fgsm,fmn-8bit"), id="two"),
        pytest.param((4, "pgd2,sfmn-8bit,nfmn,standard"), id="four", marks=pytest.mark.slow),
    ],
)
def spread(request, tmp_path_factory) -> tuple[int, pathlib.Path, dict[str, Any]]:
    """How many devices, where the results of runs lie, and what `tests.on_devices` came to."""
    count, names = request.param
    folder = tmp_path_factory.mktemp("devices")
    command = [sys.executable, "-m", "tests.on_devices", str(count), str(folder), names]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return count, folder, json.loads(finished.stdout)


def test_results_are_those_of_one_device_for_any_size_of_batch(spread):
    _, _, found = spread
    assert len(found["results"]) >= 7
    assert max(found["results"].values()) < TOLERANCE, found["results"]


def test_every_device_has_images_as_long_as_there_are_some(spread):
    count, _, found = spread
    for size, rows in found["shares"].items():
        assert [replica for replica, _ in rows] == [place % count for place in range(int(size))]
        images = collections.Counter(replica for replica, _ in rows)
        assert len(images) == min(int(size), count)
        assert max(images.values()) - min(images.values()) <= 1
        assert {share for _, share in rows} == {max(images.values())}  # equal, whatever is filled up


def test_no_loop_waits_for_that_of_another_device(spread):
    count, _, found = spread
    assert sorted(found["waits"]) == [[f"CPU:{number}"] for number in range(count)]


def test_a_device_whose_images_all_lack_a_gradient_is_no_error(spread):
    count, _, found = spread
    difference, told, successes, faulty = found["dead"]
    assert difference == 0
    assert told == ZERO_GRADIENT
    assert (successes, faulty) == (2, 5 * 2 * (count - 1))  # those of the first device alone have a gradient


def test_variables_that_lie_on_one_device_are_refused(spread):
    _, _, found = spread
    of_model, of_optimizer = found["refused"]
    assert "load or build it inside of strategy.scope(), or attack it outside of that" in of_model
    assert "an attack with optimizer= is one device's" in of_optimizer


def test_a_run_on_several_devices_is_that_on_one(spread):
    _, folder, _ = spread
    one, several = (kept(folder / name) for name in ("one", "several"))
    assert [row[:3] for row in one] == [row[:3] for row in several]
    assert [row[3] for row in one] == pytest.approx([row[3] for row in several], rel=TOLERANCE)
