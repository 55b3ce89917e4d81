"""The flags that binaries share, in groups, and the `Config` that they make.

Each binary has its own `flags.FlagValues`, so that several can be used in one process, each as often as wanted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

import models
import tf_smoothadv as sa
from tf_smoothadv import checks, classifier, resizing
from tf_smoothadv.evaluation import data, families, presets, records
from tf_smoothadv.evaluation import devices as running
from tf_smoothadv.evaluation.config import AUTO, DELIVERIES, LABELS, LOCAL, MODEL, RESOLUTIONS, Config
from tf_smoothadv.evaluation.devices import ALL

if TYPE_CHECKING:
    from tf_smoothadv.evaluation.beam import Where

NAMES = f"{', '.join(models.FORMS)}, or the path of a .keras or .h5 file or of a SavedModel folder"


def values(*groups: Callable[[flags.FlagValues], None], output: str | None = None) -> flags.FlagValues:
    """Flags of these groups, --output with this default, and --debug."""
    made = flags.FlagValues()
    for define in groups:
        define(made)
    if output is not None:
        flags.DEFINE_string("output", output, "Folder for the results.", flag_values=made)
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.", flag_values=made)
    return made


def images(made: flags.FlagValues) -> None:
    """Which images, and how many at once."""
    flags.DEFINE_enum("dataset", "mnist", data.DATASETS, "The images.", flag_values=made)
    flags.DEFINE_string(
        "data",
        None,
        "Where the images lie. mnist: a file mnist.npz, or 'download'; by default the sample that ships with the "
        "project. nips2017: a folder with images.csv and images/*.png. folder: a folder with one folder of PNG, JPEG, "
        "BMP or WebP images a class; the folders in sorted order must be all of the model's classes, or classes.txt "
        "beside them names its classes, one folder a line. tfrecord: a file, a glob or a folder of TF-Slim's form, "
        "also packed by GZIP or ZLIB, labels from 1 to 1000 (0 is the background).",
        flag_values=made,
    )
    flags.DEFINE_integer(
        "num_images",
        None,
        "How many test images, from the first on; by default 200 digits, all images of another dataset.",
        lower_bound=1,
        flag_values=made,
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Pixels a side that images are resized to; by default 299 for folder and tfrecord, else as they are.",
        lower_bound=1,
        flag_values=made,
    )
    resize(made)
    flags.DEFINE_enum(
        "resolution",
        MODEL,
        RESOLUTIONS,
        "model: images are resized, and then attacked. own: they keep their size, and are attacked through the way to "
        "the network's, one by one.",
        flag_values=made,
    )
    flags.DEFINE_string(
        "batch_size",
        AUTO,
        f"Images in a batch; {AUTO!r} takes as many as memory and speed allow.",
        flag_values=made,
    )
    _check_count("batch_size", AUTO, made)


def _check_count(name: str, word: str, made: flags.FlagValues) -> None:
    """Lets a flag be this word or a number of at least 1."""
    flags.register_validator(
        name,
        lambda value: value == word or (value.isdecimal() and int(value) > 0),
        message=f"{name} must be {word!r} or an integer of at least 1",
        flag_values=made,
    )


def devices(made: flags.FlagValues) -> None:
    """On how many devices a batch is attacked."""
    flags.DEFINE_string(
        "devices",
        ALL,
        "Over how many GPUs each batch is spread: a number, or all that TensorFlow sees. Where there is none, a number "
        "of logical CPU devices, which show the same and are no faster.",
        flag_values=made,
    )
    _check_count("devices", ALL, made)
    flags.DEFINE_bool(
        "jit_compile",
        False,
        "Compile attacks as a whole by XLA, for each size of batch anew: GPUs may be faster so, CPUs are slower, as "
        "python -m benchmarks.devices measures.",
        flag_values=made,
    )


def scope(made: flags.FlagValues) -> contextlib.AbstractContextManager[object]:
    """What networks are loaded and attacked in, by --devices."""
    scope: contextlib.AbstractContextManager[object] = running.strategy(
        made.devices if made.devices == ALL else int(made.devices)
    ).scope()
    return scope


def beam(made: flags.FlagValues) -> None:
    """Where a pipeline runs."""
    flags.DEFINE_string(
        "runner", LOCAL, f"{LOCAL}: processes of this machine; or the name of one of Beam's.", flag_values=made
    )
    flags.DEFINE_integer(
        "workers", None, f"Processes of {LOCAL}; by default one for each core.", lower_bound=1, flag_values=made
    )
    flags.DEFINE_integer("threads", 1, "Of TensorFlow in each process.", lower_bound=1, flag_values=made)
    flags.DEFINE_string(
        "store",
        None,
        "Folder that all workers can write to, on any of Beam's filesystems (gs://, s3://, hdfs://); by default that "
        "of the results.",
        flag_values=made,
    )


def by_beam(made: flags.FlagValues) -> None:
    """Whether a pipeline makes the records, and where."""
    beam(made)
    flags.DEFINE_bool(
        "beam",
        False,
        "Make the records by Apache Beam, in several processes or on many machines: see eval.beam. What stands after "
        "-- are flags of Beam.",
        flag_values=made,
    )


def where(made: flags.FlagValues, arguments: Sequence[str]) -> Where:
    """Where a pipeline runs by the flags of `beam`; `arguments` stand after them, flags of Beam's own."""
    from tf_smoothadv.evaluation.beam import Where  # of another extra than the rest

    return Where(made.runner, made.workers, made.threads, made.store, tuple(arguments))


