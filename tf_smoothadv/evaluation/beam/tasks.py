"""What is done to each batch of a pipeline: attacks, transfer to other networks, or a referee's judgement."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from tf_smoothadv import protocol
from tf_smoothadv import transfer as transferring
from tf_smoothadv.attacks import core
from tf_smoothadv.evaluation.beam.plan import Picture
from tf_smoothadv.evaluation.data import submissions
from tf_smoothadv.evaluation.presets import Preset
from tf_smoothadv.smoothing import Smoothing

__all__ = ["Attacking", "Judging", "Networks", "Task", "Transferring"]

Networks = Mapping[str, core.Model]


class Task(Protocol):
    """What a pipeline does."""

    @property
    def source(self) -> str:
        """The name of the network that attacks are made on, and that says which images count."""

    def clean(self, networks: Networks, images: Sequence[tf.Tensor]) -> list[dict[str, int]]:
        """What each network says of each image as it is, as far as records tell."""

    def gradients(self, attack: str) -> int:
        """About how many an image may take, to do what takes long first; the batches to classify are of attack ""."""

    def batch(
        self, networks: Networks, attack: str, originals: protocol.Originals, pictures: Sequence[Picture]
    ) -> protocol.Batch:
        """What the attack makes of these images, with its records."""


@dataclasses.dataclass(frozen=True)
class Attacking:
    """What `run.white_box` does."""

    source: str
    attacks: Preset
    reference: Smoothing

    def clean(self, networks: Networks, images: Sequence[tf.Tensor]) -> list[dict[str, int]]:
        return [{} for _ in images]

    def gradients(self, attack: str) -> int:
        variants = self.attacks.get(attack, ())
        return sum(getattr(one, "steps", 1) * getattr(one, "binary_search_steps", 1) for one in variants)

    def batch(
        self, networks: Networks, attack: str, originals: protocol.Originals, pictures: Sequence[Picture]
    ) -> protocol.Batch:
        (made,) = protocol.attack_batches(
            networks[self.source],
            [originals],
            {attack: self.attacks[attack]},
            reference=self.reference,
            differentiable=True,
        )
        return made


@dataclasses.dataclass(frozen=True)
class Transferring(Attacking):
    """What `transfer.evaluate` does with one of its sources."""

    def clean(self, networks: Networks, images: Sequence[tf.Tensor]) -> list[dict[str, int]]:
        said = {name: protocol.predict(network, tf.stack(images)).tolist() for name, network in networks.items()}
        return [{name: classes[place] for name, classes in said.items()} for place in range(len(images))]

    def batch(
        self, networks: Networks, attack: str, originals: protocol.Originals, pictures: Sequence[Picture]
    ) -> protocol.Batch:
        made = super().batch(networks, attack, originals, pictures)
        return transferring.shown(networks, self.source, made, [picture.clean for picture in pictures])


@dataclasses.dataclass(frozen=True)
class Judging:
    """What `referee.referee` does.

    Attributes:
        paths: of what each attack made, by its name; see `submissions.read`.
        shard: (i, n), which part of the images they are made of is judged.
    """

    source: str
    paths: Mapping[str, pathlib.Path]
    shard: tuple[int, int]
    reference: Smoothing

    def clean(self, networks: Networks, images: Sequence[tf.Tensor]) -> list[dict[str, int]]:
        return [{} for _ in images]

    def gradients(self, attack: str) -> int:
        return 1

    def batch(
        self, networks: Networks, attack: str, originals: protocol.Originals, pictures: Sequence[Picture]
    ) -> protocol.Batch:
        number, parts = self.shard
        names = {picture.index * parts + number - 1: picture.name for picture in pictures}
        submitted = submissions.some(self.paths[attack], names, originals.images.shape[1:]).part(self.shard)
        smoother = self.reference.guided_by(originals.images)
        return protocol.score(networks[self.source], attack, originals, submitted.on(originals), smoother)
