"""What a folder's records were made with against what a run would make: the same, more, or something else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_read", "begins", "different", "grown"]

IMAGES = "images"
ATTACKS = "attacks"
BEGINS = "begins"


def different(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first setting in which these differ."""
    return next((key for key in [*old, *new] if old.get(key) != new.get(key)), None)


def grown(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether new settings are the old ones, with more attacks or with more images behind the old ones."""
    try:
        images = old[IMAGES]
        more = all(new[ATTACKS].get(name) == parameters for name, parameters in old[ATTACKS].items())
        expected = {**new, ATTACKS: old[ATTACKS], IMAGES: images, BEGINS: old.get(BEGINS)}
        followed = new[IMAGES][: len(images)] == images and tuple(new.get(BEGINS, ())) == begins(old, new[IMAGES])
    except (AttributeError, KeyError, TypeError):  # of another kind, or damaged
        return False
    return more and followed and different(old, expected) is None


def begins(settings: Mapping[str, Any], names: Sequence[str]) -> tuple[int, ...]:
    """The indices at which a run on these images begins a new batch, where it goes on in a folder with fewer of them.

    Args:
        settings: of the folder, see `settings_of`.
        names: of the images.

    >>> begins({"images": ["a", "b"]}, ["a", "b", "c"]), begins({"images": ["a", "b"]}, ["a", "b"]), begins({}, ["a"])
    ((2,), (), ())
    """
    before, known = settings.get(IMAGES), settings.get(BEGINS) or []
    if not (isinstance(before, list) and isinstance(known, list)):  # damaged, and refused for that
        return ()
    return (*known, len(before)) if 0 < len(before) < len(names) else tuple(known)


def as_read(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they come back from the file."""
    values: dict[str, Any] = json.loads(json.dumps(settings))
    return values