def where_by_beam(made: flags.FlagValues, arguments: Sequence[str]) -> Where | None:
    """The same by the flags of `by_beam`; None where --beam is not given.

    Raises:
        ValueError: such flags without --beam, or no Beam.
    """
    unexpected = [argument for argument in arguments if not argument.startswith("--")]
    if unexpected:
        raise ValueError(f"unexpected arguments: {' '.join(unexpected)}")
    if not made.beam:
        given = [f"--{name}" for name in ("runner", "workers", "threads", "store") if made[name].present]
        if given or arguments:
            raise ValueError(f"flags of Beam need --beam; received {' '.join([*given, *arguments])}")
        return None
    if importlib.util.find_spec("apache_beam") is None:
        raise ValueError("--beam needs apache-beam: pip install 'tf_smoothadv[beam]'")
    return where(made, arguments)


def resize(made: flags.FlagValues) -> None:
    """How an image becomes a square."""
    flags.DEFINE_enum(
        "resize",
        resizing.CROP,
        resizing.RESIZES,
        "How an image comes to the size: crop, the largest square in its middle; squash, all of it without its "
        "proportions; pad, all of it with them, black around it.",
        flag_values=made,
    )


def shard(made: flags.FlagValues) -> None:
    """Which part of the images is this process's."""
    flags.DEFINE_string(
        "shard",
        "1/1",
        "i/n, from 1/n to n/n: only every n-th image, from the i-th on; eval.merge joins the n folders of results.",
        flag_values=made,
    )
    flags.register_validator(
        "shard",
        lambda value: (found := records.SHARD.fullmatch(value)) is not None and int(found[1]) <= int(found[2]),
        message="shard must be i/n with i from 1 to n",
        flag_values=made,
    )


def usage(made: flags.FlagValues) -> None:
    """What networks return, what they expect, and what is imported to load them."""
    flags.DEFINE_enum(
        "outputs",
        "logits",
        classifier.OUTPUTS,
        "What every network returns: logits; probabilities, of all classes or of class 1 alone; or one logit, that of "
        "class 1 against class 0.",
        flag_values=made,
    )
    flags.DEFINE_list(
        "input_range",
        ["0", "1"],
        "LOW,HIGH: what every network expects for black and white: 0,255 or -1,1.",
        flag_values=made,
    )
    flags.register_validator(
        "input_range",
        is_range,
        message="input_range must be two numbers, the first below the second: 0,255 or -1,1",
        flag_values=made,
    )
    flags.DEFINE_integer(
        "samples",
        1,
        "Above 1 for networks that draw random numbers: gradients are means over so many draws, and an image is "
        "adversarial if the network errs in each of so many new ones.",
        lower_bound=1,
        flag_values=made,
    )
    flags.DEFINE_string(
        "output_name", None, "Which of several outputs to take: its name, or its position from 0.", flag_values=made
    )
    flags.DEFINE_multi_string(
        "import",
        [],
        "Python modules, or paths of .py files, with the layers, models and functions of your own that a file needs; "
        "separated by commas, or the flag again for each.",
        flag_values=made,
    )


def network(made: flags.FlagValues) -> None:
    """One network, and which classes its images are to leave."""
    usage(made)
    flags.DEFINE_string("model", "c4", f"The network: {NAMES}.", flag_values=made)
    flags.DEFINE_enum(
        "labels",
        "given",
        LABELS,
        "The class that an attack must move an image away from: the dataset's, or what the model predicts, for images "
        "without a class or a network that has learnt nothing.",
        flag_values=made,
    )


def targets(made: flags.FlagValues) -> None:
    """Which classes its images are to reach."""
    flags.DEFINE_string(
        "targets",
        None,
        "The class that an attack must reach: given, the dataset's own (TargetClass of nips2017); next, the one after "
        "the label; second or least_likely, by the network's logits; a class's number; or a CSV file with the columns "
        "image and target, names as results have them and classes from 0. By default any but the label.",
        flag_values=made,
    )


def attacks(made: flags.FlagValues) -> None:
    """With which attacks."""
    flags.DEFINE_list(
        "attacks",
        list(presets.ATTACKS),
        f"Of {', '.join(presets.ATTACKS)}, and with tuned settings of {', '.join(presets.LATER)}.",
        flag_values=made,
    )
    flags.DEFINE_enum(
        "delivery",
        AUTO,
        DELIVERIES,
        "8bit: every attack sees its images as a file of 8 bits holds them, and searches what succeeds there. none: as "
        "computed, and rounded afterwards. auto: 8bit with tuned settings, none with the paper's.",
        flag_values=made,
    )


