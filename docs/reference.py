"""Writes docs/reference.md from the docstrings: `python -m docs.reference`, or `make reference`."""

from __future__ import annotations

import inspect
import pathlib
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import models
import tf_smoothadv as sa
from tf_smoothadv.evaluation import config, run

PAGE = pathlib.Path(__file__).with_suffix(".md")
MODULES = (
    sa,
    sa.attacks,
    sa.criteria,
    sa.defenses,
    sys.modules["tf_smoothadv.delivery"],
    sa.detection,
    sa.magnification,
    sa.metrics,
    sys.modules["tf_smoothadv.visibility"],
    sys.modules["tf_smoothadv.optimality"],
    sys.modules["tf_smoothadv.robustness"],
    sys.modules["tf_smoothadv.blind"],
    sa.protocol,
    sys.modules["tf_smoothadv.front"],
    sa.transfer,
    config,
    run,
    models,
    models.slim,
)
HEAD = """# Reference

Every public name, made from the docstrings by `make reference`. Numbers in round brackets are the paper's equations and
sections. Images are [batch, height, width, channels] in [0, 1]; a model gives logits [batch, classes].
"""
WIDTH = 100
SOLID = "\N{NO-BREAK SPACE}"


class Verbatim(str):
    """An annotation that a signature shows without quotes."""

    __repr__ = str.__str__


def public(module: types.ModuleType) -> dict[str, Any]:
    """What a module's `__all__` names, or else its own functions and classes; no modules."""
    own = [name for name, item in vars(module).items() if getattr(item, "__module__", None) == module.__name__]
    found = {name: getattr(module, name) for name in getattr(module, "__all__", own) if not name.startswith("_")}
    return {name: item for name, item in found.items() if not inspect.ismodule(item)}


def items() -> dict[str, Any]:
    """Every public thing by the first of its names."""
    found: dict[str, Any] = {}
    for module in MODULES:
        for name, item in public(module).items():
            if not any(item is other for other in found.values()):
                found[f"{module.__name__}.{name}"] = item
    return found


def page() -> str:
    """The reference, Markdown."""
    parts = [HEAD.strip()]
    for module in MODULES:
        own = {name: item for name, item in items().items() if name.rpartition(".")[0] == module.__name__}
        links = [f"[{name.rpartition('.')[2]}](#{name.replace('.', '').lower()})" for name in own]
        parts += [f"## {module.__name__}", markdown(module.__doc__ or ""), ", ".join(links)]
        for name, item in own.items():
            parts += [f"### {name}", *described(name.rpartition(".")[2], item)]
    return "\n\n".join(parts) + "\n"


def described(name: str, item: Any) -> Iterator[str]:
    """The parts of an item: a constant's values; a signature and a docstring; of a class, its methods' too."""
    if not callable(item):
        yield ", ".join(f"`{value}`" for value in item)
        return
    constructor = item.__new__ if inspect.isclass(item) and issubclass(item, tuple) else item
    yield code(signature(name, constructor.__init__ if inspect.isclass(constructor) else constructor))
    yield markdown(item.__doc__ or "")
    for method_name, method in vars(item).items() if inspect.isclass(item) else ():
        function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
        shown = not method_name.startswith("_") or method_name == "__call__"
        if shown and inspect.isfunction(function) and function.__doc__:
            call = signature(method_name, function)
            yield f"#### {name}.{method_name}"
            yield code(call.replace("()", "", 1) if isinstance(method, property) else call)
            yield markdown(function.__doc__)


def signature(name: str, function: Callable[..., Any]) -> str:
    """The call as the source writes it, without `self` or `cls`."""
    found = inspect.signature(function)
    arguments = [
        argument.replace(annotation=as_written(argument.annotation))
        for argument in found.parameters.values()
        if argument.name not in ("self", "cls", "_cls")
    ]
    made = inspect.isfunction(function) and function.__name__ in ("__init__", "__new__")
    result = inspect.Signature.empty if made else as_written(found.return_annotation)
    call = name + str(found.replace(parameters=arguments, return_annotation=result))
    solid = re.sub("(?<!,) ", SOLID, call)  # to be broken between arguments alone
    lines = textwrap.wrap(solid, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(SOLID, " ")


def as_written(annotation: Any) -> Any:
    """An annotation of the source, which is a string there, without its quotes."""
    text = getattr(annotation, "__forward_arg__", annotation)
    return Verbatim(text) if isinstance(text, str) else annotation


def markdown(docstring: str) -> str:
    """A docstring with its sections as lists and its examples as code."""
    parts = []
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        title, _, body = paragraph.partition("\n")
        if title.startswith(">>>"):
            parts.append(code(paragraph))
        elif re.fullmatch(r"[A-Z][a-z ]+:", title) and body.startswith(" "):
            parts += [f"**{title}**", listed(textwrap.dedent(body))]
        else:
            parts.append(textwrap.dedent(paragraph))
    return "\n\n".join(parts)


def listed(section: str) -> str:
    """Lines of `name: text` as a list; any other text as it is."""
    lines = re.sub(r"\n +", " ", section).splitlines()
    entries = [re.fullmatch(r"(\w+(?:, \w+)*): (.*)", line) for line in lines]
    if not all(entries):
        return section
    return "\n".join(f"- `{entry[1]}`: {entry[2]}" for entry in entries if entry)


def code(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```"


if __name__ == "__main__":
    PAGE.write_text(page())
