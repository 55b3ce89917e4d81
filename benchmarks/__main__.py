"""Speed of the smoothing and of the attacks, each number with what it is compared to, taken in turns in one run.

    python -m benchmarks                           all of it: some hours on two cores
    python -m benchmarks --only=solvers --rounds=9
    python -m benchmarks --network=net.keras --images=FOLDER      your own network and photographs

Writes NAME.json and NAME.md for each part, row by row, growth.png and curve.png, to --output.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import rich.console
import rich.table
from absl.flags import DEFINE_float, DEFINE_integer, DEFINE_list, DEFINE_string, FlagValues

from benchmarks import (
    adversarial_library,
    attacks,
    checks,
    curve,
    delivery,
    growth,
    masked,
    minimal,
    networks,
    optimality,
    peers,
    robustness,
    solvers,
    timing,
)
from models import console
from tf_smoothadv.evaluation.rendering import plots

PARTS = (
    "solvers",
    "attacks",
    "checks",
    "memory",
    "peers",
    "minimal",
    "grid",
    "delivery",
    "robustness",
    "optimality",
    "masked",
    "curve",
    "growth",
)
MEDIANS = "Medians; ratios with their quartiles over the rounds."
NOTES = {
    "minimal": "C4, clean; `_8bit` is as delivered. Rounding inside the attack, after it, or after scaling r.",
    "delivery": "`survive`: of the successes in floats, those that `sa.deliver` keeps; `factor`: of their distortion.",
    "robustness": "L2, by `Standard` and by AutoAttack's APGD-CE, APGD-T, FAB-T; gradients are those of an image.",
    "optimality": "Queries: forwards and backwards together, two a gradient. 1: the best of these rows on every image.",
    "masked": "C4, clean, with gradients that are hidden; robust accuracy at the epsilon, L2, by `Standard`.",
    "curve": "Delivered; what does not round inside is scaled before. Of other libraries the best of two settings.",
    "grid": "C4, clean, on the first digits: what was tried, the best of each attack first.",
}
NETWORKS = ("c4", "file", "inception_v3")
SHARED = pathlib.Path(__file__).parents[2] / "shared"
NETWORK = SHARED / "models" / "efficientnet_lite0.keras"
PHOTOGRAPHS = SHARED / "data" / "nips2017" / "images"

FLAGS = FlagValues()
DEFINE_list("only", list(PARTS), f"Of {', '.join(PARTS)}.", flag_values=FLAGS)
DEFINE_string("output", "benchmarks/results", "Folder for the tables and the figure.", flag_values=FLAGS)
DEFINE_string(
    "network",
    str(NETWORK) if NETWORK.exists() else None,
    "A Keras file: [0, 1] to logits, any size.",
    flag_values=FLAGS,
)
DEFINE_list(
    "networks",
    list(NETWORKS),
    f"Whom to attack, of {', '.join(NETWORKS)} (with random weights); file is --network.",
    flag_values=FLAGS,
)
DEFINE_string(
    "images",
    str(PHOTOGRAPHS) if PHOTOGRAPHS.exists() else None,
    "A folder of photographs; without one, noise with the spectrum of photographs.",
    flag_values=FLAGS,
)
DEFINE_list("sides", ["28", "224", "299", "512", "1024"], "Sides of the solvers' images, in pixels.", flag_values=FLAGS)
DEFINE_list("batches", ["1", "8", "32"], "Batches of the solvers.", flag_values=FLAGS)
DEFINE_integer("rounds", 5, "How often each function has its turn.", lower_bound=1, flag_values=FLAGS)
DEFINE_float(
    "limit", 3.0, "Seconds a call: a solver that would take longer is left out.", lower_bound=0.0, flag_values=FLAGS
)
DEFINE_integer("batch_size", 8, "Photographs attacked at once.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer("photographs", 24, "Photographs for --only=delivery,robustness,curve.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer("digits", 200, "Digits attacked at once.", lower_bound=1, flag_values=FLAGS)
DEFINE_list(
    "budgets",
    ["5", "10", "15", "25", "40", "60", "100", "250", "1000"],
    "Gradients of --only=curve.",
    flag_values=FLAGS,
)
DEFINE_integer("slow_digits", 20, "Digits for the slowest attack of another library.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer(
    "slow_photographs",
    4,
    "Photographs for it, which takes gigabytes for each of 1,000 classes; 0 leaves it out.",
    lower_bound=0,
    flag_values=FLAGS,
)
DEFINE_string(
    "data",
    None,
    "MNIST's npz file for --only=minimal,delivery,robustness,optimality,masked,curve; else the 200 digits that ship.",
    flag_values=FLAGS,
)
DEFINE_string(
    "records",
    "results/minimal",
    "Folder of the records of minimal, grid, robustness, optimality and curve, which go on from them.",
    flag_values=FLAGS,
)
DEFINE_integer(
    "peer_steps", 50, "Steps, for each constant, where success and distortion are compared.", flag_values=FLAGS
)


def main() -> None:
    """Runs the parts that the flags name."""
    for flag, known in (("only", PARTS), ("networks", NETWORKS)):
        for name in FLAGS[flag].value:
            if name not in known:
                raise ValueError(f"--{flag} must be of {', '.join(known)}; received {name}")
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
        "solvers": lambda: solvers.run(
            FLAGS.images,
            [int(side) for side in FLAGS.sides],
            [int(size) for size in FLAGS.batches],
            FLAGS.rounds,
            FLAGS.limit,
        ),
        "attacks": lambda: attacks.run(problems(), FLAGS.rounds),
        "checks": lambda: checks.run(problems(), FLAGS.rounds),
        "memory": lambda: ({"network": name, **attacks.memory(make)} for name, make in problems().items()),
        "peers": lambda: peers.run(networks.c4(FLAGS.digits), FLAGS.slow_digits, FLAGS.peer_steps, FLAGS.rounds),
        "minimal": lambda: minimal.run(FLAGS.data, FLAGS.digits, pathlib.Path(FLAGS.records)),
        "grid": lambda: minimal.run(FLAGS.data, minimal.GRID, pathlib.Path(FLAGS.records), grid=True),
        "delivery": lambda: delivery.run(deliveries(), FLAGS.peer_steps),
        "robustness": lambda: robustness.run(evaluated(), pathlib.Path(FLAGS.records)),
        "optimality": lambda: optimality.run(FLAGS.data, FLAGS.digits, pathlib.Path(FLAGS.records)),
        "masked": lambda: masked.run(FLAGS.data, FLAGS.digits),
        "curve": lambda: curve.run(evaluated(), [int(one) for one in FLAGS.budgets], pathlib.Path(FLAGS.records)),
        "growth": lambda: growth.run(FLAGS.network, FLAGS.images, FLAGS.rounds),
    }
    terminal = rich.console.Console(highlight=False, width=120)
    for part in FLAGS.only:
        if part == "growth" and FLAGS.network is None:
            terminal.print("growth: left out, it needs --network")
            continue
        if part == "robustness" and not adversarial_library.available():
            terminal.print("robustness: left out, it needs torch, adv-lib and pyautoattack")
            continue
        if part in ("peers", "minimal", "grid", "optimality", "curve") and not adversarial_library.available():
            terminal.print(f"{part}: the rows of adversarial-library are left out, they need torch and adv-lib")
        rows = []
        for row in parts[part]():
            rows.append(row)
            report = {"machine": timing.machine(), "flags": settings(), "rows": rows}
            (folder / f"{part}.json").write_text(json.dumps(report, indent=1) + "\n")
            (folder / f"{part}.md").write_text(markdown(part, report))
        drawn = {"growth": plots.growth, "curve": curve.figure}
        if part in drawn:
            plots.save(drawn[part](rows), folder / f"{part}.png")
        terminal.print(table(part, rows))
    terminal.print(f"tables are in {folder}")


def problems() -> dict[str, Callable[[], networks.Problem]]:
    """The networks of the attacks' part, not yet loaded."""
    made: dict[str, Callable[[], networks.Problem]] = {}
    if "c4" in FLAGS.networks:
        made["C4"] = functools.partial(networks.c4, FLAGS.digits)
    if "file" in FLAGS.networks and FLAGS.network is not None:
        name = pathlib.Path(FLAGS.network).stem
        made[name] = functools.partial(networks.saved, FLAGS.network, FLAGS.images, FLAGS.batch_size)
    if "inception_v3" in FLAGS.networks:
        made["InceptionV3, random weights"] = functools.partial(networks.inception_v3, FLAGS.images, FLAGS.batch_size)
    return made


