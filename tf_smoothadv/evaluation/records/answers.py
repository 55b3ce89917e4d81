"""Files of answers that the page of `eval.blind` saves, and what the page itself holds of its experiment."""

from __future__ import annotations

import base64
import collections
import dataclasses
import json
import pathlib
import re
import typing
from collections.abc import Sequence
from typing import Any

from tf_smoothadv import blind, checks
from tf_smoothadv.evaluation.records import schema

__all__ = ["CATCH", "VERSION", "Answers", "Experiment", "Findings", "packed", "read_answers", "read_experiment"]

VERSION = 1
CATCH = "catch"  # where an attack's name stands for a change that nobody overlooks
PLACE = re.compile(r'<script type="text/plain" id="experiment">([\w+/=]*)</script>')


@dataclasses.dataclass(frozen=True)
class Page:
    """Which page it is, and how it shows images.

    Attributes:
        identity: a hash of all that the page shows.
        design: one of `blind.DESIGNS`.
        seconds: how long the images of a trial are shown; 0 is until the answer.
        zoom: pixels of the screen a side for each of an image.
        magnified: whether images are shown by adversarial magnification.
    """

    identity: str
    design: str
    seconds: float
    zoom: int
    magnified: bool

    def page(self) -> dict[str, Any]:
        """These attributes by name, of whatever else knows them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Page)}


@dataclasses.dataclass(frozen=True)
class Experiment(Page):
    """What a page shows.

    Attributes:
        version: of the files.
        width: of the widest image, in its own pixels.
        training, trials: {"attack", "image", "catch", "original", "changed"} each, the last two places of pictures.
    """

    version: int
    width: int
    training: list[dict[str, Any]]
    trials: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Answers(Page):
    """What one observer answered on a page.

    Attributes:
        version: that of the page's `Experiment`.
        pseudonym: what the observer chose to be called.
        seed: of the order and the sides, drawn anew whenever the page is loaded.
        device_pixel_ratio: pixels of the screen for one of the page.
        screen: its width and height in pixels of the page.
        planned: how many trials the page has; fewer are answered if the observer stopped.
        trials: in the order shown.
    """

    version: int
    pseudonym: str
    seed: str
    device_pixel_ratio: float
    screen: tuple[int, int]
    planned: int
    trials: tuple[blind.Trial, ...]


@dataclasses.dataclass(frozen=True)
class Findings(Page):
    """What the answers of all observers come to.

    Attributes:
        attacks, observers: what is seen of each attack, and by each observer.
        images: by attack, of each of its images.
        catches: by observer, how many catch trials were right, and of how many.
        left_out: observers who overlooked too many of these, and count nowhere else.
    """

    attacks: dict[str, blind.Sight]
    observers: dict[str, blind.Sight]
    images: dict[str, dict[str, blind.Sight]]
    catches: dict[str, list[int]]
    left_out: list[str]


def packed(experiment: Experiment) -> str:
    """An experiment as the page has it, which nobody reads by accident."""
    return base64.b64encode(json.dumps(dataclasses.asdict(experiment)).encode()).decode()


def read_experiment(page: pathlib.Path) -> Experiment:
    """What a page shows.

    Raises:
        ValueError: it is not there, or no such page.
    """
    try:
        found = PLACE.search(page.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError("it holds no experiment")
        experiment = schema.built(Experiment, schema.parsed(base64.b64decode(found[1], validate=True)))
        checks.one_of("design", experiment.design, blind.DESIGNS)
        for trial in experiment.trials:
            schema.taken(trial, {"attack": str, "image": str, "catch": bool})
        return experiment
    except OSError as error:
        raise ValueError(
            f"cannot read {page}: {error.strerror}; --output names the page that was answered, python -m eval.blind "
            "makes it anew from the same folder with the same flags"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{page} is no page of eval.blind: {error}; --output names the one that was answered"
        ) from error


def read_answers(paths: Sequence[pathlib.Path], page: pathlib.Path) -> list[Answers]:
    """The answers in files, all of this page, each once.

    Raises:
        ValueError: a file that is damaged, of another page, or holds what another holds.
    """
    experiment = read_experiment(page)
    found: dict[str, pathlib.Path] = {}
    result = []
    for path in paths:
        answers = _read(path)
        if answers.identity != experiment.identity:
            raise ValueError(
                f"{path} holds answers to another page than {page}: name theirs by --output, or leave the file out"
            )
        try:
            _check(answers, experiment)
        except ValueError as error:
            raise ValueError(f"{_damaged(path)}: {error}") from error
        if answers.seed in found:
            raise ValueError(
                f"{found[answers.seed]} and {path} hold the same answers, of {answers.pseudonym!r}: leave one out"
            )
        found[answers.seed] = path
        result.append(answers)
    return result


def _read(path: pathlib.Path) -> Answers:
    """A file by itself."""
    try:
        values = schema.parsed(path.read_bytes())
        version = schema.taken(values, {"version": int})["version"]
        if version != VERSION:
            raise ValueError(f"its version is {version}, this program reads {VERSION}")
        trials = schema.taken(values, {"trials": list[dict[str, Any]]})["trials"]
        kinds = typing.get_type_hints(Answers)
        plain = schema.taken(values, {name: kind for name, kind in kinds.items() if name != "trials"})
        return Answers(**plain, trials=tuple(schema.built(blind.Trial, trial) for trial in trials))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{_damaged(path)}: {error}") from error


def _damaged(path: pathlib.Path) -> str:
    return f"{path} is not what the page saved; ask its observer for the file anew, or leave it out"


def _check(answers: Answers, experiment: Experiment) -> None:
    """Raises ValueError unless all the answers are to questions of the page, each at most as often as it asks."""
    for name, value in experiment.page().items():
        if getattr(answers, name) != value:
            raise ValueError(f"{name} is {getattr(answers, name)!r}, the page's is {value!r}")
    if not answers.trials:
        raise ValueError("it holds no answers")
    if not answers.pseudonym.isprintable():
        raise ValueError(f"pseudonym must be printable; received {answers.pseudonym!r}")
    choices = blind.DESIGNS[experiment.design]
    truths = [None] if experiment.design == "pair" else choices  # a single image is shown once unchanged, once changed
    asked = collections.Counter(
        (one["attack"], one["image"], one["catch"], truth) for one in experiment.trials for truth in truths
    )
    for trial in answers.trials:
        if trial.truth not in choices or trial.answer not in choices:
            raise ValueError(f"an answer must be one of {', '.join(choices)}; received {trial.truth} {trial.answer}")
        if not trial.ms >= 0:  # also of NaN
            raise ValueError(f"ms must be at least 0; received {trial.ms}")
        key = trial.attack, trial.image, trial.catch, None if experiment.design == "pair" else trial.truth
        if not asked[key]:
            raise ValueError(f"the page does not ask so often about {trial.attack!r} on {trial.image!r}")
        asked[key] -= 1
