"""One batch over several devices: each replica of a `tf.distribute` strategy gets its share of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["check_variables", "spread", "strategy"]


def strategy() -> tf.distribute.Strategy | None:
    """The strategy in whose scope this is called, if it has several replicas; else None.

    Raises:
        ValueError: a strategy over several machines.
    """
    current = tf.distribute.get_strategy()
    replicas = current.num_replicas_in_sync
    if replicas == 1 or not tf.distribute.in_cross_replica_context():
        return None
    if len(current.extended.worker_devices) != replicas:
        raise ValueError(f"the strategy must have its {replicas} replicas in one machine, as MirroredStrategy has")
    return current


def spread(run: Callable[..., Any], strategy: tf.distribute.Strategy, of_images: Sequence[bool]) -> Callable[..., Any]:
    """A function that does what `run` does, a share of the images on each replica, all at the same time.

    Of n replicas each gets every n-th image, so that none is without as long as there are images for all. Where they
    cannot be equal, the last image fills up the shares, and what comes out for it again is left away.

    Args:
        run: from tensors to a structure of tensors [B, ...], one entry an image, which no other image changes; made of
            TensorFlow operations.
        strategy: the replicas.
        of_images: of each argument, whether it is [B, ...], one entry an image; the others are every replica's. The
            first one is.

    >>> one = tf.distribute.get_strategy()
    >>> spread(lambda x, y: x + y, one, (True, False))(tf.constant([1, 2, 3]), 10).numpy()
    array([11, 12, 13], dtype=int32)
    """
    replicas = strategy.num_replicas_in_sync

    def on_all(*arguments: tf.Tensor) -> Any:
        count = tf.shape(arguments[0])[0]
        share = (count + replicas - 1) // replicas

        def on_one() -> Any:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = tf.minimum(replicas * tf.range(share) + replica, count - 1)
            return run(*(tf.gather(each, mine) if part else each for each, part in zip(arguments, of_images)))

        def joined(shares: Any) -> tf.Tensor:
            rows = tf.stack(strategy.experimental_local_results(shares), axis=1)
            return tf.reshape(rows, tf.concat([[share * replicas], tf.shape(rows)[2:]], 0))[:count]

        return tf.nest.map_structure(joined, strategy.run(on_one))

    return on_all


def check_variables(function: Any, strategy: tf.distribute.Strategy) -> None:
    """Raises ValueError where a compiled function of `spread` takes its variables from some of the devices alone.

    They would be copied from there to the others at each step.
    """
    devices = {tensor.device for tensor in function.captured_inputs if tensor.dtype == tf.resource}
    if 0 < len(devices) < strategy.num_replicas_in_sync:
        raise ValueError(
            "the model must have its variables on every device of the strategy: load or build it inside of "
            "strategy.scope(), or attack it outside of that"
        )
