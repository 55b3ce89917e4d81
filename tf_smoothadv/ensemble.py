"""Several models as one, which errs where every one of them does."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_smoothadv.classifier import Classifier

__all__ = ["Ensemble"]


class Ensemble(Classifier):
    """Models that an attack must move an image away from all at once: a success is one of every member.

    The loss and the margin of an image are those of the member that is the least wrong, so that a step goes down the
    loss of that one; each step takes a gradient of every member. What the ensemble predicts is the class of the largest
    mean logit.

    Args:
        models: at least two, each a `Classifier`, a Keras model, or a callable from images [B, H, W, C] in [0, 1] to
            logits [B, K] of the same K classes.

    Attributes:
        members: a `Classifier` each.

    Raises:
        ValueError: fewer than two, a random one, or an ensemble; when it is called, another number of classes.

    Source: Liu, Chen, Liu, Song 2017, https://arxiv.org/abs/1611.02770, who descend the mean loss of the members.

    Both members change class where the sum of four pixels falls below a number, 1.9 and 1.8; the second is 0.1 away:

    >>> from tf_smoothadv.attacks import FMN
    >>> def member(bound):
    ...     return lambda x: tf.reshape(x, [-1, 4]) @ ([[1.0, -1.0]] * 4) - [bound, -bound]
    >>> result = FMN(40)(Ensemble([member(1.9), member(1.8)]), tf.fill([1, 2, 2, 1], 0.5), [0])
    >>> result.success.numpy(), result.distortion.numpy().round(3)
    (array([ True]), array([0.1], dtype=float32))
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.members = [Classifier.of(model) for model in models]
        if len(self.members) < 2:
            raise ValueError(f"an ensemble must have at least two members; received {len(self.members)}")
        for member in self.members:
            if isinstance(member, Ensemble) or member.random:
                raise ValueError(f"the members of an ensemble must be models that draw nothing; received {member!r}")
        super().__init__(_Mean(self.members), samples=len(self.members))

    @property
    def random(self) -> bool:
        """Never: its draws are its members."""
        return False

    @property
    def any_size(self) -> bool:
        """Whether every member says so."""
        return all(member.any_size for member in self.members)

    def __repr__(self) -> str:
        return f"Ensemble({self.members!r})"

    def settings(self) -> dict[str, Any]:
        """Nothing: its members have settings."""
        return {}

    def draws(self, images: tf.Tensor) -> tf.Tensor:
        """The logits of every member, [members * B, K]."""
        return tf.concat([member(images) for member in self.members], axis=0)

    def over_draws(self, values: tf.Tensor) -> tf.Tensor:
        """[members, B] as [B], the largest, of the member that is the least wrong."""
        return tf.reduce_max(values, axis=0)

    def folded(self) -> Ensemble:
        """The same ensemble of members that are folded; itself where none can be."""
        changed = copy.copy(self)
        changed.members = [member.folded() for member in self.members]
        changed.model = _Mean(changed.members)
        return self if changed.members == self.members else changed

    def _difference(self, images: tf.Tensor, logits: tf.Tensor) -> float:
        """That of mean logits; of the members' logits [members * B, K] the mean is taken."""
        members = tf.reshape(logits, [-1, images.shape[0], logits.shape[1]])
        return super()._difference(images, tf.reduce_mean(members, axis=0))


class _Mean:
    """The mean logits of classifiers; `weights` are those of all, if all have some."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        self._members = members
        if all(hasattr(member.model, "weights") for member in members):
            self.weights = [weight for member in members for weight in member.model.weights]

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        logits = [member(images) for member in self._members]
        classes = {each.shape[1] for each in logits}
        if len(classes) > 1:
            raise ValueError(f"the members of an ensemble must have the same classes; they have {sorted(classes)}")
        return tf.add_n(logits) / len(logits)
