"""White-box evaluation: attacks a network and tells how often and at what distortion it errs (section 5.3).

    python -m eval.white_box                                      C4 on the 200 digits that ship with the project
    python -m eval.white_box --data=mnist.npz --num_images=1000   on the first 1,000 test digits
    python -m eval.white_box --attacks=cw,scw --settings=paper    two attacks with the paper's parameters
    python -m eval.white_box --attacks=fmn,alma --gradients=25    two attacks with fewer steps
    python -m eval.white_box --attacks=pgd2,spgd2 --epsilon=2     as strong as they get within a distortion of 2
    python -m eval.white_box --attacks=standard --epsilons=1.5,2  robust accuracy, as AutoAttack measures it
    python -m eval.white_box --attacks=fmn --targets=least_likely     targeted, at the class that is the furthest
    python -m eval.white_box --model=a.keras+b.keras              two networks, of which both must err
    python -m eval.white_box --delivery=none                      as floats, which are rounded afterwards
    python -m eval.white_box --model=net.keras                    your own network: [0, 1] to logits
    python -m eval.white_box --model=net.keras --input_range=0,255 --outputs=probabilities    bytes to probabilities
    python -m eval.white_box --model=net.keras --dataset=nips2017 --data=DIR    on other images
    python -m eval.white_box --shard=1/4 --output=a               a quarter of the images; eval.merge joins the parts

Writes to --output: summary.json, records.jsonl (one line an image and attack), settings.json, characteristic.png,
budget.png, examples.png. A run that was interrupted goes on where it stopped when it is started again.
"""

from __future__ import annotations

from eval import flags
from models import console
from tf_smoothadv.evaluation.run import white_box

FLAGS = flags.values(*flags.WHITE_BOX, flags.devices, output="results/white_box")


def main() -> None:
    """Runs what the flags say."""
    config = flags.config(FLAGS, aim=FLAGS.targets)
    with flags.scope(FLAGS):
        white_box(flags.load_one(config), config)


if __name__ == "__main__":
    console.run(main, FLAGS)
