"""What success is, and the losses that an attack descends to reach it.

Every function takes logits [B, K], the true classes `labels` [B], and optionally `targets` [B], the classes to reach:
without targets any class but the label counts (untargeted), with them only the target does. Margins are in the units of
the logits, log-odds in nats.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf_smoothadv import checks

__all__ = ["classification_loss", "is_adversarial", "log_odds", "margin", "margin_loss", "margin_ratio"]

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

    Nor are logits that are NaN or plus infinity.

    >>> is_adversarial(tf.constant([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]]), tf.constant([0, 0, 0])).numpy()
    array([False,  True, False])
    """
    return (margin(logits, labels, targets) < 0) & tf.reduce_all(logits < math.inf, axis=1)


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


def log_odds(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None) -> tf.Tensor:
    """The log-odds of the label, log p_t / (1 - p_t) = y_t - log sum_{i != t} exp y_i; minus those of a target; [B].

    Its gradient is that of the cross-entropy log p_t divided by 1 - p_t: of the same direction at every point, and
    never zero, where that of the cross-entropy vanishes once the softmax is saturated.

    >>> log_odds(tf.constant([[0.0, 0.0], [3000.0, 0.0]]), tf.constant([0, 0])).numpy()
    array([   0., 3000.], dtype=float32)
    """
    classes = labels if targets is None else targets
    chosen = tf.one_hot(classes, tf.shape(logits)[1], on_value=True, off_value=False)
    own = tf.gather(logits, classes, axis=1, batch_dims=1)
    others = tf.reduce_logsumexp(tf.where(chosen, logits.dtype.min, logits), axis=1)
    return own - others if targets is None else others - own


def classification_loss(kind: str, logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None) -> tf.Tensor:
    """The loss l(y, t) that (10) descends, smaller nearer success; [B].

    Args:
        kind: "cross_entropy", `log_odds`, whose gradient has the direction of the cross-entropy's; "margin", `margin`,
            which unlike (3) goes on below zero.

    Raises:
        ValueError: another kind.

    >>> classification_loss("margin", tf.constant([[1.0, 3.0]]), tf.constant([0])).numpy()
    array([-2.], dtype=float32)
    """
    checks.one_of("kind", kind, LOSSES)
    return (margin if kind == "margin" else log_odds)(logits, labels, targets)
