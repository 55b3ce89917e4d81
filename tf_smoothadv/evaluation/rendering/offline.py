"""HTML pages that are one file: styles and script inside, all else escaped, no other script runs."""

from __future__ import annotations

import base64
import hashlib
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup

__all__ = ["rendered"]

TEMPLATES = pathlib.Path(__file__).parent / "templates"
STYLE = "report.css"  # what all pages have in common


def rendered(name: str, **values: Any) -> str:
    """The page of the template NAME.html, with NAME.js and the styles of NAME.css beside those of all pages.

    Args:
        name: of the template.
        values: what it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / f"{name}.js").read_text()
    style = "".join((TEMPLATES / file).read_text() for file in dict.fromkeys((STYLE, f"{name}.css")))
    return environment.get_template(f"{name}.html").render(
        values,
        style=Markup(style),
        script=Markup(script),
        # The browser runs this script and no other, whatever a name in the results may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
