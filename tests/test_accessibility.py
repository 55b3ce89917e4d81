"""Axe-core finds nothing wrong with the pages, at the widths of a desk and of a telephone, in light and in dark."""

from __future__ import annotations

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from selenium.webdriver.common.by import By

from tests.test_detection import natural
from tests.test_report import finished_run, read
from tf_smoothadv.evaluation import blind
from tf_smoothadv.evaluation.rendering import report


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as a package ships it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    return (pathlib.Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    originals = np.clip(natural(np.random.default_rng(0), 12, 32), 30, 220)
    folder = finished_run(tmp_path_factory.mktemp("run"), originals)
    settings = folder / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "epsilons": [0.5, 1.0]}))
    (folder / "report.html").write_text(report.page(read(folder)))
    (folder / "previews.html").write_text(report.page(read(folder), 1))
    blind.make(folder, seconds=0)
    return folder


@pytest.fixture(
    params=[
        (1100, "light"),
        (420, "dark"),
        pytest.param((1100, "dark"), marks=pytest.mark.slow),
        pytest.param((420, "light"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def screen(browser, request):
    width, scheme = request.param
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 1000}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    yield browser
    browser.execute_script("if (typeof keep !== 'undefined') removeEventListener('beforeunload', keep)")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def violations(page, axe: str) -> list[str]:
    """What axe finds wrong with what is seen, a line an element."""
    page.execute_script(axe)  # not as an element of the page, whose policy lets no other script run
    found = page.execute_async_script(
        "const done = arguments[0]; axe.run({resultTypes: ['violations']}).then(done, (error) => done(String(error)));"
    )
    assert isinstance(found, dict), found
    assert len(found["passes"]) > 10
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def test_axe_finds_what_is_wrong(screen, axe, folder):
    screen.get((folder / "report.html").as_uri())
    screen.execute_script("document.querySelector('#swap').textContent = ''")
    assert [line.split(":")[0] for line in violations(screen, axe)] == ["button-name"]


def test_report(screen, axe, folder):
    screen.get((folder / "report.html").as_uri())
    assert violations(screen, axe) == []
    for details in screen.find_elements(By.TAG_NAME, "summary"):
        details.click()
    screen.find_element(By.CSS_SELECTOR, "th[aria-sort] button").click()
    assert violations(screen, axe) == []


def test_comparison(screen, axe, folder):
    screen.get("about:blank")
    screen.get((folder / "report.html").as_uri() + "#image=00003&with=original&with=cw&with=scw&as=perturbation&zoom=9")
    assert len(screen.find_elements(By.CSS_SELECTOR, "dialog[open] .window")) == 3
    assert violations(screen, axe) == []


def test_previews(screen, axe, folder):
    screen.get("about:blank")
    screen.get((folder / "previews.html").as_uri())
    assert violations(screen, axe) == []
    image = screen.execute_script("return cards.find((card) => card.files).image")
    screen.get("about:blank")
    screen.get((folder / "previews.html").as_uri() + f"#image={image}&with=original&with=cw")
    assert len(screen.find_elements(By.CSS_SELECTOR, "dialog[open] .window")) == 2
    assert violations(screen, axe) == []


def test_blind_test(screen, axe, folder):
    screen.get((folder / blind.PAGE).as_uri())
    assert violations(screen, axe) == []
    screen.execute_script("document.querySelector('#begin button').click()")
    for section in ("trial", "rest", "end"):
        screen.execute_script(f"turnTo('{section}')")
        assert violations(screen, axe) == []
