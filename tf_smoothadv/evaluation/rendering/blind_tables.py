"""The tables of a blind test, for a terminal, and their cells, for a page too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import rich.box
import rich.markup
import rich.table

from tf_smoothadv.blind import Sight
from tf_smoothadv.evaluation.records import Findings
from tf_smoothadv.evaluation.rendering.terminal import NONE

__all__ = ["IMAGES_SHOWN", "LEGEND", "cells", "observers", "tables", "told"]

IMAGES_SHOWN = 10
HEADINGS = ("N", "right", "95 %", "d'", "p", "")
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


def observers(findings: Findings) -> str:
    """How many observers count, and who does not."""
    left_out = f", left out {', '.join(findings.left_out)}" if findings.left_out else ""
    count = len(findings.observers)
    return f"{count} observer{'' if count == 1 else 's'}{left_out}"


def tables(findings: Findings, title: str) -> Iterator[rich.table.Table]:
    """What is seen of each attack, by each observer, and of the images that are seen most often."""
    attacks = [[name, *cells(one)] for name, one in findings.attacks.items()]
    yield _table(f"{title}: {told(findings)}", ["attack"], HEADINGS, attacks)
    catches = {name: f"{right} of {count}" for name, (right, count) in findings.catches.items()}
    by_observer = [[name, catches[name], *cells(one)] for name, one in findings.observers.items()]
    yield _table("by observer", ["observer", "catch"], HEADINGS, by_observer)
    images = [(attack, name, one) for attack, sights in findings.images.items() for name, one in sights.items()]
    images.sort(key=lambda row: (-row[2].share.value, -row[2].answers))
    first = f"the {IMAGES_SHOWN} of {len(images)} images seen most often" if len(images) > IMAGES_SHOWN else "by image"
    rows = [[attack, name, *cells(one)[:3]] for attack, name, one in images[:IMAGES_SHOWN]]
    yield _table(first, ["attack", "image"], HEADINGS[:3], rows)


def cells(sight: Sight | None) -> list[str]:
    """The numbers of a row; dashes where there are no answers."""
    if sight is None:
        return [NONE] * 6
    share = sight.share
    interval = f"{share.low:.3f}{NONE}{share.high:.3f}"
    numbers = [f"{share.value:.3f}", interval, f"{sight.d_prime:.2f}", f"{sight.p_holm:.2g}"]
    return [str(sight.answers), *numbers, sight.verdict]


def _table(title: str, names: list[str], headings: Sequence[str], rows: list[list[str]]) -> rich.table.Table:
    result = rich.table.Table(title=rich.markup.escape(title), box=rich.box.SIMPLE, padding=(0, 1, 0, 0))
    for name in names:
        result.add_column(name, overflow="fold")
    for heading in headings:
        result.add_column(heading, justify="right", overflow="fold", no_wrap=bool(heading))
    for row in rows:
        result.add_row(*map(rich.markup.escape, row))
    return result
