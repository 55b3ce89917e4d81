from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

import models
from tests.conftest import SAMPLE
from tf_smoothadv import attacks, criteria, protocol
from tf_smoothadv.evaluation.data import mnist
from tf_smoothadv.evaluation.rendering import tensorboard


@pytest.fixture(scope="module")
def batches():
    images, labels = mnist.read(str(SAMPLE), "test")
    model = models.c4()
    correct = protocol.CorrectImages(model, [(images[:4], labels[:4]), (images[4:7], labels[4:7])])
    tried = {"pgd2": attacks.PGD2(6.0, 1.5, 8), "fgsm": attacks.FGSM(1e-6)}
    return model, list(protocol.attack_batches(model, correct, tried))


def test_what_tensorboard_reads_is_what_the_records_say(batches, tmp_path):
    model, made = batches
    board = tensorboard.Board(str(tmp_path))
    for batch in made:
        board.write(batch, model(batch.adversarial))
    events = event_accumulator.EventAccumulator(str(tmp_path), {"tensors": 0, "images": 0}).Reload()

    def scalars(tag: str) -> dict[int, float]:
        return {event.step: tf.make_ndarray(event.tensor_proto).item() for event in events.Tensors(tag)}

    for batch in made:
        step = batch.records[-1].index + 1
        labels = tf.constant([record.label for record in batch.records])
        margins = criteria.margin(model(batch.adversarial), labels)
        assert scalars(f"{batch.attack}/loss")[step] == pytest.approx(np.mean(margins), rel=1e-5)
        shares = {"success": "computed", "success_8bit": "delivered"}
        for tag, name in shares.items():
            expected = np.mean([getattr(record, name).success for record in batch.records])
            assert scalars(f"{batch.attack}/{tag}")[step] == pytest.approx(expected)
        if batch.attack == "pgd2":
            distortions = [record.computed.distortion for record in batch.records if record.computed.success]
            assert scalars("pgd2/distortion")[step] == pytest.approx(np.mean(distortions))
    tags = events.Tags()["tensors"]
    assert "fgsm/distortion" not in tags  # which never succeeds
    shown = tf.make_ndarray(events.Tensors("pgd2/images")[0].tensor_proto)
    width, height, *pictures = shown
    assert (int(width), int(height), len(pictures)) == (3 * 28, 28, tensorboard.SHOWN)
    first = tf.io.decode_png(pictures[0]).numpy()
    np.testing.assert_array_equal(first[:, :28], np.round(255 * made[0].images[0]))
    np.testing.assert_array_equal(first[:, 28:56], np.round(255 * made[0].delivered[0]))
