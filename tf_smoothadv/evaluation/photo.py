"""Photographs made adversarial, each in a file like its own: same format, same size, same metadata."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import tf_smoothadv as sa
from tf_smoothadv import checks, protocol, resizing
from tf_smoothadv.attacks import Attack, core
from tf_smoothadv.evaluation import families, presets, variants
from tf_smoothadv.evaluation.data import classes, decoding, photographs
from tf_smoothadv.evaluation.data.photographs import MARK, Photo
from tf_smoothadv.evaluation.rendering import pictures, plots
from tf_smoothadv.visibility import MEASURES, visibility

__all__ = ["Failure", "Made", "Options", "make", "output_of", "told"]

ALL_GRADIENTS = 240e6  # pixels of all gradients of a photograph together, some minutes of two cores
FEWEST, MOST = 20, 100
UNCOVERED = "not adversarial by tf.io.decode_jpeg's default, INTEGER_FAST: --confidence=2 --overwrite goes further"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is done with each photograph.

    Attributes:
        attack: one of `presets.ENTRIES` with one setting.
        gradients: how many it may take; None for what its preset says, and of photographs above 2.4 megapixels for as
            many as have 240 megapixels together, at least 20.
        image_size: the side in pixels of what the network takes; None for what it says itself, or else 299.
        resize: how an image comes to that size, see `Resized`.
        format: of `photographs.FORMATS`; None for the input's own.
        quality: of JPEG files that are made of other ones, 1 to 100.
        label: the class to leave; None for the one that is predicted.
        target: the class to reach; None for any other.
        confidence: by how much the network must err, in logits.
        output: a folder; None for the input's own.
        visibility: False leaves the measures of the eye out.
        show: whether a sheet of pictures is written beside each output.
        overwrite: whether an output that is there is made anew.

    Raises:
        ValueError: a value outside these.
    """

    attack: str = "mfmn"
    gradients: int | None = None
    image_size: int | None = None
    resize: str = "crop"
    format: str | None = None
    quality: int = 95
    label: int | None = None
    target: int | None = None
    confidence: float = 0.0
    output: str | None = None
    visibility: bool | None = None
    show: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        checks.in_range("confidence", self.confidence, 0)
        self.chosen(families.PHOTOGRAPHS, self.gradients)
        checks.one_of("format", self.format, (*photographs.FORMATS, None))
        checks.in_range("quality", self.quality, 1, 100)

    def chosen(self, family: str, gradients: int | None) -> Attack:
        """The attack for images of a family.

        Raises:
            ValueError: an unknown one, one of several settings, or one that knows no confidence.
        """
        preset = presets.preset(family, "tuned", [self.attack], gradients=gradients)
        if self.confidence:
            preset = variants.with_confidence(preset, self.confidence)
        (settings,) = preset.values()
        if len(settings) > 1:
            raise ValueError(f"attack must have one setting; {self.attack} has {len(settings)}")
        return settings[0]


class Made(NamedTuple):
    """What became of a photograph.

    Attributes:
        path, output: the files; `output` is None where nothing adversarial was found.
        shape: [H, W, C], as a viewer shows it.
        before, after: the class and its probability, of the original and of the file that was written.
        distortion: D, at the image's own size.
        visibility: by measure; without an output, none.
        gradients, seconds: what it took.
        for_tensorflow: of a JPEG file, whether it is adversarial as TensorFlow decodes it by default, too.
    """

    path: pathlib.Path
    output: pathlib.Path | None
    shape: tuple[int, ...]
    before: tuple[int, float]
    after: tuple[int, float]
    distortion: float
    visibility: Mapping[str, float]
    gradients: int
    seconds: float
    for_tensorflow: bool = True


class Failure(NamedTuple):
    """A file that is none, or that cannot be attacked.

    Attributes:
        path: the file.
        reason: in one line.
    """

    path: pathlib.Path
    reason: str


