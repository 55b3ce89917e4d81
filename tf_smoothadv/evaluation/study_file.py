"""A study's file: networks, datasets, and the attacks that each network faces on each dataset, in TOML."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import tomllib
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from tf_smoothadv import checks
from tf_smoothadv.classifier import Classifier
from tf_smoothadv.evaluation import front
from tf_smoothadv.evaluation.config import BYTES, Config
from tf_smoothadv.evaluation.records import schema
from tf_smoothadv.front import ALPHAS

__all__ = ["Run", "Study", "Transfer", "read"]

GROUP = ("attacks", "settings", "delivery", "gradients")
KEYS: dict[str, tuple[str, ...]] = {
    "networks": ("model", "outputs", "input_range", "samples", "output_name", "import"),
    "datasets": (
        "dataset",
        "data",
        "num_images",
        "networks",
        "image_size",
        "resize",
        "resolution",
        "labels",
        "targets",
        "batch_size",
        "visibility",
    ),
    "attacks": (*GROUP, "epsilon", "confidence", "epsilons"),
    "fronts": ("attacks", "alphas", "maskings", "gradients", "premium", "pick"),
    "transfers": ("sources", "targets", *GROUP),
}
EVERY = ("save_images", "jit_compile")  # of the whole file
GROUPS = ("attacks", "fronts", "transfers")
REQUIRED = {"attacks": ("attacks",), "fronts": ("attacks",), "transfers": ("sources", "targets", "attacks")}
FRONT = {"delivery": BYTES, "save_images": True, "alphas": ALPHAS}  # of every front
USAGE = ("outputs", "input_range", "samples", "output_name")
TEXTS = tuple[str, ...]
IN_CONFIG = {("networks", "import"): "imports", ("datasets", "targets"): "aim"}  # what it is called there
ELSE = {"networks": TEXTS, "sources": TEXTS, "targets": TEXTS, "premium": float, "pick": str, "output": str}
KINDS = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    tuple[float, float]: "two numbers",
    tuple[float, ...]: "a list of numbers",
    TEXTS: "a list of texts",
}
FOLDER = re.compile(r"\w[\w.+-]*")


class Run(NamedTuple):
    """A group of attacks on a network, on a dataset.

    Attributes:
        told: what it is, for people.
        network, dataset, group: the names of its tables.
        model: what is loaded, as `--model` takes it.
        config: what it is made with.
        where: the dataset's and the group's tables in the file, for messages.
        pick: (premium, pick) as `front.evaluate` takes them; None for a run without a front.
    """

    told: str
    network: str
    dataset: str
    group: str
    model: str
    config: Config
    where: tuple[str, str]
    pick: tuple[float, str] | None = None


class Transfer(NamedTuple):
    """Attacks on source networks, shown to all.

    Attributes:
        told: what it is, for people.
        dataset, group: the names of its tables.
        sources: the names of the networks' tables.
        models: by the names of all networks, what is loaded.
        config, where: see `Run`.
    """

    told: str
    dataset: str
    group: str
    sources: tuple[str, ...]
    models: dict[str, str]
    config: Config
    where: tuple[str, str]


class Study(NamedTuple):
    """What a file asks for.

    Attributes:
        output: the folder of all results.
        runs, transfers: in the order in which they are made.
    """

    output: pathlib.Path
    runs: list[Run]
    transfers: list[Transfer]


class _Table(NamedTuple):
    """A table of the file: where it stands, for messages, and its values by their keys."""

    where: str
    values: dict[str, Any]


_Tables = Mapping[str, Mapping[str, _Table]]


def read(path: str | pathlib.Path) -> Study:
    """The study that a file asks for.

    Raises:
        ValueError: a file that cannot be read, or is no TOML; which table and key is unknown, missing, of another type
            or out of range, and what is allowed.
    """
    try:
        content = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise ValueError(f"{path} is no TOML: {error}") from error
    common = {key: value for key, value in content.items() if key not in KEYS}
    whole = _typed(_Table(str(path), common), "", ("output", *EVERY, *KEYS))
    tables = {kind: _tables(path, kind, content.get(kind, {})) for kind in KEYS}
    for needed in (("networks",), ("datasets",), GROUPS):
        if not any(tables[kind] for kind in needed):
            raise ValueError(f"{path} must have a table {' or '.join(f'[{kind}.NAME]' for kind in needed)}")
    names = [name for kind in GROUPS for name in tables[kind]]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: attacks, fronts and transfers must have names of their own; two are {name!r}")
    output = pathlib.Path(whole.get("output", "results/study"))
    common = {key: whole[key] for key in EVERY if key in whole}
    return Study(output, list(_runs(tables, output, common)), list(_transfers(tables, output, common)))


def _runs(tables: _Tables, output: pathlib.Path, common: Mapping[str, Any]) -> Iterator[Run]:
    """Every group of attacks on every network, on each dataset that is for it."""
    for network, of_network in tables["networks"].items():
        for dataset, of_dataset in tables["datasets"].items():
            groups = [(kind, *item) for kind in ("attacks", "fronts") for item in tables[kind].items()]
            for kind, group, table in groups if network in _networks(tables, of_dataset, "networks") else ():
                own = FRONT if kind == "fronts" else {}
                where = {"model": network, "output": output / dataset / network / group}
                values = {**common, **own, **_known(of_network), **_known(of_dataset), **_known(table), **where}
                pick = (table.values.get("premium", 1.5), table.values.get("pick", front.SMOOTHEST))
                yield Run(
                    f"{network} on {dataset}, {group}",
                    network,
                    dataset,
                    group,
                    of_network.values.get("model", network),
                    Config(**values),
                    (of_dataset.where, table.where),
                    pick if kind == "fronts" else None,
                )


def _transfers(tables: _Tables, output: pathlib.Path, common: Mapping[str, Any]) -> Iterator[Transfer]:
    """Every transfer on each dataset that is for its networks."""
    for group, table in tables["transfers"].items():
        sources, targets = (_networks(tables, table, role) for role in ("sources", "targets"))
        used = {name: tables["networks"][name] for name in dict.fromkeys((*sources, *targets))}
        usages = [Config(**{key: of.values[key] for key in USAGE if key in of.values}).usage() for of in used.values()]
        if any(usage != usages[0] for usage in usages):
            raise ValueError(f"{table.where}: its networks must have the same {', '.join(USAGE)}")
        imports = tuple(dict.fromkeys(name for of in used.values() for name in of.values.get("imports", ())))
        for dataset, of_dataset in tables["datasets"].items():
            if not set(used) <= set(_networks(tables, of_dataset, "networks")):
                continue
            values = {**common, **usages[0], **_known(of_dataset), **_known(table), "imports": imports}
            config = Config(**values, output=output / dataset / group)
            if config.aim is not None or config.labels != "given":
                raise ValueError(
                    f"{of_dataset.where}: a transfer has no targets and no predicted labels; {group!r} is one"
                )
            yield Transfer(
                f"{group} on {dataset}",
                dataset,
                group,
                sources,
                {name: of.values.get("model", name) for name, of in used.items()},
                config,
                (of_dataset.where, table.where),
            )


def _tables(path: str | pathlib.Path, kind: str, content: Any) -> dict[str, _Table]:
    """The tables of one kind by their names, each checked."""
    if not isinstance(content, dict) or not all(isinstance(values, dict) for values in content.values()):
        raise ValueError(f"{path}: {kind} must be tables, [{kind}.NAME]")
    tables = {name: _Table(f"{path}, [{kind}.{name}]", values) for name, values in content.items()}
    for name, table in tables.items():
        if not FOLDER.fullmatch(name):
            raise ValueError(f"{table.where}: a name must be letters, digits, _, -, + or points, as of a folder")
        for key in REQUIRED.get(kind, ()):
            if key not in table.values:
                raise ValueError(f"{table.where} must have the key {key}")
        tables[name] = table = table._replace(values=_typed(table, kind, KEYS[kind]))
        with _named(table):
            config = Config(**{**(FRONT if kind == "fronts" else {}), **_known(table)})
            Classifier(len, **config.usage())
            checks.in_range("premium", table.values.get("premium", 1), 1)
            checks.one_of("pick", table.values.get("pick", front.SMOOTHEST), front.PICKS)
    return tables


def _typed(table: _Table, kind: str, keys: Collection[str]) -> dict[str, Any]:
    """The values of a table, of the types that they must have, by the names that they have in a `Config`."""
    hints = {**typing.get_type_hints(Config), **ELSE}
    values = {}
    for key, value in table.values.items():
        if key not in keys:
            raise ValueError(f"{table.where}: unknown key {key!r}; the keys are {', '.join(keys)}")
        name = IN_CONFIG.get((kind, key), key)
        hint = hints[name]
        if isinstance(hint, types.UnionType):  # of which TOML has no None
            (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
        if not schema.fits(value, hint):
            raise ValueError(f"{table.where}: {key} must be {KINDS[hint]}; received {value!r}")
        if value == []:
            raise ValueError(f"{table.where}: {key} must name at least one; received none")
        values[name] = tuple(value) if isinstance(value, list) else value
    return values


def _known(table: _Table) -> dict[str, Any]:
    """The values of a table that are a `Config`'s."""
    fields = {field.name for field in dataclasses.fields(Config)}
    return {name: value for name, value in table.values.items() if name in fields}


def _networks(tables: _Tables, table: _Table, key: str) -> tuple[str, ...]:
    """The names of networks that a table names; by default all."""
    names: tuple[str, ...] = table.values.get(key, tuple(tables["networks"]))
    for name in names:
        with _named(table):
            checks.one_of(key, name, tables["networks"])
    return names


@contextlib.contextmanager
def _named(table: _Table) -> Iterator[None]:
    """Tells of a ValueError inside in which table it is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{table.where}: {error}") from error
