"""The blind test over a folder of results: its page, and what the answers to it come to."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import rich.console

from tf_smoothadv import blind, checks
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.rendering import blind_page, blind_tables

__all__ = ["PAGE", "make", "score"]

PAGE = "blind.html"


def make(
    folder: str | pathlib.Path,
    output: str | pathlib.Path | None = None,
    *,
    attacks: Sequence[str] = (),
    num_images: int = 20,
    design: str = "pair",
    seconds: float = 5,
    zoom: int = 1,
    magnified: bool = False,
    catch: float = 0.1,
) -> str:
    """Writes the page in which persons say what they see.

    Only images on which an attack succeeded as delivered are shown, of each attack the first `num_images` of them.

    Args:
        folder: results of `eval.white_box` with --save_images, or of what writes the same.
        output: the file to write; by default blind.html in the folder.
        attacks: which of those in the folder; by default all.
        num_images: at most so many images of each attack.
        design, seconds, zoom, magnified, catch: see `blind_page.page`.

    Returns:
        What the page has, in a line.

    Raises:
        ValueError: a folder without such results or without the images, an attack that it does not have, no success,
            or a setting out of its range.
    """
    checks.one_of("design", design, blind.DESIGNS)
    checks.count("num_images", num_images)
    checks.count("zoom", zoom)
    checks.in_range("seconds", seconds, 0)
    checks.in_range("catch", catch, 0, 0.5, open_high=False)
    finished = records.read(pathlib.Path(folder))
    successes = finished.successes()
    for attack in attacks:
        checks.one_of("attack", attack, successes)
    shown = {attack: successes[attack][:num_images] for attack in dict.fromkeys(attacks) or successes}
    if not any(shown.values()):
        raise ValueError(f"a blind test needs an attack that succeeds; in {folder} {', '.join(shown)} never did")
    finished.check_pictures(shown)
    text, experiment = blind_page.page(
        finished, shown, design=design, seconds=seconds, zoom=zoom, magnified=magnified, catch=catch
    )
    path = pathlib.Path(output or finished.folder / PAGE)
    with records.writing(path):
        path.write_text(text, encoding="utf-8")
    counts = ", ".join(f"{attack} {len(images)} of {len(successes[attack])}" for attack, images in shown.items())
    catches = sum(trial["catch"] for trial in experiment.trials)
    times = 1 if design == "pair" else 2  # a single image comes changed and unchanged
    return (
        f"{path}: images on which the attack succeeded, {counts}; {times * len(experiment.trials)} trials, "
        f"{times * catches} of them catch trials; {len(text) / 1e6:.2g} MB"
    )


def score(
    folder: str | pathlib.Path,
    answers: Iterable[str | pathlib.Path],
    page: str | pathlib.Path | None = None,
    *,
    catch_least: float = 0.75,
) -> records.Findings:
    """What the answers to a page come to: what is seen of each attack, by each observer, of each image.

    Writes blind.json beside summary.json and prints the tables, and the name of every observer who is left out.
    Intervals and p-values are those of `tf_smoothadv.blind.sights`, which takes trials for independent.

    Args:
        folder: the results that the page was made of.
        answers: the files that it saved.
        page: the page; by default blind.html in the folder.
        catch_least: observers with a smaller share of right answers in catch trials are left out.

    Raises:
        ValueError: a folder without results; files that are missing, damaged, there twice, or of another page; attacks
            that the folder does not have; no observer who is not left out.
    """
    checks.in_range("catch_least", catch_least, 0, 1, open_high=False)
    finished = records.read(pathlib.Path(folder))
    page = pathlib.Path(page or finished.folder / PAGE)
    experiment = records.read_experiment(page)
    unknown = {trial["attack"] for trial in experiment.trials if not trial["catch"]} - set(finished.attacks)
    if unknown:
        raise ValueError(
            f"{page} shows {min(unknown)}, an attack that {folder} does not have: name the page's own folder"
        )
    by_observer: dict[str, list[blind.Trial]] = collections.defaultdict(list)
    for one in records.read_answers([pathlib.Path(path) for path in answers], page):
        by_observer[one.pseudonym] += one.trials

    catches = {
        name: [sum(trial.right for trial in trials if trial.catch), sum(trial.catch for trial in trials)]
        for name, trials in by_observer.items()
    }
    left_out = [name for name, (right, count) in catches.items() if right < catch_least * count]
    told = ", ".join(f"{name} ({catches[name][0]} of {catches[name][1]})" for name in left_out)
    kept = [
        (name, trial)
        for name, trials in by_observer.items()
        for trial in trials
        if name not in left_out and not trial.catch
    ]
    if not kept:
        raise ValueError(
            f"no answers are left; less than {catch_least:g} of their catch trials right had {told or 'none'}"
        )
    seen = _grouped(kept, lambda _, trial: trial.attack)
    attacks = [attack for attack in finished.run.attacks if attack in seen]
    findings = records.Findings(
        **experiment.page(),
        attacks={attack: seen[attack] for attack in attacks},
        observers=_grouped(kept, lambda name, _: name),
        images={
            attack: _grouped([one for one in kept if one[1].attack == attack], lambda _, trial: trial.image)
            for attack in attacks
        },
        catches=catches,
        left_out=left_out,
    )
    records.write(finished.folder / records.BLIND, dataclasses.asdict(findings))
    terminal = rich.console.Console(highlight=False)
    for table in blind_tables.tables(findings, f"{finished.model} on {finished.dataset}"):
        terminal.print(table)
    terminal.print(blind_tables.LEGEND, markup=False)
    if left_out:
        terminal.print(f"left out, less than {catch_least:g} of the catch trials right: {told}", markup=False)
    terminal.print(f"{records.BLIND} is in {finished.folder}", markup=False, soft_wrap=True)
    return findings


def _grouped(
    answered: Sequence[tuple[str, blind.Trial]], key: Callable[[str, blind.Trial], str]
) -> dict[str, blind.Sight]:
    """What the trials of each group say, by what observer and trial have in common."""
    groups: Mapping[str, list[blind.Trial]] = collections.defaultdict(list)
    for name, trial in answered:
        groups[key(name, trial)].append(trial)
    return blind.sights(groups)
