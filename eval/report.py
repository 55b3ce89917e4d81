"""A report to look at: one HTML file of results, with everything in it, for any browser, offline.

    python -m eval.white_box --save_images --output=results/c4       first a run, with images for the gallery
    python -m eval.report results/c4                                 its report, results/c4/report.html
    python -m eval.report results/c4 results/c4_adversarial          several runs; networks on one dataset side by side
    python -m eval.report results/c4 results/transfer                with the tables of eval.transfer
    python -m eval.report --num_images=50 results/c4                 more images, and a larger file

It has the tables of the paper with the published numbers beside one's own, the operating characteristics, and a gallery
in which original and adversarial image take each other's place. The gallery starts with the image that each attack had
to distort most and goes on with images spread evenly from the weakest to the strongest.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import math
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from absl import flags
from markupsafe import Markup

from eval import plots, published, results
from eval.gallery import VIEWS, gallery
from eval.results import Finished
from eval.terminal import compact, number
from models import console

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "The file to write; by default report.html in the first folder.")
flags.DEFINE_integer(
    "num_images",
    None,
    "At most so many images in the gallery, each with all attacks; by default as many as keep the file under 20 MB.",
    lower_bound=1,
)

TEMPLATES = pathlib.Path(__file__).parent / "templates"
P_SUC = Markup("P<sub>suc</sub>")


class Group(NamedTuple):
    """Columns of a table under one heading.

    Attributes:
        heading: the network.
        note: its accuracy.
        parts: columns by what they have in common.
    """

    heading: str
    note: str
    parts: dict[str, list[str]]


class Table(NamedTuple):
    """A table of the paper.

    Attributes:
        caption: what it is about.
        groups: its columns but the first.
        rows: by their heading, for each group a cell a column.
    """

    caption: str
    groups: list[Group]
    rows: dict[str, list[list[str]]]


def main(folders: list[str]) -> None:
    """Writes the report of the folders."""
    if not folders:
        raise ValueError("folders must name at least one folder of results; received none")
    paths = [pathlib.Path(folder) for folder in dict.fromkeys(folders)]
    transfers = [path for path in paths if (path / results.TRANSFER).exists()]
    runs = results.named([results.read(path) for path in paths if path not in transfers])
    path = pathlib.Path(FLAGS.output or paths[0] / "report.html")
    text = page(runs, FLAGS.num_images, [results.read_transfer(folder) for folder in transfers])
    with results.writing(path):
        path.write_text(text, encoding="utf-8")
    print(path)


def page(runs: Mapping[str, Finished], num_images: int | None = None, transfers: Sequence[dict[str, Any]] = ()) -> str:
    """The HTML file.

    Args:
        runs: by the name to show.
        num_images: as `gallery` takes it.
        transfers: what `eval.transfer` found.
    """
    script = (TEMPLATES / "report.js").read_text()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        runs=runs,
        tables=tables(runs) + [table for summary in transfers for table in transfer_tables(summary)],
        transfers=transfers,
        curves={name: drawn(plots.characteristic({name: finished.run})) for name, finished in runs.items()},
        planes={name: drawn(plots.plane({name: finished.run})) for name, finished in runs.items()},
        settings={name: settings(finished) for name, finished in runs.items()},
        gallery=gallery(runs, num_images),
        views=list(VIEWS),
        labels=plots.LABELS,
        style=Markup((TEMPLATES / "report.css").read_text()),
        script=Markup(script),
        # The browser runs this script and no other, whatever a name in the results may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def tables(runs: Mapping[str, Finished]) -> list[Table]:
    """Tables 1 and 2 of the paper: a table a dataset, a row an attack, a group of columns a run."""
    by_dataset = collections.defaultdict(list)
    for name, finished in runs.items():
        by_dataset[finished.dataset].append((name, finished))
    return [white_box_table(dataset, dict(group)) for dataset, group in by_dataset.items()]


def white_box_table(dataset: str, runs: Mapping[str, Finished]) -> Table:
    """P_suc, distortion and energy of every attack, what it costs, and what the paper has."""
    groups = []
    attacks = dict.fromkeys(attack for finished in runs.values() for attack in finished.run.attacks)
    rows: dict[str, list[list[str]]] = {attack: [] for attack in attacks}
    for name, finished in runs.items():
        run = finished.run
        paper = published.on(dataset, finished.model)
        parts = {
            "as computed": [P_SUC, "D", "E"],
            "in 8 bits": [P_SUC, "D", "E"],
            "an image": ["gradients", "ms"],
            **published_part(paper),
        }
        note = f"accuracy {run.accuracy:.3f}: {run.num_correct} of {run.num_images} images"
        groups.append(Group(name, note, parts))
        for attack, groups_of_cells in rows.items():
            groups_of_cells.append(white_box_cells(finished, attack) + published_cells(paper, attack))
    return Table(f"White-box attacks on {dataset}", groups, rows)


def white_box_cells(finished: Finished, attack: str) -> list[str]:
    """An attack's own numbers; dashes for an attack that the run does not have."""
    values: Mapping[str, float] = collections.defaultdict(lambda: math.nan)
    if attack in finished.run.attacks:
        values = results.attack_summary(finished.run, attack)
    return [
        number(values["p_suc"], 3),
        number(values["mean_distortion"], 2),
        number(values["smoothness_energy"], 3),
        number(values["p_suc_8bit"], 3),
        number(values["mean_distortion_8bit"], 2),
        number(values["smoothness_energy_8bit"], 3),
        number(values["gradients_per_image"], 0),
        number(1000 * values["seconds_per_image"], 0),
    ]


def transfer_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Table 3 of the paper for each source: a row an attack, a group of columns a network that judges."""
    dataset, tables = summary["dataset"], []
    for source, by_attack in summary["transfer"].items():
        groups = []
        rows: dict[str, list[list[str]]] = {attack: [] for attack in by_attack}
        for target, accuracy in summary["accuracy"].items():
            paper = published.transferred(dataset, source, target)
            parts = {"in 8 bits": [P_SUC, "D", P_SUC + "*"], **published_part(paper)}
            groups.append(Group(target, f"accuracy {accuracy:.3f}", parts))
            for attack, on_targets in by_attack.items():
                scores = on_targets[target]
                own = [("p_suc", 3), ("mean_distortion", 2), ("p_suc_correct", 3)]
                cells = [number(scores[key], digits) for key, digits in own]
                rows[attack].append(cells + published_cells(paper, attack))
        count = f"{summary['num_correct'][source]} of {summary['num_images']} images of {dataset}"
        tables.append(Table(f"Attacks on {source}, judged by each network: {count}", groups, rows))
    return tables


def published_part(paper: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of the paper's numbers, where it has any."""
    return {"paper": [P_SUC, "D"]} if paper else {}


def published_cells(paper: Mapping[str, tuple[float, float]], attack: str) -> list[str]:
    """The cells of those columns; dashes for an attack that the paper does not have."""
    return [number(value, 2) for value in paper.get(attack, (math.nan, math.nan))] if paper else []


def drawn(figure: plots.Figure) -> str:
    """A figure as the data URL of an SVG."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "figure.svg"
        plots.save(figure, path)
        return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def settings(finished: Finished) -> dict[str, str]:
    """What the run was made with, as text by name."""
    common: dict[str, Any] = {
        "folder": finished.folder,
        "images": finished.data,
        "settings": finished.settings,
        "levels": finished.levels,
    }
    return {
        **{name: str(value) for name, value in common.items() if value is not None},
        **{plots.LABELS.get(name, name): compact(values) for name, values in finished.attacks.items()},
    }


if __name__ == "__main__":
    console.run(main, takes_arguments=True)