def gradients(made: flags.FlagValues) -> None:
    """How many gradients an attack may take."""
    flags.DEFINE_integer(
        "gradients",
        None,
        "Of the network, at most, for each image and each of an attack's settings; by default as many as these say.",
        lower_bound=1,
        flag_values=made,
    )


def goal(made: flags.FlagValues) -> None:
    """What attacks go for, in place of the least distortion."""
    flags.DEFINE_float(
        "epsilon",
        None,
        "Of gradient attacks: this one for every image, whose iterate of largest margin is kept; by default each "
        "image's least is searched.",
        lower_bound=0.0,
        flag_values=made,
    )
    flags.DEFINE_float(
        "confidence",
        0.0,
        "Of attacks that search the least perturbation: by how much the network must err, in logits.",
        lower_bound=0.0,
        flag_values=made,
    )


def epsilons(made: flags.FlagValues) -> None:
    """Where robust accuracy is told."""
    flags.DEFINE_list(
        "epsilons",
        [],
        "L2 norms at which robust accuracy is told, as 1.5,2.0; the attack standard decides it there.",
        flag_values=made,
    )


def settings(made: flags.FlagValues) -> None:
    """The paper's parameters, or tuned ones."""
    flags.DEFINE_enum(
        "settings",
        "tuned",
        families.NAMES,
        "The best parameters found, or the paper's: of attacks, and of the graph that measures smoothness energies.",
        flag_values=made,
    )


def saving(made: flags.FlagValues) -> None:
    """Images that are kept only when they are asked for."""
    flags.DEFINE_bool(
        "save_images",
        False,
        "Also write the images as PNG, to OUTPUT/images/original/ and OUTPUT/images/ATTACK/, for eval.report.",
        flag_values=made,
    )


def visibility(made: flags.FlagValues) -> None:
    """What the eye sees of what is delivered."""
    flags.DEFINE_bool(
        "visibility",
        None,
        "Take measures of what the eye sees of the delivered images: SSIMULACRA2, butteraugli if its program is there, "
        "FLIP, CIEDE2000, MS-SSIM, SSIM. By default on photographs; --novisibility leaves them out.",
        flag_values=made,
    )


def tensorboard(made: flags.FlagValues) -> None:
    """A run that is watched."""
    flags.DEFINE_string(
        "tensorboard",
        None,
        "Folder for TensorBoard: loss, distortion, successes and images of each batch as it comes.",
        flag_values=made,
    )


WHITE_BOX = (
    images,
    settings,
    attacks,
    gradients,
    goal,
    epsilons,
    network,
    targets,
    saving,
    visibility,
    shard,
    tensorboard,
)  # of every white-box evaluation


def config(made: flags.FlagValues, **others: Any) -> Config:
    """What the flags say; `others` stand for what they leave open."""
    given = made.flag_values_dict()
    known = {field.name: given[field.name] for field in dataclasses.fields(Config) if field.name in given}
    if "batch_size" in known:
        known["batch_size"] = None if known["batch_size"] == AUTO else int(known["batch_size"])
    if "shard" in known:
        part, _, parts = known["shard"].partition("/")
        known["shard"] = int(part), int(parts)
    if "input_range" in known:
        known["input_range"] = ends(known["input_range"])
        known["imports"] = tuple(module for value in given["import"] for module in value.split(",") if module)
    if "attacks" in known:
        known["attacks"] = tuple(known["attacks"])
    if "epsilons" in known:
        known["epsilons"] = tuple(numbers("epsilons", known["epsilons"]))
    return Config(**{**known, **others})


def load(made: Config, names: Sequence[str]) -> dict[str, sa.Classifier]:
    """The networks of these names, used as the flags say.

    Raises:
        ValueError: a module that cannot be imported, or what `models.load_classifiers` refuses.
    """
    for module in made.imports:
        models.import_module(module)
    loaded = models.load_classifiers(names, **made.usage())
    if made.resolution != MODEL:
        loaded = {name: resizing.behind(model, made.image_size, made.resize) for name, model in loaded.items()}
    return {name: model.by_xla() if made.jit_compile else model for name, model in loaded.items()}


def load_one(made: Config, name: str | None = None) -> sa.Classifier:
    """The network that an evaluation is of, or another one, used as that is; see `load`."""
    name = name or made.model
    return load(made, [name])[name]


def ends(texts: Iterable[str]) -> tuple[float, ...]:
    """The numbers of --input_range.

    Raises:
        ValueError: what is no number.
    """
    return tuple(map(float, texts))


def numbers(flag: str, texts: Iterable[str]) -> list[float]:
    """The numbers that a flag names, each once, in order.

    Raises:
        ValueError: what is no number.
    """
    try:
        return sorted({float(text) for text in texts})
    except ValueError:
        raise ValueError(f"{flag} must be numbers; received {','.join(texts)}") from None


def is_range(texts: Iterable[str]) -> bool:
    """Whether they are two numbers, the first below the second."""
    try:
        checks.interval("input_range", ends(texts))
    except ValueError:
        return False
    return True
