"""The tables of a blind test, for a terminal, and their cells, for a page too."""

from __future__ import annotations

from collections.abc import Iterator

import rich.box
import rich.markup
import rich.table

from tf_smoothadv.blind import Sight
from tf_smoothadv.evaluation.records import Findings
from tf_smoothadv.evaluation.rendering.terminal import NONE

__all__ = ["IMAGES_SHOWN", "LEGEND", "cells", "tables", "told"]

IMAGES_SHOWN = 10
LEGEND = (
    "right: share of right answers, 0.5 by chance, with its exact 95 % confidence interval (Clopper-Pearson). d': 0 is "
    "unseen, 1 is right in 0.76 of pairs. p: one-sided binomial test against chance, corrected for the number of rows "
    "(Holm); at most 0.05 is seen. Trials count as independent, which those of one observer and of one image are not."
)


def told(findings: Findings) -> str:
    """How images were shown."""
    shown = "pairs" if findings.design == "pair" else "single images"
    time = f"{findings.seconds:g} s" if findings.seconds else "until the answer"
    return f"{shown}{', magnified' if findings.magnified else ''}, {time}, zoom {findings.zoom}"


def tables(findings: Findings, title: str) -> Iterator[rich.table.Table]:
    """What is seen of each attack, by each observer, and of the images that are seen most often."""
    yield _table(f"{title}: {told(findings)}", ["attack"], [([name], one) for name, one in findings.attacks.items()])
    rows = [([name, _of(findings.catches[name])], one) for name, one in findings.observers.items()]
    yield _table("by observer", ["observer", "catch"], rows)
    images = [([attack, name], one) for attack, sights in findings.images.items() for name, one in sights.items()]
    images.sort(key=lambda row: (-row[1].share.value, -row[1].answers))
    first = f"the {IMAGES_SHOWN} of {len(images)} images seen most often" if len(images) > IMAGES_SHOWN else "by image"
    yield _table(first, ["attack", "image"], images[:IMAGES_SHOWN])


def cells(sight: Sight | None) -> list[str]:
    """The numbers of a row; dashes where there are no answers."""
    if sight is None:
        return [NONE] * 6
    share = sight.share
    interval = f"{share.low:.3f}{NONE}{share.high:.3f}"
    numbers = [f"{share.value:.3f}", interval, f"{sight.d_prime:.2f}", f"{sight.p_holm:.2g}"]
    return [str(sight.answers), *numbers, sight.verdict]


def _table(title: str, names: list[str], rows: list[tuple[list[str], Sight]]) -> rich.table.Table:
    result = rich.table.Table(title=rich.markup.escape(title), box=rich.box.SIMPLE, padding=(0, 1, 0, 0))
    for name in names:
        result.add_column(name, overflow="fold")
    for heading in ("N", "right", "95 %", "d'", "p"):
        result.add_column(heading, justify="right", no_wrap=True)
    result.add_column("", overflow="fold")
    for texts, sight in rows:
        result.add_row(*map(rich.markup.escape, texts), *cells(sight))
    return result


def _of(count: tuple[int, int]) -> str:
    return f"{count[0]} of {count[1]}"
