"""Evaluations by Apache Beam are those of one process, whatever happens to the processes on the way."""

from __future__ import annotations

import collections
import functools
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures
from unittest import mock

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

pytest.importorskip("apache_beam")

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.metrics.cells import DistributionData, DistributionResult
from apache_beam.metrics.execution import MetricKey, MetricResult
from apache_beam.metrics.metricbase import MetricName
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from benchmarks import beam as planning
from models import c4
from tests.many_runs import here
from tf_smoothadv import protocol
from tf_smoothadv.evaluation import beam, data, outputs, records, referee, run, transfer
from tf_smoothadv.evaluation.beam import Where, files, pipeline, plan, processes, tasks, work
from tf_smoothadv.evaluation.config import Config

ROOT = pathlib.Path(__file__).parents[1]
SCHEME = "far"


class Far(LocalFileSystem):
    """A filesystem of Beam's that is not local: far://PATH is the file PATH. Like S3's it needs Beam's options."""

    def __init__(self, pipeline_options):
        if pipeline_options is None:
            raise ValueError("must provide options")
        super().__init__(pipeline_options)

    @classmethod
    def scheme(cls):
        return SCHEME

    def join(self, base, *paths):
        return "/".join([base, *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        super().mkdirs(near(path))

    def _list(self, folder):
        for one in super()._list(near(folder)):
            yield FileMetadata(far(one.path), one.size_in_bytes, one.last_updated_in_seconds)

    def create(self, path, *rest, **more):
        os.makedirs(os.path.dirname(near(path)), exist_ok=True)
        return super().create(near(path), *rest, **more)

    def open(self, path, *rest, **more):
        return super().open(near(path), *rest, **more)

    def rename(self, sources, targets):
        super().rename([*map(near, sources)], [*map(near, targets)])

    def exists(self, path):
        return super().exists(near(path))

    def delete(self, paths):
        super().delete([*map(near, paths)])


def network():
    """C4, for processes that are to import this file, and with it `Far`."""
    return {"c4": c4()}


def networks():
    """C4 with both weights."""
    return {"c4": c4(), "c4_adversarial": c4("adversarial")}


def far(path) -> str:
    return f"{SCHEME}://{path}"


def near(path: str) -> str:
    return path.removeprefix(f"{SCHEME}://")


class Faulty:
    """C4 on grey values of RGB images; it fails on three images, and ends its process at the first batch of four.

    Args:
        folder: where a file "sound" makes it as good as C4, and where it remembers that it has ended its process.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._network, self._folder = c4(), folder
        self.weights = self._network.weights

    def __call__(self, images):
        if not (self._folder / "sound").exists():
            worker = multiprocessing.parent_process() is not None and tf.executing_eagerly()
            if worker and images.shape[0] == 4 and not (self._folder / "ended").exists():
                (self._folder / "ended").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            tf.debugging.Assert(tf.shape(images)[0] != 3, ["three images are too many"])
        return self._network(images[..., :1])


def faulty(folder):
    return {"c4": Faulty(folder)}


def untimed(folder: pathlib.Path) -> list[dict]:
    """The records, but for what a clock says."""
    lines = map(json.loads, (folder / records.RECORDS).read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def pictures(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.png"))}


def digits_in_folders(root: pathlib.Path, count: int) -> None:
    """The first digits that ship, in a folder for each class; the first of them in that of another class."""
    root.mkdir()
    (root / "classes.txt").write_text("\n".join(map(str, range(10))))
    for index, (images, labels) in enumerate(data.load("mnist", None, count, 1)):
        label = (int(labels[0]) + (index == 0)) % 10
        (root / str(label)).mkdir(exist_ok=True)
        pixels = np.round(images[0, :, :, 0].numpy() * 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).convert("RGB").save(root / str(label) / f"{index:03d}.png")


def test_records_images_and_figures_are_those_of_one_process(tmp_path):
    settings = {"model": "c4", "num_images": 12, "batch_size": 8, "attacks": ("ddn", "fmn"), "gradients": 5}
    settings |= {"save_images": True}
    one, many = tmp_path / "one", tmp_path / "many"
    run.white_box(c4(), Config(**settings, output=one))
    made = beam.white_box(network, Config(**settings, output=many), Where(workers=1, store=far(tmp_path / "store")))
    assert len(made.records) == 24
    assert untimed(many) == untimed(one)
    assert pictures(many) == pictures(one)  # of images/, and the figures
    assert records.settings_of(many) == records.settings_of(one)
    assert not list((tmp_path / "store").rglob(f"*{files.PART}*"))

    # Given again, it makes nothing.
    lines = (many / records.RECORDS).read_bytes()
    process_bound = lambda: {"c4": c4()}  # noqa: E731 (that no worker can be given)
    beam.white_box(process_bound, Config(**settings, output=many), Where(store=far(tmp_path / "store")))
    assert (many / records.RECORDS).read_bytes() == lines


@pytest.mark.slow
def test_transfer_is_that_of_one_process(tmp_path):
    settings = {"num_images": 12, "batch_size": 8, "attacks": ("fmn",), "gradients": 5, "save_images": True}
    one, many, sources = tmp_path / "one", tmp_path / "many", ("c4", "c4_adversarial")
    transfer.evaluate(networks(), sources, Config(**settings, output=one))
    beam.transfer(networks, sources, Config(**settings, output=many), Where(workers=1))
    assert (many / records.TRANSFER).read_bytes() == (one / records.TRANSFER).read_bytes()
    assert untimed(many) == untimed(one)
    assert pictures(many) == pictures(one)
    assert records.settings_of(many) == records.settings_of(one)


@pytest.mark.slow
def test_a_referee_is_that_of_one_process_with_curves_beside(tmp_path, rng):
    images, _ = next(iter(data.load("mnist", None, 12, 12)))
    noise = rng.normal(0, 0.1, images.shape).astype(np.float32)
    np.savez(tmp_path / "noise.npz", images=np.clip(images + noise, 0, 1)[3:9], indices=np.arange(3, 9))
    (tmp_path / "dark").mkdir()
    for name, image in zip(("00001", "00004", "00007"), images[1::3].numpy()):
        PIL.Image.fromarray((0.5 * 255 * image[..., 0]).astype(np.uint8)).save(tmp_path / "dark" / f"{name}.png")
    paths = [tmp_path / "noise.npz", tmp_path / "dark"]
    for shard in ((1, 1), (2, 2)):
        one, many, board = (tmp_path / f"{name}{shard[0]}" for name in ("one", "many", "board"))
        settings = {"model": "c4", "num_images": 12, "batch_size": 4, "shard": shard}
        referee.referee(c4(), Config(**settings, output=one), paths)
        made = beam.referee(
            network, Config(**settings, output=many, tensorboard=str(board)), paths, Where(workers=1, threads=2)
        )
        assert {record.attack for record in made.records} == {"noise", "dark"}
        assert untimed(many) == untimed(one)
        assert (many / records.SUMMARY).read_bytes() == (one / records.SUMMARY).read_bytes()
        events = [event for path in board.glob("events*") for event in tf.compat.v1.train.summary_iterator(str(path))]
        tags = {value.tag for event in events for value in event.summary.value}
        assert {"noise/success", "dark/success"} <= tags


@pytest.mark.slow
def test_what_cannot_be_attacked_stops_nothing_and_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(outputs.plots, "save", lambda figure, path: None)  # to save time
    root, output, load = tmp_path / "images", tmp_path / "output", functools.partial(faulty, tmp_path)
    digits_in_folders(root, 13)
    settings = {"dataset": "folder", "image_size": 28, "batch_size": 4, "attacks": ("fmn",), "gradients": 5}
    names = data.load("folder", str(root), image_size=28).names
    content = (root / names[12]).read_bytes()
    (root / names[12]).write_bytes(b"no image")

    config = Config(**settings, data=far(root), output=output)
    beam.white_box(load, config, Where(workers=1))
    letters = [json.loads(line) for line in (output / "dead_letters.jsonl").read_text().splitlines()]
    unread = [letter for letter in letters if letter["attack"] is None]
    assert [(letter["image"], letter["index"]) for letter in unread] == [(names[12], 12)]
    assert "cannot identify image file" in unread[0]["reason"]
    unattacked = [letter for letter in letters if letter["attack"] == "fmn"]
    assert len(unattacked) == 3
    assert all("three images are too many" in letter["reason"] for letter in unattacked)
    summary = json.loads((output / records.SUMMARY).read_text())
    assert summary["dead_letters"] == {"fmn": 3, "images": 1}
    assert (summary["num_images"], summary["num_correct"]) == (12, 11)
    assert "3 of fmn" in capsys.readouterr().out
    assert (tmp_path / "ended").exists()  # and the batch was made by another process
    made = untimed(output)
    assert len(made) == 8
    assert {record["index"] for record in made}.isdisjoint(letter["index"] for letter in letters)

    # Once nothing is wrong any more, the same command makes what is missing, and nothing else.
    (tmp_path / "sound").touch()
    (root / names[12]).write_bytes(content)
    beam.white_box(load, config, Where(workers=1))
    assert not (output / "dead_letters.jsonl").exists()
    assert untimed(output)[:8] == made
    run.white_box(load()["c4"], Config(**settings, data=str(root), output=tmp_path / "one"))
    assert untimed(output) == untimed(tmp_path / "one")


@pytest.mark.parametrize("own", [False, True])
def test_batches_are_those_that_one_process_attacks(rng, own):
    shapes = [(4, 4 + int(size), 1) if own else (4, 4, 1) for size in np.sort(rng.integers(0, 3, 40))]
    images = [tf.fill(shape, float(value)) for shape, value in zip(shapes, rng.random(40))]
    names, labels = [str(index) for index in range(40)], [0] * 40

    def model(batch):  # class 0 where an image is bright
        mean = tf.reduce_mean(batch, axis=[1, 2, 3])
        return tf.stack([mean, 0.4 - 0 * mean], axis=1)

    dataset = data.Dataset(names, labels, images, 6, "", own=own)
    expected = [originals.indices.tolist() for originals in protocol.CorrectImages(model, dataset)]
    seen = [
        plan.Seen(plan.Picture(index, names[index], 0, None, ""), shapes[index], bool(tf.reduce_mean(image) > 0.4))
        for index, image in enumerate(images)
    ]
    random.Random(0).shuffle(seen)
    batches = plan.batches(seen, 6, ["a", "b"])
    for attack in ("a", "b"):
        assert [[one.index for one in batch.pictures] for batch in batches if batch.attack == attack] == expected
    assert len({batch.path for batch in batches}) == len(batches)


@pytest.mark.parametrize(("attacks", "traced"), [("abcdef", 6), ("a", 2)])
def test_processes_share_out_attacks_before_batches(attacks, traced, monkeypatch):
    made = []

    class Process:
        def __init__(self, *_):
            self.attacks = set()
            self.starting = threading.Lock()

        def start(self, *_):
            pass

        def done(self, batch):
            made.append((self, batch))
            time.sleep(0.1)  # far longer than a busy machine takes to begin all threads
            return work.Done(batch, [])

    monkeypatch.setattr(processes, "_Process", Process)
    both = processes.Processes(None, 1, 2)
    both.job = mock.Mock(task=tasks.Attacking("", {}, None))
    seen = [plan.Seen(plan.Picture(index, "", 0, None, ""), (1, 1, 1), True) for index in range(8)]
    batches = plan.batches(seen, 2, list(attacks))
    with futures.ThreadPoolExecutor(len(batches)) as threads:
        assert [one.batch for one in threads.map(both.done, batches)] == batches
    assert len({(process, batch.attack) for process, batch in made}) == traced
    counts = collections.Counter(process for process, _ in made)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_file_is_whole_or_not_there(tmp_path):
    path = str(tmp_path / "folder" / "file")
    files.write(path, b"first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as a full disk
    try:
        with pytest.raises(OSError, match=r"cannot write .*file: File too large; make room there"):
            files.write(path, b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files.names(str(tmp_path)) == {"folder/file"}
    assert files.read(path) == b"first"


POOL = """
import threading, tests.test_beam
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
address, server = BeamFnExternalWorkerPoolServicer.start()
print(address, flush=True)
threading.Event().wait()
"""


@pytest.mark.slow
def test_a_runner_with_a_job_service_and_workers_of_its_own(tmp_path):
    """As Flink's and Spark's; nobody there has told the filesystems Beam's flags."""
    settings = {"num_images": 12, "batch_size": 8, "attacks": ("ddn", "fmn"), "gradients": 5}
    one, many = tmp_path / "one", tmp_path / "many"
    run.white_box(c4(), Config(**settings, output=one))
    service = LocalJobServicer(str(tmp_path / "staging"))
    pool = subprocess.Popen([sys.executable, "-c", POOL], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        flags = {"job_endpoint": f"localhost:{service.start_grpc_server()}", "environment_type": "EXTERNAL"}
        flags["environment_config"] = pool.stdout.readline().strip()
        arguments = tuple(f"--{name}={value}" for name, value in flags.items())
        where = Where("PortableRunner", store=far(tmp_path / "store"), arguments=arguments)
        beam.white_box(network, Config(**settings, output=many), where)
    finally:
        pool.kill()
        pool.communicate()
        service.stop()
    assert untimed(many) == untimed(one)
    told = json.loads((many / "pipeline.json").read_text())
    assert told["gradients"] == sum(record["gradients"] for record in untimed(one))
    assert (told["classified_images"], told["fmn_images"], told["process_bytes"]["count"]) == (12, 12, 6)


def test_metrics_of_several_steps_are_taken_together():
    def results(**committed) -> list:
        return [
            MetricResult(MetricKey(step, MetricName("n", name)), *2 * [value])
            for name, values in committed.items()
            for step, value in enumerate(values)
        ]

    sizes = [DistributionResult(DistributionData(*values)) for values in ((12, 3, 1, 7), (8, 1, 8, 8))]
    counters = results(gradients=[0, 720], failures=[2])
    assert pipeline._values({"counters": counters, "distributions": results(bytes=sizes)}) == {
        "bytes": {"count": 4, "mean": 5.0, "min": 1, "max": 8},
        "failures": 2,
        "gradients": 720,
    }


def test_the_calculation_for_many_workers():
    row = {"network": "net", "attacks": 1, "s_per_image": 3.6, "start_s": 36.0, "trace_s": 3.6}
    row |= {"driver_ms": 0.0, "driver_bytes": 4000, "record_bytes": 1000}
    one, *_, many = planning.planned(row)
    assert (one["workers"], many["workers"]) == (1, 1000)
    assert one["attacking_h"] == pytest.approx(3 * 50_000 * 10 / 1000)  # 3.6 s are a thousandth of an hour
    assert many["attacking_h"] == pytest.approx(one["attacking_h"] / 1000)
    for planned in (one, many):
        parts = [planned[f"{name}_h"] for name in ("attacking", "starting", "waiting", "collecting")]
        assert planned["whole_h"] == pytest.approx(sum(parts))
        assert planned["starting_h"] == pytest.approx(3 * 72 / 3600)  # ten attacks are traced
        assert planned["collecting_h"] == pytest.approx(3 * 62_500 * 0.05 / 16 / 3600)
        assert planned["busy"] == pytest.approx(planned["attacking_h"] / planned["whole_h"])
        assert (planned["records_GB"], planned["driver_GB"]) == (1.5, 2.0)


RUN = ("--num_images=100", "--batch_size=2", "--attacks=ddn,fmn", "--gradients=20")


def eval_beam(output: pathlib.Path, arguments=RUN, **more) -> subprocess.Popen:
    command = [sys.executable, "-m", "eval.beam", f"--output={output}", "--workers=2", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)


def ended(driver: subprocess.Popen) -> tuple[int, str]:
    """The status, and the last line on stderr."""
    _, errors = driver.communicate()
    return driver.returncode, errors.splitlines()[-1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert here("eval.white_box", *RUN, f"--output={folder}").status == 0
    return folder


def workers_of(driver: int) -> list[int]:
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == driver and "spawn_main" in (process / "cmdline").read_text():
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


def shards(output: pathlib.Path) -> int:
    return len(list(output.glob("shards/*/[a-z]*/*.jsonl")))


@pytest.mark.slow
def test_twenty_workers_are_killed(tmp_path, undisturbed):
    log, chance, killed = tmp_path / "log", random.Random(0), 0
    with open(log, "w") as stderr:
        command = [sys.executable, "-m", "eval.beam", f"--output={tmp_path / 'run'}", "--workers=2", *RUN]
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr)
        while driver.poll() is None and killed < 20:
            time.sleep(chance.uniform(0, 0.5))
            workers = workers_of(driver.pid)
            if workers and shards(tmp_path / "run") >= 3 * killed + 1:  # in the middle of the work
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed += 1
        driver.wait()
    assert (driver.returncode, killed) == (0, 20), log.read_text()
    assert untimed(tmp_path / "run") == untimed(undisturbed)
    assert not (tmp_path / "run" / "dead_letters.jsonl").exists()


@pytest.mark.slow
def test_five_pipelines_are_killed(tmp_path, undisturbed):
    counts = [0]
    for _ in range(5):
        driver = eval_beam(tmp_path)
        while driver.poll() is None and shards(tmp_path) < counts[-1] + 8:
            time.sleep(0.05)
        workers = workers_of(driver.pid)
        driver.kill()
        driver.communicate()
        deadline = time.monotonic() + 10
        while any(pathlib.Path(f"/proc/{worker}").exists() for worker in workers):  # they end with their driver
            assert time.monotonic() < deadline
            time.sleep(0.05)
        counts.append(shards(tmp_path))
    assert counts == sorted(set(counts))  # each went on
    assert counts[-1] < 100
    assert ended(eval_beam(tmp_path))[0] == 0
    assert untimed(tmp_path) == untimed(undisturbed)
    assert not list(tmp_path.rglob(f"*{files.PART}*"))


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path):
    run_of_four = ("--num_images=60", "--batch_size=20", "--attacks=ddn,fmn,bp,alma", "--gradients=20")
    assert here("eval.white_box", *run_of_four, f"--output={tmp_path / 'one'}").status == 0
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (90_000, resource.RLIM_INFINITY))
    status, told = ended(eval_beam(tmp_path / "many", run_of_four, preexec_fn=limit))
    assert status == 2
    assert re.match(r"error: cannot write \S+: File too large; make room there", told)
    assert shards(tmp_path / "many") == 12
    assert ended(eval_beam(tmp_path / "many", run_of_four))[0] == 0
    assert untimed(tmp_path / "many") == untimed(tmp_path / "one")
