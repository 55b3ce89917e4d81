"""How many images to attack at once."""

from __future__ import annotations

import math
import os

import tensorflow as tf

from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier, call, only_batch_size

__all__ = ["MOST", "automatic", "free_memory", "tensors_of"]

MOST = 200
NUMBERS = 2**21  # of the images in a batch: from there on an image takes no less time (8 photographs of 299 x 299)
SHARE = 0.5  # of the free memory
COPIES = 3  # what a step keeps of every tensor of the network: itself, its gradient, what is made on the way


def automatic(model: core.Model, image_shape: tuple[int, ...]) -> int:
    """Images [H, W, C] that a step of an attack on `model` has room for, as far as more of them save time.

    A model that takes batches of one size alone gets whole ones.
    """
    draws, size = Classifier.of(model).samples, only_batch_size(Classifier.of(model).model) or 1
    room = int(SHARE * free_memory() / (4 * COPIES * tensors_of(model, image_shape)))
    most = min(MOST, NUMBERS // math.prod(image_shape), room) // draws
    return max(1, most // size) * size


def tensors_of(model: core.Model, image_shape: tuple[int, ...]) -> int:
    """Numbers in all the tensors between an image and its logits."""
    network = Classifier.of(model).model
    size = only_batch_size(network) or 1
    images = tf.TensorSpec([size, *image_shape])
    graph = tf.function(lambda x: call(network, x)).get_concrete_function(images).graph.as_graph_def(add_shapes=True)
    # Those of a SavedModel lie in functions that the graph calls, for batches of any size.
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape if not shape.unknown_rank]
    return sum(math.prod(size if side.size < 0 else side.size for side in shape.dim) for shape in shapes) // size


def free_memory() -> int:
    """Bytes that this machine has free, as Linux counts them; elsewhere half of all."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
