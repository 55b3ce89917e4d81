"""A model as the library sees it: from images in [0, 1] to logits, and what is compiled for it, freed with it."""

from __future__ import annotations

import copy
import functools
import inspect
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tf_smoothadv import checks, folding, tensors

__all__ = [
    "OUTPUTS",
    "Checked",
    "Classifier",
    "Function",
    "NoGradientError",
    "OutputError",
    "call",
    "compile_for",
    "only_batch_size",
    "signature_of",
]

OUTPUTS = ("logits", "probabilities", "logit")
LEAST = 1e-37  # the smallest probability whose logarithm is taken: a normal number of float32
EPSILON = {tf.float16: 2.0**-10, tf.bfloat16: 2.0**-7, tf.float64: 2.0**-52}
SINGLE = 2.0**-23  # float32's
SAME = 16  # times a number format's epsilon: what two calls' logits may differ by, relative to the largest; more often
LEAST_SAME = 1e-5  # than not they differ by none ...
ROUNDINGS = 8  # ... or so many times what they differed by when the compiled function was new
OTHER = 0.1  # of the largest logit: what no rounding explains
MARGIN = 4  # times what they differ by: how far beyond the boundary an attack has to go ...
USUAL = 8  # ... or this times as many epsilons, so that it is the same for every batch where they differ by less
COMPARED = 2  # images
REPEATS = 3  # calls, in which a random model has to show that it is one

Function = Callable[..., Any]


class NoGradientError(ValueError):
    """A loss of a model that has no gradient in the images."""

    __init__ = Exception.__init__  # by which AutoGraph knows that it can raise it anew as what it is


class OutputError(ValueError):
    """A choice among a model's outputs that it does not have."""


class Checked(NamedTuple):
    """What the check of a model has measured.

    Attributes:
        classes: K.
        tolerance: how far beyond the boundary a compiled attack must go so that an eager call agrees that the image is
            adversarial; relative to the image's largest logit.
        rounding: the relative rounding error of the number format of its output.
    """

    classes: int
    tolerance: float
    rounding: float


class _Functions:
    """What is compiled for one model, and how far its logits were from those of an eager call when it was compiled."""

    def __init__(self) -> None:
        self.compiled: dict[Any, Function] = {}
        self.difference = 0.0  # relative to the largest logit


class _Owner:
    """The compiled functions of each model that is alive, by identity: a model may define an equality of its own.

    A concrete function refers to the model's variables and not to the model, which is therefore freed when its user
    lets it go, and its functions with it.
    """

    def __init__(self) -> None:
        self._models: dict[int, tuple[weakref.ref[Any], dict[Any, _Functions]]] = {}

    def functions_of(self, model: Any) -> _Functions:
        """Those of one model; new ones each time where Python cannot refer to the model weakly."""
        part = None
        if isinstance(model, types.MethodType):  # another object each time that it is named
            model, part = model.__self__, model.__func__
        place = id(model)
        known = self._models.get(place)
        if known is None or known[0]() is not model:
            try:
                known = weakref.ref(model, functools.partial(self._free, place)), {}
            except TypeError:
                return _Functions()
            self._models[place] = known
        return known[1].setdefault(part, _Functions())

    def _free(self, place: int, reference: weakref.ref[Any]) -> None:
        if place in self._models and self._models[place][0] is reference:
            del self._models[place]


_OWNER = _Owner()


