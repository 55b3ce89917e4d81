"""The documentation: every example of a page runs, in order, and every link leads somewhere."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from docs import commands

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {path.stem: path for path in (ROOT / "docs").glob("*.md")}
EXAMPLES = sorted(name for name, path in PAGES.items() if name != "reference" and "```python" in path.read_text())


def readers_own() -> dict[str, object]:
    """What a page calls the reader's: a network of three channels, images, and what was made of them."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    layers = keras.layers.Resizing(16, 16), keras.layers.Flatten(), keras.layers.Dense(4)
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    images = tf.constant(rng.uniform(size=(2, 16, 16, 3)).astype(np.float32))
    noise = tf.constant(rng.normal(size=images.shape).astype(np.float32))
    return {
        "model": model,
        "images": images,
        "labels": tf.argmax(model(images), axis=1),
        "adversarial": tf.clip_by_value(images + 0.01 * noise, 0, 1),
        **dict.fromkeys(("z", "x", "gradient"), noise),
    }


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, marks=[pytest.mark.slow] * (page in ("choose", "evaluation", "photographs", "pitfalls", "studies"))
        )
        for page in EXAMPLES
    ],
)
def test_examples_of_a_page_run(page, tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save("holiday.jpg")
    names = readers_own()
    if page == "photographs":
        names["labels"] = [0]
    for block in re.findall(r"```python\n(.*?)```", PAGES[page].read_text(), re.DOTALL):
        exec(compile(block, f"docs/{page}.md", "exec"), names)


def headings(page: pathlib.Path) -> set[str]:
    """The anchors of a page, as its site and GitHub make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES.values()], ids=lambda path: path.stem)
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\((?!http)([^)\s]+)\)", path.read_text()):
        file, _, anchor = target.partition("#")
        other = (path.parent / file) if file else path
        assert other.exists(), target
        assert not anchor or anchor in headings(other) or f'id="{anchor}"' in other.read_text(), target


def test_every_page_is_in_the_sites_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert {name for name in PAGES if f"{name}.md" not in navigation} == set()


def test_the_command_line_has_every_binary():
    listed = re.findall(r"^## (\w+)$", PAGES["commands"].read_text(), re.MULTILINE)
    assert listed == commands.binaries()


@pytest.mark.slow
def test_the_command_line_is_what_help_says():
    assert PAGES["commands"].read_text() == commands.page(), "run `make reference`"
