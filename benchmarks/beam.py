"""Speed of eval.beam against eval.white_box of one thread, and what that comes to on many machines.

    python -m benchmarks.beam                        both, on C4 and on --network: leave the machine alone meanwhile
    python -m benchmarks.beam --only=plan            the calculation alone, from what was measured before

Writes beam.json, beam.md and beam_plan.md to --output. A command is timed as a whole, from its start to its figures.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import rich.console
from absl.flags import DEFINE_integer, DEFINE_list, DEFINE_string, FlagValues

from benchmarks import timing
from benchmarks.__main__ import NETWORK, PHOTOGRAPHS, markdown, table
from models import console
from tf_smoothadv import metrics
from tf_smoothadv.evaluation import presets, records
from tf_smoothadv.evaluation.beam import collecting, pipeline, starting

PARTS = ("compare", "plan")
CASES = ("c4", "file")
IMAGES, NETWORKS, ATTACKS, BATCH = 50_000, 3, 10, 8  # of the calculation
WORKERS = (1, 10, 100, 1000)
LATENCY = 0.05  # seconds to read a small file from an object store, an assumption
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

FLAGS = FlagValues()
DEFINE_list("only", list(PARTS), f"Of {', '.join(PARTS)}.", flag_values=FLAGS)
DEFINE_list("cases", list(CASES), f"Of {', '.join(CASES)}; file is --network.", flag_values=FLAGS)
DEFINE_string("output", "benchmarks/results", "Folder for the tables.", flag_values=FLAGS)
DEFINE_string("network", str(NETWORK), "A Keras file for photographs.", flag_values=FLAGS)
DEFINE_string("images", str(PHOTOGRAPHS.parent), "A folder of nips2017.", flag_values=FLAGS)
DEFINE_integer("digits", 200, "Digits for C4.", lower_bound=8, flag_values=FLAGS)
DEFINE_integer("photographs", 24, "Photographs for --network.", lower_bound=8, flag_values=FLAGS)


def main() -> None:
    """Measures, calculates, and writes the tables."""
    for flag, known in (("only", PARTS), ("cases", CASES)):
        for name in FLAGS[flag].value:
            if name not in known:
                raise ValueError(f"--{flag} must be of {', '.join(known)}; received {name}")
    folder, terminal = records.output_folder(FLAGS.output), rich.console.Console(highlight=False, width=160)
    if "compare" in FLAGS.only:
        rows = []
        for case in FLAGS.cases:
            rows.append(compared(case))
            report = {"machine": timing.machine(), "rows": rows}
            (folder / "beam.json").write_text(json.dumps(report, indent=1) + "\n")
            (folder / "beam.md").write_text(markdown("beam", report).replace("-m benchmarks --only=beam", COMMAND))
        terminal.print(table("compare", rows))
    if "plan" in FLAGS.only:
        report = json.loads((folder / "beam.json").read_text())
        rows = [row for measured in report["rows"] for row in planned(measured)]
        text = markdown("beam_plan", {"machine": report["machine"], "rows": rows})
        (folder / "beam_plan.md").write_text(text.replace("-m benchmarks --only=beam_plan", f"{COMMAND} --only=plan"))
        terminal.print(table("plan", rows))


COMMAND = "-m benchmarks.beam"


def compared(case: str) -> dict[str, Any]:
    """A run by one process, and by pipelines of one and two workers, all of one thread each."""
    arguments, count, attacks = arguments_of(case)
    with tempfile.TemporaryDirectory() as root:
        folder = pathlib.Path(root)
        alone = timed("white_box", folder / "alone", arguments)
        one = timed("beam", folder / "one", [*arguments, "--workers=1"])
        two = timed("beam", folder / "two", [*arguments, "--workers=2"])
        kept = {name: untimed(folder / name) for name in ("alone", "one", "two")}
        told, of_two = (json.loads((folder / name / starting.METRICS).read_text()) for name in ("one", "two"))
        spent = {name: told[f"{name}_milliseconds"] for name in attacks}
        busy = sum(times["count"] * times["mean"] for times in spent.values()) / 1000
        made = count * len(attacks)
        return {
            "network": "C4" if case == "c4" else pathlib.Path(FLAGS.network).stem,
            "images": count,
            "attacks": len(attacks),
            "equal_records": str(kept["alone"] == kept["one"] == kept["two"]),
            "white_box_s": alone,
            "beam_1_s": one,
            "beam_2_s": two,
            "overhead": one / alone - 1,
            "speed_up": one / two,
            "attacking_1_s": attacking(told),
            "attacking_2_s": attacking(of_two),
            "attacking_speed_up": attacking(told) / attacking(of_two),
            "start_s": one - busy,
            "trace_s": sum(times["max"] - times["min"] for times in spent.values()) / 1000,
            "s_per_image": busy / made,
            "images_per_hour_and_core": 3600 * made / busy,
            "worker_MB": told["process_bytes"]["max"] / 1e6,
            "record_bytes": (folder / "one" / records.RECORDS).stat().st_size / made,
            **of_driver(folder / "one", made),
        }


def arguments_of(case: str) -> tuple[list[str], int, Sequence[str]]:
    """The flags of both binaries, how many images, and which attacks."""
    if case == "c4":
        return [f"--num_images={FLAGS.digits}", f"--batch_size={FLAGS.digits // 4}"], FLAGS.digits, presets.ATTACKS
    images = ["--dataset=nips2017", f"--data={FLAGS.images}", f"--num_images={FLAGS.photographs}", "--image_size=299"]
    network = [f"--model={FLAGS.network}", "--labels=predicted", "--novisibility", "--batch_size=4"]
    return [*images, *network, "--attacks=fmn"], FLAGS.photographs, ["fmn"]


def timed(binary: str, output: pathlib.Path, arguments: Sequence[str]) -> float:
    """Seconds of a command."""
    began = time.perf_counter()
    command = [sys.executable, "-m", f"eval.{binary}", *arguments, f"--output={output}"]
    finished = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise ValueError(f"{' '.join(command)}: {finished.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - began


def attacking(told: dict[str, Any]) -> float:
    """Seconds from the begin of the first batch of an attack to the end of the last one."""
    return float(told[pipeline.ENDED]["max"] - told[pipeline.BEGAN]["min"]) / 1000


def untimed(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The records, but for what a clock says."""
    lines = map(json.loads, (folder / records.RECORDS).read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def of_driver(folder: pathlib.Path, made: int) -> dict[str, float]:
    """What a record costs the process that collects them: memory, and seconds without those of reading its file."""
    tracemalloc.start()
    kept = records.read_all(folder, metrics.Record, records.KEY)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    began = time.perf_counter()
    for one in records.read_all(folder, metrics.Record, records.KEY):
        records.line(one)
    return {"driver_bytes": size / len(kept), "driver_ms": 1000 * (time.perf_counter() - began) / made}


def planned(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """IMAGES under ATTACKS on NETWORKS such networks, by so many one-thread workers, one network after the other.

    Every process of a network starts and traces each attack once; batches of BATCH images go to who is free, so that at
    the end a worker waits for half a batch in the mean; the driver collects one file a batch and attack.
    """
    made = IMAGES * ATTACKS
    for workers in WORKERS:
        attacking = made * row["s_per_image"] / workers
        starting = row["start_s"] + row["trace_s"] * ATTACKS / row["attacks"]
        waiting = BATCH * row["s_per_image"] / 2
        reading = made * row["driver_ms"] / 1000 + made / BATCH * LATENCY / collecting.READERS
        whole = attacking + starting + waiting + reading
        yield {
            "network": row["network"],
            "workers": workers,
            "attacking_h": NETWORKS * attacking / 3600,
            "starting_h": NETWORKS * starting / 3600,
            "waiting_h": NETWORKS * waiting / 3600,
            "collecting_h": NETWORKS * reading / 3600,
            "whole_h": NETWORKS * whole / 3600,
            "busy": attacking / whole,
            "records_GB": NETWORKS * made * row["record_bytes"] / 1e9,
            "driver_GB": made * row["driver_bytes"] / 1e9,
        }


if __name__ == "__main__":
    console.run(main, FLAGS)
