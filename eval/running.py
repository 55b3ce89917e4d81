"""One run of attacks on a network, from its first batch to its figures, with a progress bar."""

from __future__ import annotations

import rich.console

from eval import data, finish, settings, tensorboard
from eval.results import Results
from eval.terminal import print_settings, progress
from tf_smoothadv import protocol
from tf_smoothadv.attacks import core
from tf_smoothadv.smoothing import Smoothing


def attacked(
    model: core.Model,
    dataset: data.Dataset,
    attacks: settings.Preset,
    results: Results[protocol.Record],
    reference: Smoothing,
    *,
    save_images: bool = False,
    board: tensorboard.Board | None = None,
) -> protocol.Run:
    """Attacks the images that there are no records of yet, and leaves in the folder what `finish` does.

    Args:
        model, dataset, attacks, reference: see `protocol.attack_batches`.
        results: the folder, and the records that are in it already.
        save_images: also write the images as PNG.
        board: what else is shown of each batch.
    """
    terminal = rich.console.Console(highlight=False)
    print_settings(terminal, {name: settings.described(variants) for name, variants in attacks.items()})
    correct = protocol.CorrectImages(model, dataset)
    with progress(terminal) as bar:
        task = bar.add_task("", total=len(dataset.names) * len(attacks), completed=len(results.records))
        for batch in protocol.attack_batches(model, correct, attacks, reference=reference, done=results.done):
            finish.keep(results, batch, dataset.names if save_images else None)
            if board:
                board.write(batch, correct.logits_of(batch.adversarial))
            bar.update(task, description=batch.attack, advance=len(batch.records))
        bar.update(task, completed=len(dataset.names) * len(attacks))
    run = protocol.finished(results.records, correct)
    finish.finish(results.folder, run, terminal)
    return run
