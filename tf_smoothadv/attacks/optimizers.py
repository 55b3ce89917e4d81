"""The descent of C&W: Adam as TensorFlow operations, or any Keras optimiser inside the compiled loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

__all__ = ["ADAM", "Factory", "Optimizer", "State", "made", "name_of", "of"]

Factory = Callable[..., Any]
State = Any


class Optimizer(NamedTuple):
    """An optimiser of one tensor.

    Attributes:
        begin: from the value at the start to the optimiser's first state.
        step: from (value, state, gradient, learning rate) to the next value and state.
    """

    begin: Callable[[tf.Tensor], State]
    step: Callable[[tf.Tensor, State, tf.Tensor, tf.Tensor], tuple[tf.Tensor, State]]


def _adam_begin(value: tf.Tensor) -> State:
    return tf.zeros_like(value), tf.zeros_like(value), tf.zeros([], value.dtype)


def _adam_step(value: tf.Tensor, state: State, gradient: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, State]:
    first, second, t = state
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * tf.square(gradient)
    t += 1
    update = (first / (1 - 0.9**t)) / (tf.sqrt(second / (1 - 0.999**t)) + 1e-8)
    return value - rate * update, (first, second, t)


ADAM = Optimizer(_adam_begin, _adam_step)  # https://arxiv.org/abs/1412.6980, algorithm 1


def made(factory: Factory) -> Any:
    """The Keras optimiser that a factory makes when it is called with `learning_rate=`.

    Raises:
        ValueError: it makes none, or one whose learning rate cannot be set.
    """
    try:
        hash(factory)  # attacks are looked up by their settings
        optimizer = factory(learning_rate=1.0)
        if not hasattr(optimizer, "apply_gradients"):
            raise TypeError(f"it makes {optimizer!r}")
        optimizer.learning_rate = 1.0  # refused where it follows a schedule
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "optimizer must be what makes a Keras optimiser of learning_rate=, a number that can be set anew, such as "
            f"keras.optimizers.AdamW; received {name_of(factory)}: {error}"
        ) from error
    return optimizer


def of(factory: Factory, shape: tuple[int | None, ...]) -> Optimizer:
    """A Keras optimiser of a tensor of this shape, fully known, on Keras 2 and 3; to be made before a loop is traced.

    What its variables hold at first is kept: every descent begins with it. What is optimised is how far the value has
    moved from its start, so that nothing depends on where that is.

    Raises:
        ValueError: see `made`.
    """
    variables, initials = [], []

    def recorded(create: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
        variable = create(**kwargs)
        variables.append(variable)
        initials.append(tf.identity(variable))
        return variable

    with tf.variable_creator_scope(recorded):
        moved = tf.Variable(tf.zeros(shape))
        optimizer = made(factory)
        optimizer.apply_gradients([(tf.zeros(shape), moved)])  # many make their variables only now

    def begin(start: tf.Tensor) -> State:
        for variable, initial in zip(variables, initials):
            variable.assign(initial)
        return start

    def step(value: tf.Tensor, start: State, gradient: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, State]:
        moved.assign(value - start)  # the attack may have gone back
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients([(gradient, moved)])
        return start + moved, start

    return Optimizer(begin, step)


def name_of(factory: Any) -> str:
    """A factory as it is written, "AdamW(weight_decay=0.001)" for a `functools.partial`."""
    if isinstance(factory, functools.partial):
        arguments = [*map(repr, factory.args), *(f"{name}={value!r}" for name, value in factory.keywords.items())]
        return f"{name_of(factory.func)}({', '.join(arguments)})"
    return getattr(factory, "__qualname__", repr(factory))
