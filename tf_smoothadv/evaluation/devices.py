"""The devices that an evaluation runs on."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from tf_smoothadv import checks

__all__ = ["ALL", "strategy"]

ALL = "all"


def strategy(devices: str | int = ALL) -> tf.distribute.Strategy:
    """The strategy in whose scope networks are loaded and attacked, so that each batch is spread over several devices.

    Args:
        devices: "all", every GPU that TensorFlow sees; or how many of them. Where there is none, so many logical ones
            of the CPU, which share its cores: they show what several GPUs do, and are no faster.

    Raises:
        ValueError: another word or number, more GPUs than there are, or logical ones in a process that has begun with
            others.

    >>> with strategy(1).scope():
    ...     tf.distribute.get_strategy().num_replicas_in_sync
    1
    """
    gpus = []
    if tf.config.list_physical_devices("GPU"):  # to look for logical ones is to begin with what there is
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if devices != ALL:
        checks.count("devices", devices)
    count = len(gpus) if devices == ALL else int(devices)
    if count <= 1:
        return tf.distribute.get_strategy()
    if gpus and count > len(gpus):
        raise ValueError(f"devices must be at most the {len(gpus)} GPUs of this machine; received {count}")
    names = gpus[:count] if gpus else _logical(count)
    return tf.distribute.MirroredStrategy(names)


def _logical(count: int) -> list[str]:
    """The names of so many logical devices of the CPU, which are made if TensorFlow has not begun with its own."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    # Refused, with RuntimeError, once the devices are in use.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(names) < count:
        raise ValueError(f"devices must be set before TensorFlow begins with {len(names)} of the CPU; received {count}")
    return names[:count]