def output_of(path: pathlib.Path, options: Options) -> pathlib.Path:
    """Where the adversarial image of a file is written: its name with ".adversarial" before the suffix."""
    suffix = path.suffix if options.format is None else photographs.FORMATS[options.format]
    return pathlib.Path(options.output or path.parent) / f"{path.stem}{MARK}{suffix}"


def make(
    model: core.Model,
    paths: Sequence[pathlib.Path],
    options: Options,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Made | Failure]:
    """Makes photographs adversarial, and judges each by the file that was written, as PIL decodes it.

    An output that is there already is judged and left, so that a run that was interrupted goes on.

    Args:
        model: a `Classifier`, a Keras model, or any callable.
        paths: of image files.
        options: what is done with each.
        tell: is called with what is being done, whenever that changes.

    Raises:
        ValueError: two files with one output; a model that attacks refuse.
    """
    outputs = [output_of(path, options) for path in paths]
    for output, count in collections.Counter(outputs).items():
        if count > 1:
            raise ValueError(f"{count} of the files would be written to {output}: give each a name of its own")
        if output in paths:
            raise ValueError(f"{output} is an input, which is never overwritten: give --output another folder")
    if options.output:
        pathlib.Path(options.output).mkdir(parents=True, exist_ok=True)
    networks = _Networks(sa.Classifier.of(model), options)
    for path, output in zip(paths, outputs):
        tell(f"reading {path}")
        try:
            upright = decoding.read(path)
            photo = photographs.read(path.read_bytes(), upright, str(path), options.format, options.quality)
            made = _made(networks, photo, upright, path, output, options, tell)
        except (ValueError, OSError) as error:
            yield Failure(path, checks.first_line(error))
        else:
            yield made


class _Networks:
    """The network behind each way that images are turned; what is compiled for one serves images of every size."""

    def __init__(self, model: sa.Classifier, options: Options) -> None:
        self.model = model
        self.size = options.image_size
        self.resize = options.resize
        self.kept: dict[int, sa.Classifier] = {}

    def of(self, orientation: int = 1) -> sa.Classifier:
        """That for images turned so."""
        if orientation not in self.kept:
            self.kept[orientation] = resizing.behind(self.model, self.size, self.resize, orientation)
        return self.kept[orientation]

    def magnification(self, shape: tuple[int, ...]) -> float:
        """How many times as long a perturbation of images [H, W, C] is to be (`sa.Resized`)."""
        network = self.of()
        members = network.members if isinstance(network, sa.Ensemble) else [network]
        return max(float(member.model.magnification(*shape[:2])) for member in members)


def _made(
    networks: _Networks,
    photo: Photo,
    upright: np.ndarray,
    path: pathlib.Path,
    output: pathlib.Path,
    options: Options,
    tell: Callable[[str], None],
) -> Made:
    began = time.perf_counter()
    judge = networks.of()
    tell(f"classifying {path}")
    before = _predicted(judge, upright)
    label = before[0] if options.label is None else options.label
    gradients = 0
    if options.overwrite or not output.exists():
        network = networks.of(photo.orientation)
        images = photo.pixels[np.newaxis] / np.float32(255)
        target = None if options.target is None else [options.target]
        tell(f"attacking {path} by {presets.label(options.attack)}, which is compiled for images of a size first")
        result = _attack(networks, photo, options)(network, images, [label], target)
        gradients = int(result.gradients[0])
        if not bool(result.success[0]):
            return Made(path, None, upright.shape, before, before, 0.0, {}, gradients, time.perf_counter() - began)
        photographs.write(output, photographs.encoded(photo, result))
    tell(f"judging {output}")
    delivered = decoding.read(output, shape=upright.shape)
    after = _predicted(judge, delivered)
    distortion = float(np.linalg.norm(delivered / 255.0 - upright / 255.0))
    pair = (upright[np.newaxis] / np.float32(255), delivered[np.newaxis] / np.float32(255))
    seen = {} if options.visibility is False else visibility(*pair).of_images()[0]
    seconds = time.perf_counter() - began
    if options.show:
        _show(output, upright, delivered)
    kept = output if _errs(judge, delivered, label, options.target) else None
    for_tensorflow = True
    if isinstance(photo.delivery, sa.Jpeg):
        # Its default depends on the platform; where it is not INTEGER_ACCURATE it is this.
        fast = photographs.by_tensorflow(output, "INTEGER_FAST", photo.pixels.shape[2])
        for_tensorflow = _errs(networks.of(photo.orientation), fast, label, options.target)
    return Made(path, kept, upright.shape, before, after, distortion, seen, gradients, seconds, for_tensorflow)


