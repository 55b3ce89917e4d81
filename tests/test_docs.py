"""The documentation: every example of a page runs, in order, and every link leads somewhere."""

from __future__ import annotations

import functools
import importlib
import itertools
import pathlib
import re

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from absl import flags

from docs import commands

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {path.stem: path for path in (ROOT / "docs").glob("*.md")}
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
PROSE += [path for name, path in PAGES.items() if name not in ("commands", "reference")]
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


def commands_of(page: pathlib.Path) -> list[str]:
    """What a page tells to type, in blocks and between words, each in one line."""
    text = page.read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = itertools.chain.from_iterable(re.sub(r"\\\n\s*", "", block).splitlines() for block in blocks)
    words = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [re.sub(r"\s+", " ", line.partition("#")[0]) for line in (*lines, *words)]


def flags_of(command: str) -> flags.FlagValues | None:
    """Those of the binary that a command runs; None where it runs none of the project's."""
    found = re.search(r"(?:^|python -m )(?:smoothadv (\w+)|((?:eval|benchmarks|models)[\w.]*))", command)
    if found is None:
        return None
    name = f"eval.{found[1]}" if found[1] else found[2]
    assert name == "benchmarks" or (ROOT / f"{name.replace('.', '/')}.py").exists(), command
    return importlib.import_module("benchmarks.__main__" if name == "benchmarks" else name).FLAGS


@pytest.mark.parametrize("page", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_one_that_its_binary_takes(page):
    for command in commands_of(page):
        known = flags_of(command) if re.search(r"python -m|smoothadv \w", command) else None
        if known is None:
            continue
        for name, value in re.findall(r"(?<!\S)--(\w+)(?:=(\S+))?", command.partition(" -- ")[0]):
            name = name if name in known else name.removeprefix("no")
            assert name in known or name == "help", command
            if value and value != "..." and not value.isupper():
                known[name].parser.parse(value)


@functools.cache
def all_flags() -> list[flags.FlagValues]:
    modules = [f"eval.{name}" for name in commands.binaries()]
    modules += [f"benchmarks.{name}" for name in ("__main__", "adversaries", "devices")]
    return [importlib.import_module(name).FLAGS for name in modules]


@pytest.mark.parametrize("page", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_flag_is_one_of_a_binary(page):
    """Those that stand alone, as in: the same with `--num_images=24`."""
    alone = [command.partition(" -- ")[0] for command in commands_of(page) if command.startswith("--")]
    for name in re.findall(r"(?<!\S)--(\w+)", " ".join(alone)):
        known = any(name in given or name.removeprefix("no") in given for given in all_flags())
        assert known or name == "help", name


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
