"""What an evaluation is made with: its images, its attacks, and where its results go."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tf_smoothadv as sa
from tf_smoothadv import checks
from tf_smoothadv.classifier import OUTPUTS
from tf_smoothadv.evaluation import families, presets
from tf_smoothadv.evaluation.data import SOURCES, Dataset

__all__ = ["Config"]

LABELS = ("given", "predicted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What an evaluation is made with; `eval/` makes it of flags, Python of keywords.

    Attributes:
        model: the network's name, for tables.
        outputs, input_range, samples, output_name: what every network is, see `tf_smoothadv.Classifier`.
        imports: modules that were imported to load networks.
        labels: "given", the dataset's, or "predicted": an attack moves an image away from what the model says of it.
        dataset: one of `data.DATASETS`.
        data: where the images lie, see `data.formats`; None for the digits that ship with the project.
        num_images: how many, from the first on; None for 200 digits, for all images of another dataset.
        image_size: pixels a side that images are resized to; None for 299 in folders and TFRecords, else as they are.
        batch_size: images in a batch; None for as many as memory and speed allow.
        shard: (i, n), from (1, n) to (n, n): every n-th image alone, from the i-th on.
        settings: one of `families.NAMES`: whose parameters the attacks have, and the graph that measures energies.
        attacks: their names in `presets`.
        alphas: bandwidths of (6) that each attack is run at, see `presets.front`; None for the settings' own.
        levels: values of a pixel that every attack sees its images rounded to; None to round them afterwards.
        gradients: of the network, at most, for each image and each of an attack's settings; None for the settings' own.
        output: the folder of the results.
        save_images: whether the images are written as PNG, too.
        tensorboard: a folder for TensorBoard, or None.

    Raises:
        ValueError: a value outside these.

    >>> Config(attacks=("fmn",), gradients=25).dataset
    'mnist'
    """

    model: str = "model"
    outputs: str = "logits"
    input_range: tuple[float, float] = (0.0, 1.0)
    samples: int = 1
    output_name: str | None = None
    imports: tuple[str, ...] = ()
    labels: str = "given"
    dataset: str = "mnist"
    data: str | None = None
    num_images: int | None = None
    image_size: int | None = None
    batch_size: int | None = None
    shard: tuple[int, int] = (1, 1)
    settings: str = "tuned"
    attacks: tuple[str, ...] = presets.ATTACKS
    alphas: tuple[float, ...] | None = None
    levels: int | None = None
    gradients: int | None = None
    output: str | pathlib.Path = "results"
    save_images: bool = False
    tensorboard: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("outputs", self.outputs, OUTPUTS)
        checks.one_of("labels", self.labels, LABELS)
        checks.one_of("dataset", self.dataset, SOURCES)
        checks.one_of("settings", self.settings, families.NAMES)
        for name in ("num_images", "image_size", "batch_size", "gradients"):
            if getattr(self, name) is not None:
                checks.count(name, getattr(self, name))
        part, parts = self.shard
        if not 1 <= part <= parts:
            raise ValueError(f"shard must be (i, n) with i from 1 to n; received {self.shard}")

    def reference(self, images: Dataset) -> sa.Smoothing:
        """The smoothing whose graph measures the energy of every perturbation of these images."""
        return families.reference(families.family(images.shape), self.settings)

    def preset(self, images: Dataset) -> presets.Preset:
        """The attacks, with their parameters for such images.

        Raises:
            ValueError: what `presets.preset` or `presets.front` refuses.
        """
        family = families.family(images.shape)
        if self.alphas is not None:
            return presets.front(family, self.settings, self.attacks, self.alphas, self.gradients)
        return presets.preset(family, self.settings, self.attacks, self.levels, self.gradients)

    def usage(self) -> dict[str, Any]:
        """The arguments of `Classifier` that say what the networks are."""
        names = ("outputs", "input_range", "samples", "output_name")
        return {name: getattr(self, name) for name in names}

    def made_with(self, images: Dataset, attacks: Mapping[str, Any]) -> dict[str, Any]:
        """What records depend on, plain values by name, but for the networks' weights.

        Args:
            images: those of the evaluation, in their batches.
            attacks: the parameters of each.
        """
        return {
            "labels": self.labels,
            **sa.Classifier(lambda x: x, **self.usage()).settings(),
            **({"import": list(self.imports)} if self.imports else {}),
            "shard": "{}/{}".format(*self.shard),
            "dataset": self.dataset,
            "data": images.path,
            "images": images.names,
            "image_size": self.image_size,
            "batch_size": images.batch_size,
            "settings": self.settings,
            "reference": self.reference(images).get_config(),
            "levels": self.levels,
            "attacks": dict(attacks),
        }
