"""How results show themselves in a notebook: small tables of numbers and pictures, in HTML."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["MOST", "lines", "picture", "table"]

SIDE = 96  # pixels that a picture has on the screen
MOST = 4  # pictures that are shown of a batch


class _Picture(str):
    """The HTML of a picture, which a table takes as it is."""


def picture(image: Any) -> _Picture:
    """An image [H, W, C] in [0, 1] as an HTML element, its pixels those of a PNG.

    >>> picture(np.zeros([2, 2, 1])).startswith('<img src="data:image/png;base64,')
    True
    """
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    encoded = base64.b64encode(tf.io.encode_png(pixels).numpy()).decode()
    style = f"width:{SIDE}px;image-rendering:pixelated"
    return _Picture(f'<img src="data:image/png;base64,{encoded}" style="{style}">')


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as HTML, its cells texts or pictures.

    >>> table(["attack", "P"], [["fgsm", "1.000"]])
    '<table><tr><th>attack</th><th>P</th></tr><tr><td>fgsm</td><td>1.000</td></tr></table>'
    """

    def row(cells: Iterable[Any], kind: str) -> str:
        shown = (cell if isinstance(cell, _Picture) else html.escape(str(cell)) for cell in cells)
        return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in shown) + "</tr>"

    return "<table>" + row(headings, "th") + "".join(row(cells, "td") for cells in rows) + "</table>"


def lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same as lines of text, in columns.

    >>> print(lines(["attack", "P"], [["fgsm", "1.000"]]))
    attack      P
    fgsm    1.000
    """
    cells = [list(headings), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in cells
    )