def deliveries() -> dict[str, delivery.Case]:
    """The networks whose adversarial images are delivered."""
    made: dict[str, delivery.Case] = {}
    if "c4" in FLAGS.networks:
        made["C4"] = delivery.Case(networks.c4(FLAGS.digits, FLAGS.data), peers.DIGITS, FLAGS.digits, FLAGS.slow_digits)
    if "file" in FLAGS.networks and FLAGS.network is not None:
        problem = networks.saved(FLAGS.network, FLAGS.images, FLAGS.photographs)
        name, size = pathlib.Path(FLAGS.network).stem, FLAGS.batch_size
        made[name] = delivery.Case(problem, peers.PHOTOGRAPHS, size, FLAGS.slow_photographs)
    return made


def evaluated() -> dict[str, Callable[[], robustness.Case]]:
    """The networks whose robust accuracy is measured."""
    made: dict[str, Callable[[], robustness.Case]] = {}
    if "c4" in FLAGS.networks:
        made |= robustness.digits(FLAGS.digits, FLAGS.data)
    if "file" in FLAGS.networks and FLAGS.network is not None:
        problem = functools.partial(networks.saved, FLAGS.network, FLAGS.images, FLAGS.photographs)
        name, size = pathlib.Path(FLAGS.network).stem, FLAGS.batch_size
        made[name] = lambda: robustness.Case(problem(), robustness.PHOTOGRAPHS, size)
    return made


