"""The pipeline: images are classified, those that count are put into batches anew, and these are attacked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.metrics.execution import MetricResult
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from tf_smoothadv.evaluation.beam import files, plan
from tf_smoothadv.evaluation.beam.handler import NAMESPACE, AttackHandler
from tf_smoothadv.evaluation.beam.work import Done, Job

__all__ = ["BEGAN", "ENDED", "FAILED", "TODO", "run"]

TODO = "todo.json"
FAILED = ".failed"
BEGAN, ENDED = "attacks_began", "attacks_ended"  # milliseconds since 1970


def run(handler: AttackHandler, job: Job, options: PipelineOptions) -> dict[str, Any]:
    """Runs the pipeline, and waits for its end.

    Args:
        handler: which does the batches.
        job: what the handler's processes do; its folder of shards has a file TODO, of `plan.Todo`.
        options: Beam's own.

    Returns:
        Beam's metrics of it, see `_counted`, plain values by name.
    """
    pipeline = beam.Pipeline(options=options)
    classified = (
        pipeline | "job" >> beam.Create([job]) | "chunks" >> beam.FlatMap(_chunks) | "classify" >> _Doing(handler)
    )
    attacked = (
        classified
        | "together" >> beam.Map(lambda done: (0, done.seen))
        | "all images" >> beam.GroupByKey()
        | "batches" >> beam.FlatMap(_batches, job)
        | "attack" >> _Doing(handler)
    )
    (classified, attacked) | beam.Flatten() | "dead letters" >> beam.Map(_keep_failures, job)
    result = pipeline.run()
    result.wait_until_finish()
    return _values(result.metrics().query(MetricsFilter().with_namespace(NAMESPACE)))


def _values(found: Mapping[str, Iterable[MetricResult]]) -> dict[str, Any]:
    """Metrics by name, those of one name from several steps of the pipeline together."""
    values: dict[str, Any] = {}
    for counter in found["counters"]:
        name = counter.key.metric.name
        values[name] = values.get(name, 0) + counter.committed
    for distribution in found["distributions"]:
        name, one = distribution.key.metric.name, distribution.committed
        other = values.get(name, {"count": 0, "mean": 0.0, "min": one.min, "max": one.max})
        count = other["count"] + one.count
        mean = (other["count"] * other["mean"] + one.sum) / max(count, 1)
        values[name] = {
            "count": count,
            "mean": mean,
            "min": min(other["min"], one.min),
            "max": max(other["max"], one.max),
        }
    return dict(sorted(values.items()))


class _Doing(beam.PTransform):
    """From batches to what became of each, as Beam spreads them over its workers."""

    def __init__(self, handler: AttackHandler) -> None:
        super().__init__()
        self._handler = handler

    def expand(self, batches: Any) -> Any:
        return (
            batches
            | "keyed" >> beam.Map(lambda batch: (batch.path, batch))
            | "spread" >> beam.GroupByKey()
            | "each" >> beam.FlatMap(lambda row: [(row[0], batch) for batch in row[1]])
            | "do" >> RunInference(KeyedModelHandler(self._handler))
            | "counted" >> beam.Map(_counted)
        )


def _todo(job: Job) -> plan.Todo:
    files.use(job.reading.arguments)
    return plan.Todo.parsed(files.read(files.joined(job.shards, TODO)))


def _chunks(job: Job) -> Any:
    return _todo(job).chunks


def _batches(row: tuple[int, Iterable[list[plan.Seen]]], job: Job) -> Iterator[plan.Batch]:
    """The batches of which not all records exist."""
    todo, seen = _todo(job), [one for many in row[1] for one in many]
    for batch in plan.batches(seen, job.dataset.batch_size, list(job.attacks), job.dataset.begins):
        if not todo.has(batch):
            yield batch


def _counted(row: tuple[str, Any]) -> Any:
    """What became of a batch, which Beam's metrics count."""
    done: Done = row[1]
    kind = done.batch.attack or "classified"
    Metrics.counter(NAMESPACE, f"{kind}_images").inc(len(done.batch.pictures))
    Metrics.counter(NAMESPACE, "gradients").inc(done.gradients)
    Metrics.counter(NAMESPACE, "failures").inc(len(list(_failures(done))))
    if done.peak:  # made now
        Metrics.distribution(NAMESPACE, f"{kind}_milliseconds").update(int(1000 * done.seconds))
        if done.batch.attack:
            Metrics.distribution(NAMESPACE, BEGAN).update(int(1000 * (done.ended - done.seconds)))
            Metrics.distribution(NAMESPACE, ENDED).update(int(1000 * done.ended))
        Metrics.distribution(NAMESPACE, "process_bytes").update(done.peak)
    return done


def _failures(done: Done) -> Iterator[dict[str, Any]]:
    """The dead letters of a batch: each image that could not be read, or not be attacked, with the reason."""
    attack = done.batch.attack
    if attack and done.reason:
        reasons = [(picture, done.reason) for picture in done.batch.pictures]
    else:
        reasons = [(one.picture, one.reason) for one in done.seen if one.reason]
    for picture, reason in reasons:
        yield {"image": picture.name, "index": picture.index, "attack": attack or None, "reason": reason}


def _keep_failures(done: Done, job: Job) -> None:
    lines = [json.dumps(failure) + "\n" for failure in _failures(done)]
    if lines:
        files.use(job.reading.arguments)
        files.write(files.joined(job.shards, FAILED, done.batch.path), "".join(lines).encode())
