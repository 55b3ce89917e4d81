"""What an evaluation is made with: its images, its attacks, and where its results go."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tf_smoothadv as sa
from tf_smoothadv import checks, resizing
from tf_smoothadv.classifier import OUTPUTS
from tf_smoothadv.evaluation import families, presets, variants
from tf_smoothadv.evaluation.data import SOURCES, Dataset, targets

__all__ = ["Config"]

GIVEN, PREDICTED = LABELS = ("given", "predicted")
MODEL, OWN = RESOLUTIONS = ("model", "own")
AUTO, NONE, BYTES = DELIVERIES = ("auto", "none", "8bit")
LOCAL = "local"  # where a pipeline of Beam runs: on this machine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What an evaluation is made with; `eval/` makes it of flags, Python of keywords.

    Attributes:
        model: the network's name, for tables.
        outputs, input_range, samples, output_name: what every network is, see `tf_smoothadv.Classifier`.
        imports: modules that were imported to load networks.
        jit_compile: whether XLA compiles attacks as a whole, see `Classifier.by_xla`.
        labels: "given", the dataset's, or "predicted": an attack moves an image away from what the model says of it.
        aim: the class that an attack must reach, see `data.aimed`; None for any but the label.
        dataset: one of `data.DATASETS`.
        data: where the images lie, see `data.formats`; None for the digits that ship with the project.
        num_images: how many, from the first on; None for 200 digits, for all images of another dataset.
        image_size: pixels a side that images are resized to; None for 299 in folders and TFRecords, else as they are.
        resize: how images come to that size, see `resizing.squared`.
        resolution: "model", images are resized before they are attacked; "own", images keep their size, at which they
            are attacked through the way to the network's, see `resizing.behind`.
        batch_size: images in a batch; None for as many as memory and speed allow.
        shard: (i, n), from (1, n) to (n, n): every n-th image alone, from the i-th on.
        settings: one of `families.NAMES`: whose parameters the attacks have, and the graph that measures energies.
        attacks: their names in `presets`.
        alphas: bandwidths of (6) that each attack is run at, see `variants.front`; None for the settings' own.
        maskings: under which each attack is run besides, see `variants.front`.
        delivery: what every attack sees its images as: "8bit", rounded as they are saved; "none", as computed, to be
            rounded afterwards; "auto", "8bit" where the settings are "tuned", "none" where they are the paper's.
        epsilon: of the gradient attacks, see `variants.at_epsilon`; None for the settings' own.
        confidence: of the others, by how much the network must err, in logits.
        epsilons: at which robust accuracy is told, and which the attack `standard` decides; in order.
        gradients: of the network, at most, for each image and each of an attack's settings; None for the settings' own.
        output: the folder of the results.
        save_images: whether the images are written as PNG, too.
        visibility: whether measures of what the eye sees are taken of the delivered images; None for what the run began
            with, and of a new one on photographs alone.
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
    jit_compile: bool = False
    labels: str = "given"
    aim: str | None = None
    dataset: str = "mnist"
    data: str | None = None
    num_images: int | None = None
    image_size: int | None = None
    resize: str = resizing.CROP
    resolution: str = MODEL
    batch_size: int | None = None
    shard: tuple[int, int] = (1, 1)
    settings: str = "tuned"
    attacks: tuple[str, ...] = presets.ATTACKS
    alphas: tuple[float, ...] | None = None
    maskings: tuple[str, ...] = ()
    delivery: str = AUTO
    epsilon: float | None = None
    confidence: float = 0.0
    epsilons: tuple[float, ...] = ()
    gradients: int | None = None
    output: str | pathlib.Path = "results"
    save_images: bool = False
    visibility: bool | None = None
    tensorboard: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("outputs", self.outputs, OUTPUTS)
        checks.one_of("labels", self.labels, LABELS)
        checks.one_of("dataset", self.dataset, SOURCES)
        checks.one_of("settings", self.settings, families.NAMES)
        checks.one_of("resolution", self.resolution, RESOLUTIONS)
        checks.one_of("resize", self.resize, resizing.RESIZES)
        checks.one_of("delivery", self.delivery, DELIVERIES)
        for name in ("num_images", "image_size", "batch_size", "gradients"):
            if getattr(self, name) is not None:
                checks.count(name, getattr(self, name))
        if self.maskings and self.alphas is None:
            raise ValueError(f"maskings are beside alphas: add alphas=(0.0,); received maskings={self.maskings}")
        for epsilon in self.epsilons:
            checks.in_range("epsilons", epsilon, 0, open_low=True)
        part, parts = self.shard
        if not 1 <= part <= parts:
            raise ValueError(f"shard must be (i, n) with i from 1 to n; received {self.shard}")

    def reference(self, images: Dataset) -> sa.Smoothing:
        """The smoothing whose graph measures the energy of every perturbation of these images."""
        return families.reference(families.family(images.shape), self.settings)

    def preset(self, images: Dataset) -> presets.Preset:
        """The attacks, with their parameters for such images.

        Raises:
            ValueError: what `presets.preset`, or of `variants` `front`, `at_epsilon` or `with_confidence`, refuses.
        """
        family = families.family(images.shape)
        named = family, self.settings, self.attacks
        if self.alphas is not None:
            return variants.front(*named, self.alphas, self.gradients, self.maskings)
        if self.epsilon is None:
            chosen = presets.preset(*named, self.levels, self.gradients)
        else:
            chosen = variants.at_epsilon(*named, self.epsilon, self.levels, self.gradients)
        if self.confidence:
            chosen = variants.with_confidence(chosen, self.confidence)
        return variants.deciding(chosen, self.epsilons)

    @property
    def levels(self) -> int | None:
        """Values of a pixel that every attack sees its images rounded to; None where they are as computed."""
        rounded = self.delivery == BYTES or (self.delivery == AUTO and self.settings == families.TUNED)
        return presets.LEVELS if rounded else None

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
            **({"aim": targets.told(self.aim)} if self.aim else {}),
            **({"epsilons": list(self.epsilons)} if self.epsilons else {}),
            **sa.Classifier(lambda x: x, **self.usage()).settings(),
            **({"import": list(self.imports)} if self.imports else {}),
            **({"jit_compile": True} if self.jit_compile else {}),
            "shard": "{}/{}".format(*self.shard),
            "dataset": self.dataset,
            "data": images.path,
            "images": images.names,
            **({"begins": list(images.begins)} if images.begins else {}),
            "image_size": self.image_size,
            "resize": self.resize,
            "resolution": self.resolution,
            "batch_size": images.batch_size,
            "settings": self.settings,
            "reference": self.reference(images).get_config(),
            "levels": self.levels,
            "attacks": dict(attacks),
        }