def settings() -> dict[str, Any]:
    """What the flags of this file say."""
    names = ("sides", "batches", "rounds", "limit", "batch_size", "digits", "photographs", "slow_digits", "peer_steps")
    files = {
        name: pathlib.Path(FLAGS[name].value).name if FLAGS[name].value else None for name in ("network", "images")
    }
    return {**{name: FLAGS[name].value for name in names}, **files}


def text(value: Any) -> str:
    """A cell of a table."""
    if isinstance(value, dict):
        return f"{value['median']:.3g} ({value['low']:.3g} to {value['high']:.3g})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def table(title: str, rows: list[dict[str, Any]]) -> rich.table.Table:
    """The rows for the terminal."""
    result = rich.table.Table(title=title)
    for heading in rows[0]:
        result.add_column(heading.replace("_", " "))
    for row in rows:
        result.add_row(*map(text, row.values()))
    return result


def markdown(part: str, report: dict[str, Any]) -> str:
    """The rows as Markdown, under what they were taken on."""
    rows = report["rows"]
    lines = [
        f"# {part}",
        "",
        f"`python -m benchmarks --only={part}`, "
        + ", ".join(f"{key} {value}" for key, value in report["machine"].items())
        + f". {NOTES.get(part, MEDIANS)}",
        "",
        "| " + " | ".join(heading.replace("_", " ") for heading in rows[0]) + " |",
        "|" + "---|" * len(rows[0]),
    ]
    return "\n".join(lines + ["| " + " | ".join(map(text, row.values())) + " |" for row in rows]) + "\n"


if __name__ == "__main__":
    console.run(main, FLAGS)
