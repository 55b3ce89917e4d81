"""What `python -m build` makes, installed where the checkout is out of sight."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

import tf_smoothadv as sa

ROOT = pathlib.Path(__file__).parents[1]
SITE_PACKAGES = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
NAME = f"tf_smoothadv-{sa.__version__}"
PLACES = {"tf_smoothadv": "tf_smoothadv", "eval": "tf_smoothadv/_eval", "models": "tf_smoothadv/_models"}
FILES = [
    path.relative_to(ROOT)
    for folder in PLACES
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix != ".pyc"
]
LIBRARY = {f"{PLACES[path.parts[0]]}/{path.relative_to(path.parts[0])}" for path in FILES}
USE = """
import importlib.metadata, importlib.util, json
import tf_smoothadv as sa
from tf_smoothadv import command

visible = [name for name in ("models", "eval") if importlib.util.find_spec(name)]
command.main("smoothadv white_box --num_images=2 --attacks=fgsm --output=results".split())
command.main("smoothadv report results".split())
versions = [sa.__version__, importlib.metadata.version("tf_smoothadv")]
print(json.dumps({"file": sa.__file__, "versions": versions, "visible": visible}))
"""


def run(*command: object, cwd: pathlib.Path) -> str:
    """The output of a command that must succeed, stderr included; it hears nothing of PYTHONPATH."""
    words = [str(word) for word in command]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(source: pathlib.Path, output: pathlib.Path, *options: str) -> str:
    """What building says; it needs no network."""
    return run(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", output, ".", cwd=source)


def contents(archive: zipfile.ZipFile) -> dict[str, bytes]:
    return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[pathlib.Path, str]:
    """A folder with the wheel and the sdist of a copy of the checkout, and what building them said."""
    pytest.importorskip("build.__main__", reason="needs the package build")
    folder = tmp_path_factory.mktemp("packaging")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "results")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    return folder, build(folder / "source", folder / "dist", "--sdist", "--wheel")


@pytest.fixture(scope="module")
def wheel(built) -> zipfile.ZipFile:
    (path,) = (built[0] / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_building_warns_of_nothing(built):
    assert not re.findall(r".*(?:[Ww]arning|[Dd]eprecat).*", built[1])


def test_the_wheel_holds_one_package(wheel):
    metadata = {
        f"{NAME}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")
    }
    assert contents(wheel).keys() == LIBRARY | metadata | {f"{NAME}.dist-info/licenses/LICENSE"}
    assert "tf_smoothadv/py.typed" in LIBRARY
    assert f"\nVersion: {sa.__version__}\n" in contents(wheel)[f"{NAME}.dist-info/METADATA"].decode()


def test_the_sdist_makes_the_same_wheel(built, wheel, tmp_path):
    with tarfile.open(built[0] / "dist" / f"{NAME}.tar.gz") as sdist:
        names = {member.name.removeprefix(f"{NAME}/") for member in sdist if member.isfile()}
        sdist.extractall(tmp_path, filter="data")
    assert names >= {*map(str, FILES), "LICENSE", "README.md", "pyproject.toml"}
    assert {name.split("/")[0] for name in names if "/" in name} == {*PLACES, "tf_smoothadv.egg-info"}
    build(tmp_path / NAME, tmp_path, "--wheel")
    (path,) = tmp_path.glob("*.whl")
    assert contents(zipfile.ZipFile(path)) == contents(wheel)


@pytest.mark.slow
def test_the_wheel_runs_an_attack_where_nothing_else_is_in_sight(wheel, tmp_path):
    """In an environment that has TensorFlow from this one: a .pth file shows it, but not what is installed editable."""
    home = tmp_path / "venv"
    venv.create(home, symlinks=True, with_pip=False)
    python = home / "bin" / "python"
    (libraries,) = home.glob("lib/*/site-packages")
    (libraries / "dependencies.pth").write_text("\n".join(SITE_PACKAGES))
    install = "install --quiet --disable-pip-version-check --no-index --no-deps --ignore-installed"
    run(sys.executable, "-m", "pip", "--python", python, *install.split(), wheel.filename, cwd=tmp_path)
    told = run(python, "-I", "-c", USE, cwd=tmp_path)
    assert json.loads(told.splitlines()[-1]) == {
        "file": str(libraries / "tf_smoothadv" / "__init__.py"),
        "versions": [sa.__version__] * 2,
        "visible": [],
    }
    assert "c4: accuracy 1.000 on 2 images of mnist" in told
    assert "results/report.html" in told
    assert json.loads((tmp_path / "results" / "summary.json").read_text())["attacks"]["fgsm"]["p_suc"] == 1
    assert "smoothadv BINARY --help" in run(home / "bin" / "smoothadv", cwd=tmp_path)
    quiet = "import os, sys; sys.argv = ['smoothadv']; import tf_smoothadv; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    assert run(python, "-I", "-c", quiet, cwd=tmp_path).splitlines()[-1] == "3"
