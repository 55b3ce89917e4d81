"""Asks people: a page in which they say which image was changed, and what their answers come to.

    python -m eval.white_box --save_images --output=results/c4            first a run that keeps its images
    python -m eval.blind results/c4                                       then the page, results/c4/blind.html
    python -m eval.blind --design=single --magnified results/c4           one image at a time, magnified
    python -m eval.blind --score results/c4 answers-*.json                and what the answers come to
    python -m eval.report results/c4                                      the report then has a table of it

The page is one file that works offline, in any browser; send it to whom you ask. It shows pairs of original and
adversarial image, or single images, in an order of its own for each observer, with two trials to practise and some
catch trials, whose change nobody overlooks; at the end the browser saves a file answers-NAME.json, and nothing is sent.
Only images on which the attack succeeded, as delivered, are shown.

For each attack, each observer and each image --score tells the share of right answers (0.5 is chance) with its exact
95 % confidence interval (Clopper-Pearson), d' (0 is unseen), and the p-value of a one-sided binomial test against
chance, corrected for the number of attacks (Holm); an attack is seen where that is at most 0.05. They take trials for
independent: with few observers or few images they tell of these alone. Observers who overlook too many catch trials are
left out, and named; of few catch trials a guesser gets enough right by luck. Writes blind.json into the folder.
"""

from __future__ import annotations

from absl.flags import DEFINE_bool, DEFINE_enum, DEFINE_float, DEFINE_integer, DEFINE_list, DEFINE_string

from eval import flags
from models import console
from tf_smoothadv.blind import DESIGNS
from tf_smoothadv.evaluation import blind

FLAGS = flags.values()
DEFINE_bool("score", False, "Score the files of answers that follow the folder.", flag_values=FLAGS)
DEFINE_string(
    "output",
    None,
    "The page to write, or with --score the page that was answered; by default blind.html in the folder.",
    flag_values=FLAGS,
)
DEFINE_list("attacks", [], "Which of the attacks in the folder; by default all.", flag_values=FLAGS)
DEFINE_integer("num_images", 20, "At most so many images of each attack.", lower_bound=1, flag_values=FLAGS)
DEFINE_enum(
    "design",
    "pair",
    list(DESIGNS),
    "pair: original and adversarial image side by side, which was changed? single: one image, was it changed?",
    flag_values=FLAGS,
)
DEFINE_float("seconds", 5, "How long images are shown; 0 is until the answer.", lower_bound=0.0, flag_values=FLAGS)
DEFINE_integer("zoom", 1, "Pixels of the screen a side for each of an image.", lower_bound=1, flag_values=FLAGS)
DEFINE_bool("magnified", False, "Show the images by adversarial magnification (22).", flag_values=FLAGS)
DEFINE_float("catch", 0.1, "Share of catch trials.", lower_bound=0.0, upper_bound=0.5, flag_values=FLAGS)
DEFINE_float(
    "catch_least",
    0.75,
    "With --score, the share of catch trials that an observer must have right.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)

MAKING = ("attacks", "num_images", "design", "seconds", "zoom", "magnified", "catch")


def main(arguments: list[str]) -> None:
    """Makes the page, or scores answers to it."""
    if not arguments:
        raise ValueError("name a folder of results; received none")
    folder, *answers = arguments
    if FLAGS.score:
        if not answers:
            raise ValueError("name the files of answers after the folder; received none")
        blind.score(folder, dict.fromkeys(answers), FLAGS.output, catch_least=FLAGS.catch_least)
    elif answers:
        raise ValueError(f"one folder makes one page; received also {' '.join(answers)}: answers are scored by --score")
    else:
        print(blind.make(folder, FLAGS.output, **{name: FLAGS[name].value for name in MAKING}))


if __name__ == "__main__":
    console.run(main, FLAGS)
