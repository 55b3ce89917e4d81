from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import models
from eval import batching


def pixel_logits(images: tf.Tensor) -> tf.Tensor:
    return images[:, 0, :2, 0]


def test_tensors_are_counted_for_one_image():
    """A product with an 8 x 8 matrix adds 8 x 8 x 3 numbers for each image, whatever else the graph holds."""
    matrix = np.eye(8, dtype=np.float32)
    without = batching.tensors_of(pixel_logits, (8, 8, 3))
    inserted = batching.tensors_of(lambda images: pixel_logits(tf.einsum("ij,bjkc->bikc", matrix, images)), (8, 8, 3))
    assert inserted - without >= 8 * 8 * 3


@pytest.mark.parametrize(
    ("shape", "memory", "expected"),
    [
        ((28, 28, 1), 2**40, batching.MOST),
        ((299, 299, 3), 2**40, 7),
        ((2000, 2000, 3), 2**40, 1),
        ((28, 28, 1), 0, 1),
    ],
)
def test_batches_are_bounded_by_use_and_by_memory(shape, memory, expected, monkeypatch):
    monkeypatch.setattr(batching, "free_memory", lambda: memory)
    assert batching.automatic(pixel_logits, shape) == expected


def test_half_the_memory_holds_half_the_images(monkeypatch):
    model = models.c4()
    sizes = []
    for memory in (2**26, 2**25):
        monkeypatch.setattr(batching, "free_memory", lambda memory=memory: memory)
        sizes.append(batching.automatic(model, (28, 28, 1)))
    assert 1 < sizes[0] < batching.MOST
    assert sizes[0] // 2 == pytest.approx(sizes[1], abs=1)


def test_free_memory_is_that_of_a_machine():
    assert 2**26 < batching.free_memory() < 2**50
