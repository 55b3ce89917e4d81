"""The API's page, and the examples that it shows."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pathlib
import re
import subprocess
import sys
import types
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TESTS = ROOT / "tests"
MODULES = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)


def public(module: types.ModuleType) -> dict[str, Any]:
    """What a module's `__all__` names, or else its own functions and classes; no modules."""
    own = [name for name, item in vars(module).items() if getattr(item, "__module__", None) == module.__name__]
    found = {name: getattr(module, name) for name in getattr(module, "__all__", own) if not name.startswith("_")}
    return {name: item for name, item in found.items() if not inspect.ismodule(item)}


def items() -> dict[str, Any]:
    """What is callable of it, by the first of its names."""
    found: dict[str, Any] = {}
    for module in map(importlib.import_module, MODULES):
        for name, item in public(module).items():
            if callable(item) and not any(item is other for other in found.values()):
                found[f"{module.__name__}.{name}"] = item
    return found


ITEMS = items()
TESTED_ELSEWHERE = {  # a name without an example: why, and the test's file and text
    "tf_smoothadv.attacks.Attack": ("to derive from, as CONTRIBUTING.md does", "test_readme.py", "SteepestDescent"),
    "tf_smoothadv.evaluation.run.white_box": ("needs images in files", "test_evaluation.py", "run.white_box("),
    "tf_smoothadv.evaluation.referee.referee": ("needs images in files", "test_evaluation.py", "referee.referee("),
    "tf_smoothadv.load_results": ("needs folders of results", "test_load_results.py", "sa.load_results(results"),
    "tf_smoothadv.evaluation.dataframe.write": ("needs folders of results", "test_load_results.py", "eval.export"),
    "tf_smoothadv.Jpeg": ("needs files", "test_jpeg.py", "sa.Jpeg(["),
    "tf_smoothadv.delivery.Delivery": ("to derive from", "test_delivery.py", "(Delivery)"),
    "models.inception_v3": ("24 million parameters", "test_imagenet.py", "models.inception_v3"),
    "models.resnet_v2_50": ("26 million parameters", "test_imagenet.py", "models.resnet_v2_50"),
    "models.import_module": ("needs a module of the user's", "test_models.py", "models.import_module("),
    "models.slim.load": ("needs a checkpoint of a whole network", "test_slim.py", "slim.load("),
}


@pytest.mark.slow
def test_every_public_name_is_on_the_page_with_its_example_as_code(tmp_path):
    pytest.importorskip("mkdocstrings")
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", f"--site-dir={tmp_path}"], cwd=ROOT, check=True)
    page = (tmp_path / "reference.html").read_text()
    shown = set(re.findall(r'<h[2-6] id="([^"]+)"', page))
    assert {
        name for name, item in ITEMS.items() if {name, f"{item.__module__}.{item.__name__}"}.isdisjoint(shown)
    } == set()
    assert "<blockquote>" not in page  # what Markdown makes of >>>


@pytest.mark.parametrize("name", ITEMS)
def test_every_public_name_has_an_example_or_is_named_in_a_test(name):
    examples = doctest.DocTestParser().get_examples(ITEMS[name].__doc__)
    assert bool(examples) is (name not in TESTED_ELSEWHERE)
    assert all(example.want for example in examples[-1:]), "the last line of an example must show something"


@pytest.mark.parametrize(("reason", "file", "text"), TESTED_ELSEWHERE.values(), ids=TESTED_ELSEWHERE)
def test_what_has_no_example_is_named_in_its_test(reason, file, text):
    assert text in (TESTS / file).read_text()
