"""From the smallest perturbation to the smoothest: attacks over alpha, and the image to take for a given distortion.

    python -m eval.front                                             FMN over alpha, C4 on the digits that ship with it
    python -m eval.front --attacks=fmn,alma --alphas=0,0.9,0.99      two attacks
    python -m eval.front --premium=2                                 the smoothest within twice the smallest distortion
    python -m eval.front --model=net.keras --dataset=nips2017 --data=DIR     on other images
    python -m eval.front --shard=1/2 --output=a      half of the images; eval.merge joins the parts, a last run picks

Every attack sees its images rounded to 8 bits, as they are delivered. Writes to --output what eval.white_box
--save_images writes, and: front.png, the front of distortion and smoothness energy; front.json, its points and what was
picked for each image; picked/, of each image the smoothest adversarial one whose distortion is at most --premium times
its smallest. A run that was interrupted goes on where it stopped; one with another premium picks anew.
"""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import numpy as np
import rich.console
from absl import flags

from eval import inputs, network, plots, results, running, settings, shard
from models import console
from tf_smoothadv import protocol, tradeoff

FLAGS = flags.FLAGS
for module in (inputs, network, shard):
    flags.adopt_module_key_flags(module)
flags.DEFINE_list("attacks", ["fmn"], f"Of {', '.join(settings.MINIMAL_NORM)}.")
flags.DEFINE_list("alphas", [f"{alpha:g}" for alpha in tradeoff.ALPHAS], "Bandwidths of (6), in [0, 1); 0 is plain.")
flags.DEFINE_integer("gradients", 100, "Of the network, for each attack and alpha, at most.", lower_bound=1)
flags.DEFINE_float(
    "premium", 1.5, "How many times the smallest distortion of its image the picked one may have.", lower_bound=1
)
flags.DEFINE_string("output", "results/front", "Folder for the results.")

TUNED = "tuned"  # the paper has no parameters for these attacks
FRONT = "front.json"
PICKED = "picked"


def main() -> None:
    """Runs what the flags say."""
    attacks = settings.over_alpha(FLAGS.dataset, TUNED, FLAGS.attacks, alphas(), FLAGS.gradients)
    reference = settings.reference(FLAGS.dataset, TUNED)
    model, dataset = network.loaded(inputs.dataset(shard.part()))
    folder = console.output_folder(FLAGS.output)
    dataset = inputs.batched(dataset, [model], folder)
    made_with = {
        **network.made_with(model),
        **shard.made_with(),
        **inputs.made_with(dataset),
        "settings": TUNED,
        "reference": reference.get_config(),
        "levels": settings.LEVELS,
        "attacks": {name: settings.described(variants) for name, variants in attacks.items()},
    }
    kept = results.Results(folder, made_with, protocol.Record)
    run = running.attacked(model, dataset, attacks, kept, reference, save_images=True)

    front = tradeoff.Front.of(run)
    picked = front.smoothest(FLAGS.premium)
    keep_picked(folder, front, picked, dataset.names)
    results.write(folder / FRONT, summary(run, front, picked, dataset.names))
    plots.save(plots.front(front), folder / "front.png")
    distortion, energy = (front.chosen(values, picked) for values in (front.distortion, front.smoothness_energy))
    rich.console.Console(highlight=False).print(
        f"picked, at most {FLAGS.premium:g} times the smallest distortion: {len(distortion)} of {len(picked)} images, "
        f"D {np.mean(distortion):.3f}, E {np.mean(energy):.3f}; front.png, {FRONT} and {PICKED}/ are in {folder}"
    )


def alphas() -> list[float]:
    """The numbers that --alphas names, each once, in order.

    Raises:
        ValueError: what is no number.
    """
    try:
        return sorted({float(alpha) for alpha in FLAGS.alphas})
    except ValueError:
        raise ValueError(f"alphas must be numbers in [0, 1); received {','.join(FLAGS.alphas)}") from None


def keep_picked(folder: pathlib.Path, front: tradeoff.Front, picked: np.ndarray, names: list[str]) -> None:
    """Copies the picked image of each, and no other, to PICKED."""
    shutil.rmtree(folder / PICKED, ignore_errors=True)
    with results.writing(folder / PICKED):
        (folder / PICKED).mkdir()
        for image, attack in zip(front.images, picked):
            if attack >= 0:
                name = f"{names[image]}.png"
                shutil.copyfile(folder / results.IMAGES / front.attacks[attack] / name, folder / PICKED / name)


def summary(run: protocol.Run, front: tradeoff.Front, picked: np.ndarray, names: list[str]) -> dict[str, Any]:
    """What front.json holds."""
    undominated = front.undominated()
    return {
        "premium": FLAGS.premium,
        "attacks": {
            name: {
                "p_suc": outcome.p_suc,
                "mean_distortion": outcome.mean_distortion,
                "smoothness_energy": outcome.mean_smoothness_energy,
                "undominated": float(np.mean(undominated[place])),
            }
            for place, name in enumerate(front.attacks)
            for outcome in [run.outcome(name, delivered=True)]
        },
        "picked": {
            names[image]: front.attacks[attack] if attack >= 0 else None for image, attack in zip(front.images, picked)
        },
    }


if __name__ == "__main__":
    console.run(main)
