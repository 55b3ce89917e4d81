from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tf_smoothadv.attacks import FMN, PGD2
from tf_smoothadv.delivery import Delivered, Delivery


@dataclasses.dataclass(frozen=True)
class Pairs(Delivery):
    """A format of one's own: what it saves of two pixels side by side is their mean, in 16 levels."""

    def get_config(self) -> dict[str, Any]:
        return {"pairs": 16}

    def delivered(self, x: tf.Tensor, rounded=tf.round) -> Delivered:
        code = tf.round(15 * tf.stop_gradient(x[:, :, ::2] + x[:, :, 1::2]) / 2)
        return Delivered(tf.repeat(code / 15, 2, axis=2), (tf.cast(code, tf.uint8),))

    def pull_back(self, gradient: tf.Tensor) -> tf.Tensor:
        return tf.repeat((gradient[:, :, ::2] + gradient[:, :, 1::2]) / 2, 2, axis=2)


def model(x: tf.Tensor) -> tf.Tensor:
    """Class 0 where sixteen pixels sum to more than 7."""
    return tf.reshape(x, [-1, 16]) @ ([[1.0, -1.0]] * 16) - [7.0, -7.0]


@pytest.mark.parametrize("attack", [FMN(60), PGD2(2.0, 0.3, 20, binary_search_steps=3)], ids=["FMN", "PGD2"])
def test_a_format_of_ones_own_is_what_is_searched(attack):
    """What is returned is on the format's grid, is what its code says, and is judged as such."""
    image = tf.random.stateless_uniform([1, 4, 4, 1], [0, 0], 0.4, 0.6)
    result = attack.replaced(delivery=Pairs())(model, image, [0])
    assert bool(result.success[0])
    (code,) = result.code
    np.testing.assert_allclose(tf.repeat(code, 2, axis=2).numpy() / 15, result.adversarial, atol=1e-6)
    assert float(tf.reduce_sum(result.adversarial)) < 7 < float(tf.reduce_sum(image))


def test_levels_are_refused_where_they_make_no_sense():
    for count in (1, 2.0, True, None):
        with pytest.raises(ValueError, match="count must be an integer of at least 2"):
            sa.Levels(count)