def _attack(networks: _Networks, photo: Photo, options: Options) -> Attack:
    """The preset's attack for images of this shape, with steps as long as the way to the network's size asks for."""
    shape = photo.pixels.shape
    attack = options.chosen(families.family(shape), _gradients(shape, options))
    if hasattr(attack, "step_size"):
        attack = attack.replaced(step_size=attack.step_size * networks.magnification(shape))
    return attack.replaced(delivery=photo.delivery)


def _gradients(shape: tuple[int, ...], options: Options) -> int | None:
    """How many gradients a photograph [H, W, C] may take; None for what the preset says."""
    affordable = max(FEWEST, int(ALL_GRADIENTS / (shape[0] * shape[1])))
    return options.gradients or (affordable if affordable < MOST else None)


def _predicted(network: sa.Classifier, pixels: np.ndarray) -> tuple[int, float]:
    """The class of uint8 [H, W, C] and its probability."""
    logits = protocol.mean_logits(network, tf.constant(pixels[np.newaxis] / np.float32(255)))
    probabilities = tf.nn.softmax(logits)[0].numpy()
    return int(np.argmax(probabilities)), float(np.max(probabilities))


def _errs(network: sa.Classifier, pixels: np.ndarray, label: int, target: int | None) -> bool:
    logits = network.draws(tf.constant(pixels[np.newaxis] / np.float32(255)))
    targets = None if target is None else tf.constant([target])
    return bool(tf.reduce_all(core.errs(network, logits, tf.constant([label]), targets)))


def _show(output: pathlib.Path, original: np.ndarray, delivered: np.ndarray) -> None:
    """The sheet: original, adversarial, perturbation, and both magnified (22)."""
    seen = pictures.magnified([original, delivered])
    panels = [
        pictures.Panel(original, "original"),
        pictures.Panel(delivered, "adversarial"),
        pictures.Panel(pictures.perturbation(original, delivered), "perturbation"),
        pictures.Panel(seen[0], "original, magnified"),
        pictures.Panel(seen[1], "adversarial, magnified"),
    ]
    plots.save(plots.sheet([panels], side=3.0), output.with_name(f"{output.stem}.sheet.png"))


def told(outcome: Made | Failure, names: Mapping[int, str]) -> str:
    """An outcome as a person reads it, with the names of classes as far as there are any."""
    if isinstance(outcome, Failure):
        return f"{outcome.path}: {outcome.reason}"
    before, after = (
        f"{classes.named(number, names)} ({share:.2f})" for number, share in (outcome.before, outcome.after)
    )
    took = f"{outcome.gradients} gradients, {outcome.seconds:.0f} s"
    if outcome.output is None:
        return f"{outcome.path}: not adversarial, {before} still; {took}"
    seen = [f"{MEASURES[name].heading} {value:.{MEASURES[name].digits}f}" for name, value in outcome.visibility.items()]
    numbers = ", ".join([f"D {outcome.distortion:.3f}", *seen])
    warning = "" if outcome.for_tensorflow else f"\n    {UNCOVERED}"
    return (
        f"{outcome.path} ({outcome.shape[1]} x {outcome.shape[0]}): {before} -> {after} in {outcome.output}\n"
        f"    {numbers}; {took}{warning}"
    )
