from __future__ import annotations

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from tf_smoothadv.evaluation import batch_size


def pixel_logits(images: tf.Tensor) -> tf.Tensor:
    return images[:, 0, :2, 0]


def test_tensors_are_counted_for_one_image():
    """A product with an 8 x 8 matrix adds 8 x 8 x 3 numbers for each image, whatever else the graph holds."""
    matrix = np.eye(8, dtype=np.float32)
    without = batch_size.tensors_of(pixel_logits, (8, 8, 3))
    inserted = batch_size.tensors_of(lambda images: pixel_logits(tf.einsum("ij,bjkc->bikc", matrix, images)), (8, 8, 3))
    assert inserted - without >= 8 * 8 * 3


@pytest.mark.parametrize(
    ("shape", "memory", "expected"),
    [
        ((28, 28, 1), 2**40, batch_size.MOST),
        ((299, 299, 3), 2**40, 7),
        ((2000, 2000, 3), 2**40, 1),
        ((28, 28, 1), 0, 1),
    ],
)
def test_batches_are_bounded_by_use_and_by_memory(shape, memory, expected, monkeypatch):
    monkeypatch.setattr(batch_size, "free_memory", lambda: memory)
    assert batch_size.automatic(pixel_logits, shape) == expected


def test_half_the_memory_holds_half_the_images(monkeypatch):
    model = models.c4()
    sizes = []
    for memory in (2**26, 2**25):
        monkeypatch.setattr(batch_size, "free_memory", lambda memory=memory: memory)
        sizes.append(batch_size.automatic(model, (28, 28, 1)))
    assert 1 < sizes[0] < batch_size.MOST
    assert sizes[0] // 2 == pytest.approx(sizes[1], abs=1)


def test_tensors_of_a_saved_model_are_those_of_the_model(tmp_path):
    model = models.c4()
    module = tf.Module()
    module.serve = tf.function(model, input_signature=[tf.TensorSpec([None, 28, 28, 1])])
    module.model = model
    tf.saved_model.save(module, str(tmp_path))
    expected = batch_size.tensors_of(model, (28, 28, 1))
    assert batch_size.tensors_of(models.load(str(tmp_path)), (28, 28, 1)) == pytest.approx(expected, rel=0.01)


def test_a_model_of_one_size_of_batch_gets_whole_ones(monkeypatch):
    fixed = tf.function(pixel_logits, input_signature=[tf.TensorSpec([7, 8, 8, 1])])
    inputs = keras.Input((8, 8, 1), batch_size=7)
    network = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(inputs)))
    assert batch_size.tensors_of(fixed, (8, 8, 1)) >= 8 * 8
    for memory, expected in ((2**40, 196), (0, 7)):
        monkeypatch.setattr(batch_size, "free_memory", lambda memory=memory: memory)
        for model in (fixed, network, sa.Classifier(network, input_range=(0, 255))):
            assert batch_size.automatic(model, (8, 8, 1)) == expected


def test_draws_share_the_memory(monkeypatch):
    monkeypatch.setattr(batch_size, "free_memory", lambda: 2**40)
    assert batch_size.automatic(sa.Classifier(pixel_logits, samples=10), (28, 28, 1)) == batch_size.MOST // 10
    assert batch_size.automatic(sa.Classifier(pixel_logits, samples=1000), (28, 28, 1)) == 1


def test_free_memory_is_that_of_a_machine():
    assert 2**26 < batch_size.free_memory() < 2**50


def test_a_gpu_gets_what_its_own_memory_holds_and_what_saves_time(monkeypatch):
    """Devices as TensorFlow describes them; a step takes 1 + n / 10, of which 128 images are the last to gain 5 %."""
    model, shape = models.c4(), (28, 28, 1)
    name, others = "/device:GPU:0", {"/device:CPU:0": 2**20, "/device:GPU:1": 2**20}
    needed = 4 * batch_size.COPIES * batch_size.tensors_of(model, shape) / batch_size.SHARE  # for one image
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [types.SimpleNamespace(name=name)])
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", {"GPU:0": {"current": 1000, "peak": 0}}.__getitem__)
    monkeypatch.setattr(batch_size, "step_seconds", lambda model, shape, size: 1 + size / 10)
    monkeypatch.setattr(batch_size, "free_memory", lambda: pytest.fail("the host's memory"))
    for room, expected in ((100_000, 128), (100, 64), (33, 32), (0.5, 1)):
        limits = {**others, name: int(room * needed) + 1001}
        told = [types.SimpleNamespace(name=one, memory_limit=limit) for one, limit in limits.items()]
        monkeypatch.setattr(batch_size.device_lib, "list_local_devices", lambda told=told: told)
        assert batch_size.automatic(model, shape) == expected


def test_a_batch_that_finds_no_room_is_too_large():
    def seconds(size: int) -> float:
        if size > 8:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")
        return 1.0

    assert batch_size.fastest(seconds, 1000) == 8


def test_steps_are_timed_for_real():
    """Work that all images share makes the largest batch the fastest; the first, compiling call does not count."""
    square = tf.constant(np.random.default_rng(0).normal(size=(1000, 1000)), tf.float32)

    def shared(images: tf.Tensor) -> tf.Tensor:
        return pixel_logits(images) * (1 + 1e-9 * tf.linalg.trace(square @ square * tf.reduce_mean(images)))

    first, second = (batch_size.step_seconds(shared, (8, 8, 1), size) for size in (1, 16))
    assert 0 < second < 8 * first
    assert batch_size.fastest(lambda size: batch_size.step_seconds(shared, (8, 8, 1), size, 5), 16) == 16
