from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_smoothadv import criteria

LOGITS = tf.constant([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0], [1.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("labels", "targets", "expected"),
    [
        ([0, 0, 0], None, [0.5, -4.0, 0.0]),
        ([0, 1, 2], None, [0.5, 3.0, -1.0]),
        ([0, 0, 0], [2, 1, 0], [0.5, -3.0, 0.0]),
        ([2, 2, 2], [1, 2, 2], [2.0, 3.0, 1.0]),
    ],
)
def test_margin_by_hand(labels, targets, expected):
    arguments = (LOGITS, tf.constant(labels), None if targets is None else tf.constant(targets))
    np.testing.assert_allclose(criteria.margin(*arguments), expected)
    np.testing.assert_array_equal(criteria.is_adversarial(*arguments), np.array(expected) < 0)
    np.testing.assert_allclose(criteria.margin_loss(*arguments, confidence=1.0), np.maximum(np.array(expected) + 1, 0))


def test_a_tie_and_nan_are_no_success():
    logits = tf.constant([[1.0, 1.0], [float("nan"), float("nan")]])
    assert not np.any(criteria.is_adversarial(logits, tf.constant([0, 0])))


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="kind must be one of 'cross_entropy', 'margin'; received 'hinge'"):
        criteria.classification_loss("hinge", LOGITS, tf.constant([0, 0, 0]))


@pytest.mark.parametrize("kind", criteria.LOSSES)
@pytest.mark.parametrize("targets", [None, [2, 0, 1]])
def test_descending_a_loss_lowers_the_margin(kind, targets, rng):
    """Of the labelled or targeted logit, the gradient of each loss has the sign of the margin's."""
    logits = tf.constant(rng.normal(size=(3, 3)), tf.float32)
    labels = tf.constant([0, 1, 2])
    targets = None if targets is None else tf.constant(targets)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = criteria.classification_loss(kind, logits, labels, targets)
    gradient = tape.gradient(loss, logits).numpy()
    chosen = gradient[np.arange(3), labels if targets is None else targets]
    assert np.all(chosen > 0 if targets is None else chosen < 0)
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-6)
