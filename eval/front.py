"""From the smallest perturbation to the smoothest and the least visible: attacks over alpha, and what to take of each.

    python -m eval.front                                             FMN over alpha, C4 on the digits that ship with it
    python -m eval.front --attacks=fmn,alma --alphas=0,0.9,0.99      two attacks
    python -m eval.front --premium=2                                 the smoothest within twice the smallest distortion
    python -m eval.front --pick=ssim                                 the least visible, by a measure
    python -m eval.front --alphas=0 --maskings=eye --pick=ssim       of plain and masked ones
    python -m eval.front --model=net.keras --dataset=nips2017 --data=DIR     on other images
    python -m eval.front --shard=1/2 --output=a      half of the images; eval.merge joins the parts, a last run picks

Every attack sees its images rounded to 8 bits, as they are delivered. Writes to --output what eval.white_box
--save_images writes, and: front.png, the front of distortion and smoothness energy; front.json, its points and what was
picked for each image; picked/, of each image the smoothest adversarial one whose distortion is at most --premium times
its smallest, or with --pick the least visible one. A run that was interrupted goes on where it stopped; one with
another premium or pick picks anew.
"""

from __future__ import annotations

from absl.flags import DEFINE_enum, DEFINE_float, DEFINE_integer, DEFINE_list

from eval import flags
from models import console
from tf_smoothadv.evaluation import families, front, presets
from tf_smoothadv.evaluation.config import BYTES
from tf_smoothadv.front import ALPHAS

GROUPS = flags.images, flags.devices, flags.network, flags.visibility, flags.shard, flags.tensorboard
FLAGS = flags.values(*GROUPS, output="results/front")
DEFINE_list("attacks", ["fmn"], f"Of {', '.join(presets.MINIMAL_NORM)}.", flag_values=FLAGS)
DEFINE_list(
    "alphas", [f"{alpha:g}" for alpha in ALPHAS], "Bandwidths of (6), in [0, 1); 0 is plain.", flag_values=FLAGS
)
DEFINE_list(
    "maskings",
    [],
    f"Each attack masked besides: of {', '.join(families.MASKINGS[families.PHOTOGRAPHS])}; small images have "
    f"{families.EYE} alone.",
    flag_values=FLAGS,
)
DEFINE_integer(
    "gradients", 100, "Of the network, for each attack and alpha, at most.", lower_bound=1, flag_values=FLAGS
)
DEFINE_float(
    "premium",
    1.5,
    "How many times the smallest distortion of its image the picked one may have.",
    lower_bound=1,
    flag_values=FLAGS,
)
DEFINE_enum(
    "pick",
    front.SMOOTHEST,
    front.PICKS,
    "What to pick of each image: the smoothest within --premium, or the least visible by this measure.",
    flag_values=FLAGS,
)


def main() -> None:
    """Runs what the flags say."""
    alphas = tuple(flags.numbers("alphas", FLAGS.alphas))
    config = flags.config(FLAGS, delivery=BYTES, save_images=True, alphas=alphas, maskings=tuple(FLAGS.maskings))
    with flags.scope(FLAGS):
        model = flags.load_one(config)
        found, picked, _ = front.evaluate(model, config, FLAGS.premium, FLAGS.pick)
    smoothest = FLAGS.pick == front.SMOOTHEST
    which = f"at most {FLAGS.premium:g} times the smallest distortion" if smoothest else f"the best {FLAGS.pick}"
    print(
        f"picked, {which}: {sum(picked >= 0)} of {len(picked)} images; {front.means(found, picked)}; front.png, "
        f"{front.FRONT} and {front.PICKED}/ are in {FLAGS.output}"
    )


if __name__ == "__main__":
    console.run(main, FLAGS)
