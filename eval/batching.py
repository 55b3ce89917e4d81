"""How many images to attack at once."""

from __future__ import annotations

import math
import os
from typing import Any

import tensorflow as tf

from tf_smoothadv.attacks import core

MOST = 200
NUMBERS = 2**21  # of the images in a batch: from there on an image takes no less time (8 photographs of 299 x 299)
SHARE = 0.5  # of the free memory
COPIES = 3  # what a step keeps of every tensor of the network: itself, its gradient, what is made on the way


def automatic(model: core.Model, image_shape: tuple[int, ...]) -> int:
    """Images [H, W, C] that a step of an attack on `model` has room for, as far as more of them save time."""
    numbers = math.prod(image_shape)
    room = int(SHARE * free_memory() / (4 * COPIES * tensors_of(model, image_shape)))
    return max(1, min(MOST, NUMBERS // numbers, room))


def tensors_of(model: core.Model, image_shape: tuple[int, ...]) -> int:
    """Numbers in all the tensors between an image and its logits."""
    image = tf.TensorSpec([1, *image_shape])
    graph = tf.function(lambda x: core.logits_of(model, x)).get_concrete_function(image).graph
    tensors: list[Any] = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    return sum(tensor.shape.num_elements() or 0 for tensor in tensors if tensor.dtype.is_floating)


def free_memory() -> int:
    """Bytes that this machine has free, as Linux counts them; elsewhere half of all."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