class Classifier:
    """A model from images [B, H, W, C] in [0, 1] to logits [B, K], whatever it expects and returns itself.

    Every function of this library that takes a model takes a `Classifier` too; a bare model is `Classifier(model)`.

    Args:
        model: a Keras model or layer (called with `training=False`), a `tf.Module`, a SavedModel as TensorFlow loads
            it, or any callable of TensorFlow operations. One that takes batches of one size alone gets such batches.
        outputs: what it returns: "logits" [B, K]; "probabilities" [B, K], whose logarithm is taken, or [B, 1] or [B],
            those of class 1; "logit" [B, 1] or [B], of class 1 against class 0.
        input_range: (low, high), the values that it expects for 0 and 1, such as (0, 255) or (-1, 1). Distortions are
            those of images in [0, 1] all the same.
        samples: above 1 for a model that draws random numbers: a gradient is the mean over so many draws (expectation
            over transformation), and an image is adversarial if the model errs in each of so many new ones.
        output_name: which of several outputs to take: a key of a dictionary, the name of a Keras model's output, or a
            position as a string, "0".

    Raises:
        ValueError: a value outside these.

    Source of `samples`: Athalye et al. 2018, https://arxiv.org/abs/1707.07397.

    A network of bytes that ends in a softmax:

    >>> import keras
    >>> layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    >>> network = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    >>> classifier = Classifier(network, outputs="probabilities", input_range=(0, 255))
    >>> images = tf.random.stateless_uniform([2, 8, 8, 1], seed=[0, 0])
    >>> bool(tf.reduce_all(tf.abs(tf.nn.softmax(classifier(images)) - network(255 * images)) < 1e-6))
    True
    """

    def __init__(
        self,
        model: Any,
        outputs: str = "logits",
        input_range: tuple[float, float] = (0.0, 1.0),
        samples: int = 1,
        output_name: str | None = None,
    ) -> None:
        if isinstance(model, Classifier):
            raise ValueError(f"model must be a model that is no Classifier yet; received {model!r}")
        if not callable(model) and not hasattr(model, "signatures"):
            raise ValueError(f"model must be a Keras model or another callable; received {model!r}")
        checks.one_of("outputs", outputs, OUTPUTS)
        checks.interval("input_range", input_range)
        checks.count("samples", samples)
        checks.optional("output_name", output_name, str)
        self.model = model
        self.outputs = outputs
        self.input_range = (float(input_range[0]), float(input_range[1]))
        self.samples = int(samples)
        self.output_name = output_name
        self.tolerance: Any = 0.0  # see `Checked`; a tensor inside a compiled attack
        self.confidence: Any = 0.0  # see `demanding`; a tensor inside a compiled attack
        self.jit_compile = False  # see `by_xla`

    @property
    def random(self) -> bool:
        """Whether its draws differ from call to call."""
        return self.samples > 1

    @property
    def any_size(self) -> bool:
        """Whether what is compiled for it serves images of every size: a model says so by `any_size`, as `Resized`."""
        return bool(getattr(self.model, "any_size", False))

    def over_draws(self, values: tf.Tensor) -> tf.Tensor:
        """[samples, B] as [B], what is known of an image by its draws: their mean."""
        return tf.reduce_mean(values, axis=0)

    @classmethod
    def of(cls, model: Any) -> Classifier:
        """The classifier itself, or that of a bare model."""
        return model if isinstance(model, Classifier) else cls(model)

    def __repr__(self) -> str:
        name = getattr(self.model, "name", None) or getattr(self.model, "__name__", None) or type(self.model).__name__
        return f"Classifier({', '.join([name, *(f'{key}={value!r}' for key, value in self.settings().items())])})"

    def settings(self) -> dict[str, Any]:
        """How the model is used, by the names of the arguments, without what is the default."""
        given = {name: getattr(self, name) for name in ("outputs", "input_range", "samples", "output_name")}
        defaults = inspect.signature(Classifier).parameters
        return {name: value for name, value in given.items() if value != defaults[name].default}

    def __call__(self, images: Any) -> tf.Tensor:
        """The logits [B, K] in float32 of images [B, H, W, C] in [0, 1], by one call of the model."""
        images = tf.convert_to_tensor(images)
        size = only_batch_size(self.model)
        return self._one_batch(images) if size is None else self._in_batches(images, size)

    def draws(self, images: tf.Tensor) -> tf.Tensor:
        """The logits of every draw, [samples * B, K]: of all the images, then of all of them again."""
        return self(tf.tile(images, [self.samples, 1, 1, 1]) if self.samples > 1 else images)

    def quick(self, images: tf.Tensor) -> tf.Tensor:
        """The logits [B, K] of images by a compiled call, within what `check` allows, without each layer's time."""
        logits: tf.Tensor = self._compiled_logits(images)(images)
        return logits

    def check(self, images: tf.Tensor) -> Checked:
        """Calls the model on the first images; where a compiled call differs, forgets all that was compiled before.

        So a model is what it is now, whatever was changed in it since it was last attacked.

        Args:
            images: [B, H, W, C] float32 in [0, 1], those that are attacked next.

        Raises:
            ValueError: what `check_output` refuses, a model that draws random numbers where `samples` is 1, or one that
                TensorFlow cannot compile.
        """
        few = images[: min(COMPARED, only_batch_size(self.model) or COMPARED)]
        output, logits = self.check_output(few)
        classes, rounding = int(logits.shape[1]), EPSILON.get(output.dtype, SINGLE)
        if self.random:
            return Checked(classes, 0.0, rounding)

        functions = _OWNER.functions_of(self.model)
        if not functions.compiled or self.has_changed(few, logits, rounding):
            functions.compiled.clear()
            functions.difference = self._difference(few, logits)
            try:
                self._check_repeatable(few, logits, rounding, functions.difference)
            except ValueError:
                functions.compiled.clear()  # or it would pass as known the next time
                raise
        return Checked(classes, MARGIN * max(functions.difference, USUAL * rounding), rounding)

    def has_changed(self, images: tf.Tensor, logits: tf.Tensor, rounding: float) -> bool:
        """Whether the compiled logits of some images differ from these, of an eager call, by more than rounding.

        Args:
            images: [B, H, W, C] float32 in [0, 1].
            logits: [B, K].
            rounding: see `Checked`.
        """
        usual = ROUNDINGS * _OWNER.functions_of(self.model).difference
        return not self._difference(images, logits) <= max(_same(rounding), usual)  # so NaN is a change, too

    def _difference(self, images: tf.Tensor, logits: tf.Tensor) -> float:
        """What compiled logits differ by from these, where these are finite, relative to the largest."""
        return float(_difference(self.quick(images), logits))

    def check_output(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What the model returns for some images, and the logits [B, K] that it stands for.

        Raises:
            ValueError: a model that does not take the images or does not return finite logits, or one that looks like
                probabilities.
        """
        images = images[: only_batch_size(self.model)]
        output = self._tried(images)
        if not (output.dtype.is_floating or output.dtype.is_integer):
            raise ValueError(f"the model must map images to logits; it returned {output.dtype.name}")
        logits = self._logits(output)
        self._check_logits(images, output, logits)
        return output, logits

    def compiled(self, key: Any, make: Callable[[], Function]) -> Function:
        """What `make` compiles, kept for as long as the model lives and does not change.

        Args:
            key: what tells it from the model's other functions; hashable.
            make: takes nothing; what it returns must not refer to the model.
        """
        # Whether a random model has changed cannot be told: it is compiled for each call.
        functions = _OWNER.functions_of(self.model) if not self.random else _Functions()
        key = self._key(key)
        if key not in functions.compiled:
            functions.compiled[key] = make()
        return functions.compiled[key]

    def has_compiled(self, key: Any) -> bool:
        """Whether `compiled` has something of this key."""
        return not self.random and self._key(key) in _OWNER.functions_of(self.model).compiled

    def forget(self) -> None:
        """Frees all that is compiled for the model."""
        _OWNER.functions_of(self.model).compiled.clear()

    def renew(self, images: tf.Tensor, logits: tf.Tensor) -> None:
        """Frees it, and widens the tolerance by how far a new compiled call on these images is from these logits."""
        self.forget()
        functions = _OWNER.functions_of(self.model)
        functions.difference = max(functions.difference, self._difference(images, logits))

    def within(self, tolerance: Any) -> Classifier:
        """The same classifier with this tolerance."""
        changed = copy.copy(self)
        changed.tolerance = tolerance
        return changed

    def demanding(self, confidence: Any) -> Classifier:
        """The same classifier, of which an attack takes as a success what is wrong by so much, in logits."""
        changed = copy.copy(self)
        changed.confidence = confidence
        return changed

    def by_xla(self) -> Classifier:
        """The same classifier, attacks on which XLA compiles as a whole, once for each size of batch.

        GPUs may be faster so, CPUs are slower. That no image has a gradient is no error then: it shows in
        `AttackResult.faulty`.
        """
        changed = copy.copy(self)
        changed.jit_compile = True
        return changed

    def folded(self) -> Classifier:
        """The same classifier of a faster network (`folding.folded`), for one graph; itself where there is none."""
        changed = copy.copy(self)
        # It goes over layers, which are no tensors, by Python alone.
        changed.model = tf.autograph.experimental.do_not_convert(folding.folded)(self.model)
        return self if changed.model is self.model else changed

    def folded_within(self, images: tf.Tensor) -> Classifier:
        """The same inside of a graph, where the tolerance is measured when that runs.

        Args:
            images: [B, H, W, C] float32 in [0, 1], those that are attacked.
        """
        folded, few = self.folded(), images[:COMPARED]
        if folded is self or self.random:
            return folded
        return folded.within(MARGIN * tf.maximum(_difference(folded(few), self(few)), USUAL * SINGLE))

    def _key(self, key: Any) -> Any:
        return (key, *self.settings().items())

    def _one_batch(self, images: tf.Tensor) -> tf.Tensor:
        return self._logits(self._output(call(self.model, self._scaled(images))))

    def _in_batches(self, images: tf.Tensor, size: int) -> tf.Tensor:
        """Logits of any number of images by a model that takes `size` of them; zeros fill up the last batch."""
        count = tf.shape(images)[0]
        groups = (count + size - 1) // size
        padded = tf.pad(images, [[0, groups * size - count], [0, 0], [0, 0], [0, 0]])
        batches = tf.reshape(padded, tf.concat([[groups, size], tf.shape(images)[1:]], 0))
        batches = tf.ensure_shape(batches, [None, size, *images.shape[1:]])
        logits = tensors.in_turn(self._one_batch, batches, tf.float32)
        return tf.reshape(logits, [-1, logits.shape[-1]])[:count]

    def _compiled_logits(self, images: tf.Tensor) -> Function:
        size = [None, None] if self.any_size else images.shape[1:3]
        spec = tf.TensorSpec([None, *size, images.shape[3]], tf.float32)
        return self.compiled(("logits", *spec.shape), lambda: compile_for(self._folded_logits, spec))

    def _folded_logits(self, images: tf.Tensor) -> tf.Tensor:
        return self.folded()(images)

    def _scaled(self, images: tf.Tensor) -> tf.Tensor:
        low, high = self.input_range
        return images if (low, high) == (0, 1) else low + (high - low) * images

    def _tried(self, images: tf.Tensor) -> tf.Tensor:
        count, size = images.shape[0], only_batch_size(self.model) or images.shape[0]
        filled = tf.gather(images, tf.range(size) % count)
        try:
            output = self._output(call(self.model, self._scaled(filled)))
        except OutputError:
            raise
        except Exception as error:  # Keras, TensorFlow and the model's own code each raise their own
            raise ValueError(
                f"the model must take images {tuple(images.shape[1:])}; it raised {type(error).__name__}: "
                f"{checks.first_line(error)}"
            ) from error
        return output[:count] if output.shape.rank else output

    def _output(self, returned: Any) -> tf.Tensor:
        """The one output to take of what the model returns."""
        if isinstance(returned, Mapping):
            outputs = {str(name): output for name, output in returned.items()}
        elif isinstance(returned, (list, tuple)):
            names = getattr(self.model, "output_names", None) or ()
            outputs = dict(zip(names if len(names) == len(returned) else map(str, range(len(returned))), returned))
        elif self.output_name is None or [self.output_name] == getattr(self.model, "output_names", None):
            return tf.convert_to_tensor(returned)
        else:
            raise OutputError(f"the model returns one output without a name; received output_name={self.output_name!r}")
        if self.output_name is None and len(outputs) == 1:
            return tf.convert_to_tensor(*outputs.values())
        if self.output_name not in outputs:
            raise OutputError(
                f"the model returns the outputs {', '.join(outputs) or 'none'}: take one by "
                f"sa.Classifier(model, output_name=...), the flag --output_name; received {self.output_name!r}"
            )
        return tf.convert_to_tensor(outputs[self.output_name])

    def _logits(self, output: tf.Tensor) -> tf.Tensor:
        """An output as logits [B, K] in float32."""
        output = tf.cast(output, tf.float32)
        if self.outputs == "logits":
            return output
        column = tf.reshape(output, [-1, 1]) if output.shape[1:].num_elements() == 1 else None
        if self.outputs == "logit":
            return output if column is None else tf.concat([tf.zeros_like(column), column], axis=1)
        if column is not None:
            output = tf.concat([1 - column, column], axis=1)
        return tf.math.log(tf.maximum(output, LEAST))

    def _check_logits(self, images: tf.Tensor, output: tf.Tensor, logits: tf.Tensor) -> None:
        """Raises ValueError unless the output is what it is said to be."""
        received = f"it returned {output.shape}"
        single = output.shape.rank is not None and output.shape[1:].num_elements() == 1
        if self.outputs == "logit" and not single:
            raise ValueError(f"the model must return one logit an image, by outputs='logit'; {received}")
        if logits.shape.rank != 2 or logits.shape[0] != images.shape[0] or logits.shape[1] < 2:
            hint = (
                "; sa.Classifier(model, outputs='logit', or 'probabilities') takes one number an image"
                if single
                else ""
            )
            raise ValueError(f"the model must map images to logits [batch, classes]; {received}{hint}")
        if not bool(tf.reduce_all(tf.math.is_finite(logits))):
            raise ValueError("the model must return finite logits; it returned NaN or infinity for these images")
        rows = tf.cast(output, tf.float32)
        if single:
            rows = tf.reshape(rows, [-1, 1])
            rows = tf.concat([rows, 1 - rows], axis=1)
        sums = tf.reduce_sum(rows, axis=-1)
        close = max(1e-3, 3 * EPSILON.get(output.dtype, SINGLE))  # in bfloat16 a softmax sums to 1 within a hundredth
        distributed = bool(tf.reduce_all(rows >= 0) & tf.reduce_all(tf.abs(sums - 1) < close))
        if self.outputs == "logits" and distributed:
            raise ValueError(
                "the model must return logits; each row it returned is non-negative and sums to 1, which is what a "
                "softmax gives: take the softmax off its last layer (activation=None), or say that it returns "
                "probabilities: sa.Classifier(model, outputs='probabilities'), the flag --outputs=probabilities"
            )
        if self.outputs == "probabilities" and not distributed:
            low, least, most = float(tf.reduce_min(rows)), float(tf.reduce_min(sums)), float(tf.reduce_max(sums))
            raise ValueError(
                "the model must return rows that are non-negative and sum to 1, by outputs='probabilities'; it "
                f"returned values from {low:.4g} on and sums from {least:.4g} to {most:.4g}"
            )

    def _check_repeatable(self, images: tf.Tensor, logits: tf.Tensor, rounding: float, compiled: float) -> None:
        """Raises ValueError for a model that is random, or another one when it is compiled.

        Args:
            images: [B, H, W, C].
            logits: what it gave them, [B, K].
            rounding: see `Checked`.
            compiled: what its compiled logits differ by from these, relative.
        """
        again = [float(_difference(self(images), logits)) for _ in range(REPEATS)]
        if not all(one <= max(_same(rounding), compiled / ROUNDINGS) for one in again):
            raise ValueError(
                "the model must return the same logits each time; two calls on one image differ: switch its dropout or "
                "noise off (training=False), or say that it draws random numbers: sa.Classifier(model, samples=10), "
                "the flag --samples=10"
            )
        if not compiled <= max(_same(rounding), OTHER):
            raise ValueError(
                f"the model must return the same logits compiled by tf.function as called eagerly; they differ by "
                f"{compiled:.2g} of the largest: look for what asks tf.executing_eagerly() in it"
            )


def _same(rounding: float) -> float:
    """What the logits of two calls may differ by, relative to the largest, by the rounding of their number format."""
    return max(SAME * rounding, LEAST_SAME)


def _difference(others: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """What other logits differ by from these, where these are finite, relative to the largest or, of zeros, to 1."""
    finite = tf.math.is_finite(logits)
    largest = tf.reduce_max(tf.where(finite, tf.abs(logits), 0))
    apart = tf.reduce_max(tf.where(finite, tf.abs(others - logits), 0))
    return apart / tf.where(largest > 0, largest, 1)


def call(model: Any, images: tf.Tensor) -> Any:
    """What a model returns for the images that it expects, in inference mode."""
    if not callable(model):  # a SavedModel that has nothing but signatures
        model = signature_of(model)
    arguments, named = getattr(model, "structured_input_signature", None) or (None, None)
    if not arguments and named:  # a signature, which takes its tensors by name alone
        if len(named) > 1:
            raise ValueError(f"the model takes {', '.join(named)}; it must take images alone")
        return model(**dict.fromkeys(named, images))
    return model(images, training=False) if _takes_training(model) else model(images)


def signature_of(saved_model: Any, name: str = "serving_default") -> Any:
    """A signature of a loaded SavedModel, from one tensor to a dictionary.

    Raises:
        ValueError: it has none of this name.
    """
    if name not in saved_model.signatures:
        raise ValueError(
            f"the SavedModel must have a signature {name!r}; it has {', '.join(saved_model.signatures) or 'none'}"
        )
    return saved_model.signatures[name]


def _takes_training(model: Any) -> bool:
    """Whether a model is to be called with `training=False`: a Keras layer, or what has an argument of that name."""
    classes = type(model).__mro__
    if any(c.__name__ == "Layer" and c.__module__.split(".")[0] in ("keras", "tf_keras") for c in classes):
        return True
    try:
        return "training" in inspect.signature(model).parameters
    except (TypeError, ValueError):  # of what is not written in Python
        return False


def only_batch_size(model: Any) -> int | None:
    """The size of batch that a model says it takes, a Keras model's or a `tf.function`'s signature; None for any."""
    if not callable(model):
        model = signature_of(model)
    inputs = getattr(model, "inputs", None)
    for function in (model, model.__call__):
        inputs = inputs or getattr(function, "input_signature", None)
    if not inputs and getattr(model, "structured_input_signature", None):
        arguments, named = model.structured_input_signature
        inputs = [*arguments, *named.values()]
    shape = getattr(inputs[0], "shape", None) if isinstance(inputs, (list, tuple)) and inputs else None
    return shape[0] if shape is not None and len(shape) == 4 else None


def compile_for(function: Function, *arguments: tf.TensorSpec) -> Function:
    """A function that calls a model as one TensorFlow graph, for these arguments.

    Raises:
        NoGradientError: a loss without a gradient in the images.
        ValueError: a model that is not made of TensorFlow operations.
    """
    try:
        concrete: Callable[..., Any] = tf.function(function).get_concrete_function(*arguments)
        return concrete
    except Exception as error:  # TensorFlow, Keras and the model's own code each raise their own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        last = lines[-1] if lines else type(error).__name__
        told = last.partition(f"{NoGradientError.__name__}: ")[2]
        if told or isinstance(error, NoGradientError):
            raise NoGradientError(told or last) from error
        raise ValueError(
            f"TensorFlow cannot compile the model, which must be made of its operations, without NumPy: {last}"
        ) from error
