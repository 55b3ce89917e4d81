"""The notebooks run from their first cell to their last, in a kernel of their own, and show what they say."""

from __future__ import annotations

import pathlib
import tempfile

import pytest

from tests.conftest import needs_shared

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
traitlets_config = pytest.importorskip("traitlets.config")
pytest.importorskip("ipykernel")

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

pytestmark = [
    pytest.mark.slow,
    # Jupyter's own:
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def executed(name: str, **values: object) -> list:
    """The outputs of the code cells, run in order; values take the place of what the notebook's own cells assign.

    Standard error is left out: warnings of libraries stand there, some of them only where a machine is slow. The kernel
    is spoken to by files: a port that was free may be taken by another test before the kernel binds it.
    """
    book = nbformat.read(ROOT / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in book.cells:
        for variable, value in values.items():
            lines = [
                f"{variable} = {value!r}" if line.startswith(f"{variable} = ") else line
                for line in cell.source.split("\n")
            ]
            cell.source = "\n".join(lines)
    with tempfile.TemporaryDirectory() as sockets, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", sockets)
        config = traitlets_config.Config(KernelManager={"transport": "ipc"})
        where = {"metadata": {"path": str(ROOT)}}
        nbclient.NotebookClient(book, timeout=600, startup_timeout=300, resources=where, config=config).execute()
    return [
        [one for one in cell.outputs if one.get("name") != "stderr"] for cell in book.cells if cell.cell_type == "code"
    ]


def text(outputs: list) -> str:
    return "".join(one.get("text", "") + one.get("data", {}).get("text/plain", "") for one in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_without_outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert [cell.outputs for cell in book.cells if cell.cell_type == "code" and cell.outputs] == []


def test_own_network():
    outputs = executed("own_network")
    assert "image/png" in outputs[-3][0]["data"]
    files = [line.split(" ") for line in text(outputs[-2]).splitlines()]
    assert len(files) == 8
    changed = [line for line in files if line[4] != line[7]]
    assert len(changed) >= 6
    shares = [float(line.split(": ")[1].split(" ")[0]) for line in text(outputs[-1]).splitlines()]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_figure_1_of_digits():
    outputs = executed("figure_1", STEPS=20)
    assert "C&W: success 1.00" in text(outputs[2])
    assert any("image/png" in one.get("data", {}) for one in outputs[2])
    assert outputs[3] == []


def test_figure_1_of_photographs(tmp_path):
    source = sorted(needs_shared("data/nips2017/images").glob("*.png"))
    for file in source[:3]:
        (tmp_path / file.name).symlink_to(file.resolve())
    network = needs_shared("models/efficientnet_lite0.keras")
    outputs = executed("figure_1", STEPS=4, PHOTOGRAPHS=str(tmp_path), NETWORK=str(network), SIDE=96)
    assert any("image/png" in one.get("data", {}) for one in outputs[3])
