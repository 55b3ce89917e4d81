"""What success is, and the losses that an attack descends to reach it.

Every function takes logits [B, K], the true classes `labels` [B], and optionally `targets` [B], the classes to reach:
without targets any class but the label counts (untargeted), with them only the target does. Margins are in the units of
the logits, cross-entropies in nats.
"""

from __future__ import annotations

import tensorflow as tf

from tf_smoothadv import checks

LOSSES = ("cross_entropy", "margin")


def margin(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None) -> tf.Tensor:
    """y_t - max_{i != t} y_i, or max_{i != target} y_i - y_target when targeted; [B].

    Negative exactly where the attack has succeeded. Source: the difference in (3).

    >>> margin(tf.constant([[3.0, 1.0, 2.5]]), tf.constant([0])).numpy()
    array([0.5], dtype=float32)
    >>> margin(tf.constant([[3.0, 1.0, 2.5]]), tf.constant([0]), targets=tf.constant([1])).numpy()
    array([2.], dtype=float32)
    """
    classes = labels if targets is None else targets
    chosen = tf.one_hot(classes, tf.shape(logits)[1], on_value=True, off_value=False)
    own = tf.gather(logits, classes, axis=1, batch_dims=1)
    best_other = tf.reduce_max(tf.where(chosen, logits.dtype.min, logits), axis=1)
    return own - best_other if targets is None else best_other - own


def is_adversarial(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None) -> tf.Tensor:
    """Success, p(x) != t (or p(x) = target), as the sign of the margin; [B] bool. A tie is no success.

    >>> is_adversarial(tf.constant([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]]), tf.constant([0, 0, 0])).numpy()
    array([False,  True, False])
    """
    return margin(logits, labels, targets) < 0


def margin_loss(
    logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None, confidence: float = 0.0
) -> tf.Tensor:
    """Loss (3), [margin + m]_+ with m = `confidence`; [B], zero once the margin is reached.

    >>> margin_loss(tf.constant([[3.0, 1.0], [1.0, 3.0]]), tf.constant([0, 0]), confidence=1.0).numpy()
    array([3., 0.], dtype=float32)
    """
    return tf.nn.relu(margin(logits, labels, targets) + confidence)


def margin_ratio(
    logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None, confidence: float = 0.0
) -> tf.Tensor:
    """(margin + m) / (the largest logit - the third largest), m = `confidence`; [B].

    A multiple of the logits has the same ratio. Of two classes, where there is no third, it is margin + m alone.
    Source: Croce, Hein 2020, https://arxiv.org/abs/2003.01690, with its sign turned.

    >>> logits = tf.constant([[3.0, 1.0, 2.5]])
    >>> [margin_ratio(scale * logits, tf.constant([0])).numpy().tolist() for scale in (1, 10)]
    [[0.25], [0.25]]
    """
    margins = margin(logits, labels, targets) + confidence
    if logits.shape[1] == 2:
        return margins
    largest = tf.math.top_k(logits, 3).values
    return tf.math.divide_no_nan(margins, largest[:, 0] - largest[:, 2])


def classification_loss(kind: str, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None) -> tf.Tensor:
    """The loss l(y, t) that (10) descends, smaller nearer success; [B].

    Args:
        kind: "cross_entropy", minus the cross-entropy to the label, or the cross-entropy to the target; "margin",
            `margin`, which unlike (3) goes on below zero.

    Raises:
        ValueError: another kind.

    >>> classification_loss("margin", tf.constant([[1.0, 3.0]]), tf.constant([0])).numpy()
    array([-2.], dtype=float32)
    >>> bool(classification_loss("cross_entropy", tf.constant([[0.0, 0.0]]), tf.constant([0])) == -tf.math.log(2.0))
    True
    """
    checks.one_of("kind", kind, LOSSES)
    if kind == "margin":
        return margin(logits, labels, targets)
    if targets is None:
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
