"""Imports go one way: eval -> models -> tf_smoothadv, and within the library up the list."""

from __future__ import annotations

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

LIBRARY = [
    "version",
    "backend",
    "checks",
    "graph",
    "solvers",
    "smoothing",
    "classifier",
    "criteria",
    "attacks.core",
    "attacks.gradient",
    "attacks.optimizers",
    "attacks.carlini_wagner",
    "attacks.minimal_norm",
    "attacks.augmented_lagrangian",
    "attacks.nearest_classes",
    "attacks",
    "filters",
    "defenses",
    "addons",
    "magnification",
    "protocol",
    "tradeoff",
    "transfer",
]
MODELS = [
    "console",
    "mnist",
    "c4",
    "files",
    "imagenet",
    "inspection",
    "slim_networks",
    "slim",
    "slim_archives",
    "loading",
]
MODEL_BINARIES = ["train", "convert_slim"]
EVAL = [
    "decoding",
    "sources",
    "data",
    "batching",
    "settings",
    "fields",
    "results",
    "inputs",
    "preset",
    "attacking",
    "classifiers",
    "network",
    "saving",
    "terminal",
    "pictures",
    "submissions",
    "plots",
    "sheets",
    "published",
    "finish",
    "tensorboard",
    "running",
    "shard",
    "white_box",
    "front",
    "referee",
    "transfer",
    "gallery",
    "report",
    "figures",
    "magnify",
    "merge",
]
ORDER = (
    [f"tf_smoothadv.{name}" for name in LIBRARY]
    + ["tf_smoothadv"]
    + [f"models.{name}" for name in MODELS]
    + ["models"]
    + [f"models.{name}" for name in MODEL_BINARIES]
    + ["eval"]
    + [f"eval.{name}" for name in EVAL]
)
FILES = sorted(path for folder in ("tf_smoothadv", "models", "eval") for path in (ROOT / folder).rglob("*.py"))


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in ORDER else str(node.module))
    return names


def test_every_file_has_a_place_in_the_order():
    assert {module_name(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_file_imports_only_what_stands_above_it(path):
    place = ORDER.index(module_name(path))
    below = {name for name in imported(path) if name in ORDER[place:]}
    assert not below


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_plots_knows_matplotlib(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert "matplotlib" not in roots or module_name(path) == "eval.plots"


def test_the_library_needs_nothing_that_only_the_binaries_install():
    for path in FILES:
        if module_name(path).startswith("tf_smoothadv"):
            roots = {name.split(".")[0] for name in imported(path)}
            assert not roots & {"jinja2", "matplotlib", "PIL", "rich", "models", "eval"}
