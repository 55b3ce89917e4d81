"""HTML pages that are one file: styles and script inside, all else escaped, no other script runs."""

from __future__ import annotations

import base64
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

__all__ = ["rendered"]

TEMPLATES = pathlib.Path(__file__).parent / "templates"
COMMON = "page"  # styles of all pages


def rendered(name: str, parts: Sequence[str] = (), **values: Any) -> str:
    """The page of the template NAME.html, with the script and the styles of its parts beside the styles of all pages.

    Args:
        name: of the template.
        parts: names of scripts, PART.js, which run in this order, and of styles, PART.css; by default the page's name.
        values: what it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = parts or (name,)
    files = {part: [TEMPLATES / f"{part}.{kind}" for kind in ("js", "css")] for part in (COMMON, *parts)}
    script = "".join(files[part][0].read_text() for part in parts)
    style = "".join(file.read_text() for _, file in files.values() if file.exists())
    return environment.get_template(f"{name}.html").render(
        values,
        style=Markup(style),
        script=Markup(script),
        # The browser runs this script and no other, whatever a name in the results may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
