"""What a file may import beside the layers of pyproject.toml, which `make lint` holds."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(path for folder in ("tf_smoothadv", "models", "eval") for path in (ROOT / folder).rglob("*.py"))
OF_EVAL = {"absl", "filelock", "h5py", "jinja2", "matplotlib", "markupsafe", "PIL", "rich", "scipy"}


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: pathlib.Path) -> set[str]:
    """The packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_plots_knows_matplotlib(path):
    assert "matplotlib" not in imported(path) or module_name(path) == "tf_smoothadv.evaluation.rendering.plots"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_file_but_a_binary_reads_flags(path):
    binary = module_name(path).startswith("eval.") or module_name(path) in (
        "models.console",
        "tf_smoothadv.command",
        "models.train",
        "models.convert_slim",
    )
    assert binary or "FLAGS" not in path.read_text()


def test_the_library_imports_without_what_only_the_extras_install_and_evaluation_says_which_it_needs():
    """Keras itself imports absl, h5py and rich: those are looked for in the library's own lines."""
    hidden = ["filelock", "jinja2", "matplotlib", "skimage", "ssimulacra2", "flip_evaluator"]
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden}))\nimport tf_smoothadv as sa; print('imported')"
    command = [sys.executable, "-c", f"{code}\nsa.evaluation"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.stdout.strip() == "imported", finished.stderr
    assert finished.returncode == 1
    assert "pip install 'tf_smoothadv[eval]'" in finished.stderr.splitlines()[-1]
    exempt = ("blind", "loading", "robustness", "visibility")  # which import such things where they use them
    for path in FILES:
        if module_name(path).startswith("tf_smoothadv") and "evaluation" not in path.parts and path.stem not in exempt:
            assert not imported(path) & OF_EVAL, path


def test_no_file_of_evaluation_is_longer_than_three_hundred_lines_and_no_binary_longer_than_eighty():
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in FILES}
    assert [name for name, length in lengths.items() if ".evaluation" in name and length > 300] == []
    assert [name for name, length in lengths.items() if name.startswith("eval.") and length > 80] == ["eval.flags"]
