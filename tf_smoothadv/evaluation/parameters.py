"""The parameters of attacks as plain values, for files and terminals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tf_smoothadv.attacks import Attack, optimizers
from tf_smoothadv.delivery import Delivery
from tf_smoothadv.masking import Masking
from tf_smoothadv.smoothing import Smoothing

__all__ = ["by_name", "described", "plain"]


def by_name(attacks: Mapping[str, Sequence[Attack]]) -> dict[str, Any]:
    """What `described` says of each attack."""
    return {name: described(variants) for name, variants in attacks.items()}


def described(variants: Sequence[Attack]) -> dict[str, Any]:
    """The parameters of attacks that run under one name; a parameter in which they differ is a list.

    What JSON can hold: an optimiser is given by its name.
    """
    configs = [
        {field.name: plain(getattr(attack, field.name)) for field in dataclasses.fields(attack)} for attack in variants
    ]
    values = {key: [config[key] for config in configs] for key in configs[0]}
    merged = {
        key: column[0] if all(value == column[0] for value in column) else column for key, column in values.items()
    }
    return {"attack": type(variants[0]).__name__, **merged}


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, Attack):
        return described([value])
    if isinstance(value, (Smoothing, Masking, Delivery)):
        return value.get_config()
    return optimizers.name_of(value) if callable(value) else value
