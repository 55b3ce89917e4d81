"""Makes photographs adversarial for a network, each in a file like its own: same format, size and metadata.

    python -m eval.photo holiday.jpg --model=net.keras                 writes holiday.adversarial.jpg beside it
    python -m eval.photo holiday.jpg --model=net.keras --show          and a sheet: original, adversarial, difference
    python -m eval.photo photographs --output=adversarial --model=net.keras        every image of a folder
    python -m eval.photo scan.png --format=jpeg --quality=90 --model=net.keras     as a JPEG file
    python -m eval.photo cat.webp --label=281 --classes=names.txt --model=net.keras

PNG, JPEG, WebP and BMP files. The network is attacked through the way to its size (--resize), at the image's own size.
A JPEG file is changed in its quantised coefficients: its tables, its subsampling and most of its blocks stay as they
are, and what a decoder makes of it is what was searched (all that decode as libjpeg does; TensorFlow only with
dct_method="INTEGER_ACCURATE"; where its own default sees no change of class, a line says so, and --confidence covers
it). WebP files are written without loss, PNG files of 16 bits with 8. What counts is what was written, decoded.

Above 2.4 megapixels an attack takes fewer gradients, unless --gradients says how many: as many as have 240 megapixels
together, at least 20.

Prints for each: the class and its probability before and after, the distortion D, what measures of the eye say, and
what it took. Ends with status 1 if a file could not be read or attacked, 2 if nothing could be begun. Inputs are never
overwritten; a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import sys

from absl.flags import DEFINE_bool, DEFINE_enum, DEFINE_float, DEFINE_integer, DEFINE_string

from eval import flags
from models import console
from tf_smoothadv.evaluation import photo
from tf_smoothadv.evaluation.config import Config
from tf_smoothadv.evaluation.data import classes, photographs
from tf_smoothadv.evaluation.rendering import terminal

FLAGS = flags.values(flags.usage, flags.resize, flags.gradients, flags.visibility)
DEFINE_string("model", None, f"The network: {flags.NAMES}.", flag_values=FLAGS)
DEFINE_string("attack", photo.Options.attack, "With tuned settings, one of those of eval.white_box.", flag_values=FLAGS)
DEFINE_integer(
    "image_size", None, "Pixels a side that the network takes; by default what it says, else 299.", 1, flag_values=FLAGS
)
DEFINE_enum("format", None, list(photographs.FORMATS), "What is written; by default the input's.", flag_values=FLAGS)
DEFINE_integer("quality", 95, "Of JPEG files that are made of others.", 1, 100, flag_values=FLAGS)
DEFINE_integer("label", None, "The class to leave; by default the one predicted.", 0, flag_values=FLAGS)
DEFINE_integer("target", None, "The class to reach; by default any other.", 0, flag_values=FLAGS)
DEFINE_float("confidence", 0.0, "Logits by which it must err; 2 covers most JPEG decoders.", 0.0, flag_values=FLAGS)
DEFINE_string(
    "classes", None, "File with the names of the classes, one a line; or 'imagenet', Keras's list.", flag_values=FLAGS
)
DEFINE_string("output", None, "Folder for the results; by default that of each input.", flag_values=FLAGS)
DEFINE_bool("show", False, "Also write a sheet of pictures, NAME.adversarial.sheet.png.", flag_values=FLAGS)
DEFINE_bool("overwrite", False, "Make outputs anew that are there.", flag_values=FLAGS)


def main(paths: list[str]) -> None:
    """Makes what lies at the paths adversarial."""
    if FLAGS.model is None:
        raise ValueError("name the network that is to err: --model=net.keras; received none")
    given = FLAGS.flag_values_dict()
    options = photo.Options(**{field.name: given[field.name] for field in dataclasses.fields(photo.Options)})
    found = photographs.photos(paths)
    names = classes.read(FLAGS.classes)
    config: Config = flags.config(FLAGS)
    failed = 0
    with terminal.doing(f"loading {FLAGS.model}") as tell:
        model = flags.load(config, [FLAGS.model])[FLAGS.model]
        for place, outcome in enumerate(photo.make(model, found, options, tell), 1):
            print(f"[{place}/{len(found)}] {photo.told(outcome, names)}", flush=True)
            failed += isinstance(outcome, photo.Failure) or outcome.output is None
    print(f"{len(found) - failed} of {len(found)} were made adversarial")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    console.run(main, FLAGS)
