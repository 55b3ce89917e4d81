"""What JSON files hold: values by name, of the types that annotations say."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import reprlib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["built", "fits", "parsed", "read", "taken"]

T = TypeVar("T")


def read(path: pathlib.Path) -> dict[str, Any]:
    """The values in a file.

    Raises:
        ValueError: it does not hold values by name.
    """
    try:
        return parsed(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; restore it, or make the results anew") from error


def parsed(text: bytes) -> dict[str, Any]:
    """The values of a JSON object; ValueError for anything else."""
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"it must hold a JSON object; received {reprlib.repr(values)}")
    return values


def built(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from values by name; those that have a default may be missing.

    Raises:
        ValueError: one that is missing, of another type, or refused.
    """
    optional = {
        field.name
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
    }
    hints = typing.get_type_hints(kind).items()
    return kind(**taken(values, {name: hint for name, hint in hints if name in values or name not in optional}))


def taken(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The values of these names, if they are of these types; what JSON has no form of its own for is restored.

    For a float that is NaN, which is null there, and a tuple, which is a list.

    Raises:
        ValueError: one that is missing or of another type.
    """
    result: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name not in values:
            raise ValueError(f"it lacks {name}")
        if dataclasses.is_dataclass(kind):
            if not isinstance(values[name], dict):
                raise ValueError(f"{name} must hold values by name; received {reprlib.repr(values[name])}")
            try:
                result[name] = built(kind, values[name])  # type: ignore[arg-type]
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            continue
        value = math.nan if kind is float and values[name] is None else values[name]
        if not (fits(value, kind) or (kind is float and value is math.nan)):
            raise ValueError(f"{name} must be of the type {_name(kind)}; received {reprlib.repr(value)}")
        result[name] = _tuples(value) if typing.get_origin(kind) is tuple else value
    return result


def fits(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of a type, as annotations say it; numbers are finite and of at most 64 bits."""
    inner = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return any(fits(value, one) for one in inner)
    if typing.get_origin(kind) is tuple:
        if type(value) is not list:
            return False
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    if inner:  # list[V] or dict[str, V]
        parts = value.values() if isinstance(value, dict) else value
        return type(value) is typing.get_origin(kind) and all(fits(part, inner[-1]) for part in parts)
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if kind is int:
        return type(value) is int and abs(value) < 2**63
    return kind is Any or type(value) is kind


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
