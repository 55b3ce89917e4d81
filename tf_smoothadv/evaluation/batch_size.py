"""How many images to attack at once."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.client import device_lib  # the only place that tells a device's memory

from tf_smoothadv import criteria
from tf_smoothadv.attacks import core
from tf_smoothadv.classifier import Classifier, call, compile_for, only_batch_size

__all__ = ["MOST", "automatic", "fastest", "free_memory", "gpus", "memory_of_gpus", "step_seconds", "tensors_of"]

MOST = 200
MOST_ON_GPU = 2048  # or a run that is stopped loses much
GAIN = 0.05  # of the images a second: what a batch of twice the size has to bring
NUMBERS = 2**21  # of the images in a batch: from there on an image takes no less time (8 photographs of 299 x 299)
SHARE = 0.5  # of the free memory
COPIES = 3  # what a step keeps of every tensor of the network: itself, its gradient, what is made on the way


def automatic(model: core.Model, image_shape: tuple[int, ...]) -> int:
    """Images [H, W, C] that a step of an attack on `model` has room for, as far as more of them save time.

    On GPUs it is measured how far that is; each replica of a strategy gets so many. A model that takes batches of one
    size alone gets whole ones.
    """
    draws, size = Classifier.of(model).samples, only_batch_size(Classifier.of(model).model) or 1
    devices, replicas = gpus(), int(tf.distribute.get_strategy().num_replicas_in_sync)
    memory = memory_of_gpus(devices) if devices else free_memory() // replicas
    room = int(SHARE * memory / (4 * COPIES * tensors_of(model, image_shape)))
    if devices:
        most = max(1, min(MOST_ON_GPU, room) // draws // size)
        best = fastest(lambda batches: step_seconds(model, image_shape, batches * size), most)
        return replicas * size * best
    most = min(MOST, NUMBERS // math.prod(image_shape), room) // draws
    return replicas * max(1, most // size) * size


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """The size, 1, 2, 4, ..., from which on one of twice as many images brings no more of them a second.

    Args:
        seconds: that a step takes, by its size; it may raise `tf.errors.ResourceExhaustedError` where there is no room.
        most: the largest size to try.

    A step that takes 1 + n / 10 for n images: 32 in 4.2 are more than 5 % faster than 16 in 2.6, and so are 64, 128 in
    7.4 and 13.8; 256 in 26.6 are 3.8 % faster than these:

    >>> fastest(lambda size: 1 + size / 10, 1000), fastest(lambda size: 1 + size / 10, 20)
    (128, 16)
    """
    size, rate = 1, 1 / seconds(1)
    while 2 * size <= most:
        try:
            following = 2 * size / seconds(2 * size)
        except tf.errors.ResourceExhaustedError:
            break
        if following < (1 + GAIN) * rate:
            break
        size, rate = 2 * size, following
    return size


def step_seconds(model: core.Model, image_shape: tuple[int, ...], size: int, repeats: int = 3) -> float:
    """What a gradient of the margin takes for so many images [H, W, C], the least of some times, after a first one."""
    classifier = Classifier.of(model)

    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return core.slope(classifier.folded(), images, labels, None, criteria.margin).gradient

    specs = tf.TensorSpec([None, *image_shape]), tf.TensorSpec([None], tf.int32)
    # Of a random model it is not kept.
    step = classifier.compiled(("step_seconds", image_shape), lambda: compile_for(gradient, *specs))
    images, labels = tf.fill([size, *image_shape], 0.5), tf.zeros([size], tf.int32)
    taken = []
    for _ in range(1 + repeats):
        began = time.perf_counter()
        step(images, labels).numpy()  # which waits for the device
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def gpus() -> list[str]:
    """The GPUs on which a model runs here: those of the strategy, if it has several replicas, or the first one."""
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    return names[: tf.distribute.get_strategy().num_replicas_in_sync]


def memory_of_gpus(devices: Sequence[str]) -> int:
    """Bytes that each of these GPUs has left of what TensorFlow may take of it, the least of them."""
    limits = {device.name: device.memory_limit for device in device_lib.list_local_devices()}
    used = {name: tf.config.experimental.get_memory_info(name.removeprefix("/device:"))["current"] for name in devices}
    return min(int(limits[name]) - int(used[name]) for name in devices)


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
