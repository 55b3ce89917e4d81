"""What Beam's `RunInference` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from tf_smoothadv.evaluation.beam import processes
from tf_smoothadv.evaluation.beam.plan import Batch
from tf_smoothadv.evaluation.beam.processes import Processes
from tf_smoothadv.evaluation.beam.tasks import Networks
from tf_smoothadv.evaluation.beam.work import Done, Job

__all__ = ["NAMESPACE", "AttackHandler"]

NAMESPACE = "tf_smoothadv"  # of Beam's metrics


class AttackHandler(ModelHandler[Batch, Done, Processes]):
    """Attacks batches of images.

    Beam must not put them together by its own measure, as it does for predictions: what a network computes for an image
    depends, in its last bits, on the others in the batch.

    Args:
        load: gives the networks, by name; it is pickled.
        job: what is to be done with them.
        threads: of TensorFlow in each process.
        count: of processes with networks that each process of Beam starts.
    """

    def __init__(self, load: Callable[[], Networks], job: Job, threads: int = 1, count: int = 1) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._load, self._job, self._threads, self._count = load, job, threads, count

    def load_model(self) -> Processes:
        """The processes, which load the networks once, for all the steps of the pipeline."""
        return processes.of(self._load, self._job, self._threads, self._count)

    def run_inference(
        self, batch: Sequence[Batch], model: Processes, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Done]:
        """What became of each batch."""
        return [model.done(one) for one in batch]

    def get_num_bytes(self, batch: Sequence[Batch]) -> int:
        """Of what the images are told by: pixels, or the names of files."""
        places = [picture.place for one in batch for picture in one.pictures]
        return sum(place.nbytes if isinstance(place, np.ndarray) else len(str(place)) for place in places)

    def get_metrics_namespace(self) -> str:
        """Where Beam's metrics of this handler stand."""
        return NAMESPACE
