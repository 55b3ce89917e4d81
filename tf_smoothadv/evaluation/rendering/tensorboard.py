"""What a run does while it goes on, for TensorBoard."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_smoothadv import criteria, protocol
from tf_smoothadv.evaluation.rendering import pictures

__all__ = ["SHOWN", "Board"]

SHOWN = 3  # images of each batch


class Board:
    """Writes each batch of a run as it comes; the step counts an attack's images.

    ATTACK/loss is the mean margin as computed, below zero where an image is adversarial; ATTACK/success and
    success_8bit the shares of adversarial images as computed and as delivered; ATTACK/distortion and energy the means
    of the successes; ATTACK/images the first originals beside the delivered images and the perturbations, scaled by
    channel.

    Args:
        folder: TensorBoard's --logdir.
    """

    def __init__(self, folder: str) -> None:
        self._writer = tf.summary.create_file_writer(folder)

    def write(self, batch: protocol.Batch, logits: tf.Tensor) -> None:
        """Adds a batch.

        Args:
            batch: one attack on it.
            logits: [B, K], the model's on `batch.adversarial`.
        """
        records = batch.records
        labels = tf.constant([record.label for record in records])
        successful = [record for record in records if record.computed.success]
        values = {
            "loss": np.mean(criteria.margin(logits, labels)),
            "success": np.mean([record.computed.success for record in records]),
            "success_8bit": np.mean([record.delivered.success for record in records]),
        }
        if successful:
            values["distortion"] = np.mean([record.computed.distortion for record in successful])
            values["energy"] = np.mean([record.computed.smoothness_energy for record in successful])
        originals, delivered = batch.images[:SHOWN], batch.delivered[:SHOWN]
        shown = np.concatenate([originals, delivered, 0.5 + 0.5 * pictures.amplified(delivered - originals)], axis=2)
        with self._writer.as_default(step=records[-1].index + 1):
            for name, value in values.items():
                tf.summary.scalar(f"{batch.attack}/{name}", value)
            tf.summary.image(f"{batch.attack}/images", shown, max_outputs=SHOWN)
        self._writer.flush()
