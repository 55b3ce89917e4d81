from __future__ import annotations

import pathlib
import shutil
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tf_smoothadv.evaluation.data import mnist

SHARED = pathlib.Path(__file__).parents[2] / "shared"
SAMPLE = pathlib.Path(__file__).parents[1] / "tf_smoothadv" / "evaluation" / "data" / "samples" / "mnist.npz"


def needs_shared(path: str) -> pathlib.Path:
    """The path below the folder of shared data, models and references; skips the test where that is missing."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs shared/{path}")
    return SHARED / path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The shipped test digits, [200, 28, 28, 1] in [0, 1], and their classes."""
    return mnist.read(str(SAMPLE), "test")


@pytest.fixture(scope="module")
def without_figures():
    """For runs whose figures nothing looks at: drawing them takes longer than much of the rest."""
    from tf_smoothadv.evaluation.rendering import plots

    with mock.patch.object(plots, "save"):
        yield


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, that logs what it complains of and what it asks for."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver: Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield running
    running.quit()


def photograph(size: int = 64) -> np.ndarray:
    """A real photograph's middle, [1, size, size, 3] in [0, 1]."""
    path = sorted(needs_shared("data/nips2017/images").glob("*.png"))[0]
    pixels = tf.io.decode_png(tf.io.read_file(str(path)), channels=3).numpy()
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[None, top : top + size, left : left + size] / 255
