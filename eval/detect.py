"""Whether a detector notices an attack: original against delivered images, as steganalysis measures it.

    python -m eval.white_box --save_images --num_images=1000 --data=mnist.npz --output=results/c4
    python -m eval.detect results/c4                       first a run that keeps its images, then how much they tell
    python -m eval.detect results/c4 results/referee       several folders, also of eval.referee and eval.front
    python -m eval.report results/c4                       the report then has a table of it

For each attack, a linear classifier of SPAM features (Pevny, Bas, Fridrich 2010) learns to tell the images on which the
attack succeeded, as delivered, from their originals, in a cross-validation in which no detector has seen what it
judges. One table has features of an image's channels, the other, where there are colours, of red and blue minus green,
which of photographs detect more. They have, with 95 % confidence intervals:

    AUC    the probability that an adversarial image has a higher score than an original: 0.5 is undetected, 1 is found
    P_E    the mean of the shares of false alarms and of missed images: 0.5 is undetected, 0 is found
    TP5    the share of adversarial images that is found where 5 % of the originals are false alarms

An attack needs at least 100 such images. Writes detectability.json into each folder.
"""

from __future__ import annotations

from eval import flags
from models import console
from tf_smoothadv.evaluation import detection

FLAGS = flags.values()


def main(folders: list[str]) -> None:
    """Measures each folder."""
    if not folders:
        raise ValueError("name at least one folder of results; received none")
    for folder in dict.fromkeys(folders):
        detection.evaluate(folder)


if __name__ == "__main__":
    console.run(main, FLAGS)
