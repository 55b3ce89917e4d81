"""What the eye makes of a perturbation: published measures of the difference between two images, in one table.

Measures of the eye take images as a screen shows them, in the colours of sRGB; a grey image is one whose three colours
are equal. What a measure cannot judge it does not judge, see `Measure.smallest`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import importlib.util
import io
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, display
from tf_smoothadv.magnification import magnify, rescaled

Compare = Callable[[np.ndarray, np.ndarray], Any]

BUTTERAUGLI = "butteraugli_main"
LEVEL_ERROR = 1e-2  # of a level of 8 bits: what arithmetic in float32 may leave
SHOWN = 10  # images in a printed table


class Measure(NamedTuple):
    """One measure of the difference between an original and a delivered image.

    Attributes:
        heading: in tables.
        unit: of its numbers.
        ideal: of an image beside itself.
        larger_is_better: whether less visible is larger.
        digits: behind the point, in tables.
        smallest: pixels a side of the smallest image that it can judge.
        why: what it would lack on a smaller one.
        colors: whether it takes sRGB, and so 1 or 3 channels; others take any channels.
        needs: a Python package, or a program if it is BUTTERAUGLI; "" for nothing.
        source: where it is defined.
        compare: from an original and a delivered image, uint8 [H, W, C], to a number or a map of them.
        pooled: from what `compare` gives to a number.

    >>> MEASURES["ssimulacra2"].ideal, MEASURES["ssimulacra2"].larger_is_better, MEASURES["ssimulacra2"].unit
    (100.0, True, 'points of 100')
    """

    heading: str
    unit: str
    ideal: float
    larger_is_better: bool
    digits: int
    smallest: int
    why: str
    colors: bool
    needs: str
    source: str
    compare: Compare
    pooled: Callable[[Any], float] = float

    def at_most(self, values: Any, limit: Any) -> Any:
        """Whether something is no more visible at these values than at the limit; False for NaN.

        >>> bool(MEASURES["ssimulacra2"].at_most(95.0, 90.0)), bool(MEASURES["flip"].at_most(0.2, 0.1))
        (True, False)
        """
        return np.greater_equal(values, limit) if self.larger_is_better else np.less_equal(values, limit)


def _ssimulacra2(original: np.ndarray, delivered: np.ndarray) -> float:
    from ssimulacra2 import compute_ssimulacra2

    score: float = compute_ssimulacra2(*(io.BytesIO(_png(pixels)) for pixels in (original, delivered)))
    return score


def _flip(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    import flip_evaluator

    pair = (_rgb(pixels).astype(np.float32) / 255 for pixels in (original, delivered))
    error: np.ndarray = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, computeMeanError=False)[0]
    return error


def _ciede2000(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    from skimage import color

    difference: np.ndarray = color.deltaE_ciede2000(*(color.rgb2lab(_rgb(pixels)) for pixels in (original, delivered)))
    return difference


def _ssim(original: np.ndarray, delivered: np.ndarray) -> tf.Tensor:
    return tf.image.ssim(*map(_batch_of_one, (original, delivered)), max_val=1.0)[0]


def _ms_ssim(original: np.ndarray, delivered: np.ndarray) -> tf.Tensor:
    return tf.image.ssim_multiscale(*map(_batch_of_one, (original, delivered)), max_val=1.0)[0]


def _magnified_ssim(original: np.ndarray, delivered: np.ndarray) -> tf.Tensor:
    pair = rescaled([magnify(_batch_of_one(pixels)) for pixels in (original, delivered)])
    return tf.image.ssim(*pair, max_val=1.0)[0]


def _butteraugli(original: np.ndarray, delivered: np.ndarray) -> float:
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("original.png", "delivered.png")]
        for path, pixels in zip(paths, (original, delivered)):
            path.write_bytes(_png(pixels))
        try:
            finished = subprocess.run([BUTTERAUGLI, *paths], capture_output=True, text=True, check=True)
            return float(finished.stdout.split()[0])
        except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
            told = getattr(error, "stderr", None) or str(error)
            raise ValueError(f"{BUTTERAUGLI} gives no number: {told.strip().splitlines()[-1]}") from error


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _png(pixels: np.ndarray) -> bytes:
    encoded: bytes = tf.io.encode_png(_rgb(pixels)).numpy()
    return encoded


def _batch_of_one(pixels: np.ndarray) -> tf.Tensor:
    return tf.constant(pixels[np.newaxis] / np.float32(255))


_SCALES = "all of its 6 scales, without which published programs mix up its weights"
_WINDOW = "one window of 11 pixels"
_DEGREE = "a degree of the eye, of 67 pixels"

MEASURES = {
    "ssimulacra2": Measure(
        "SSIMULACRA2", "points of 100", 100.0, True, 1, 225, _SCALES, True, "ssimulacra2",
        "Sneyers 2022, https://github.com/cloudinary/ssimulacra2", _ssimulacra2,
    ),
    "butteraugli": Measure(
        "butteraugli", "just noticeable differences", 0.0, False, 2, 67, _DEGREE, True, BUTTERAUGLI,
        "Alakuijala et al. 2017, \"Guetzli\", as libjxl has it: the largest of all pixels, on a screen of 80 nits",
        _butteraugli,
    ),
    "flip": Measure(
        "FLIP", "0 to 1, mean of all pixels", 0.0, False, 4, 67, _DEGREE, True, "flip_evaluator",
        "Andersson et al. 2020, \"FLIP: A difference evaluator for alternating images\", at 67 pixels a degree",
        _flip, np.mean,
    ),
    "ciede2000_mean": Measure(
        "CIEDE2000 mean", "Delta E00, about 1 is just noticeable", 0.0, False, 3, 1, "", True, "skimage",
        "Sharma, Wu, Dalal 2005, \"The CIEDE2000 color-difference formula\"; white D65, 2 degrees", _ciede2000, np.mean,
    ),
    "ciede2000_p99": Measure(
        "CIEDE2000 p99", "Delta E00, 99th percentile of all pixels", 0.0, False, 2, 1, "", True, "skimage",
        "as ciede2000_mean", _ciede2000, functools.partial(np.percentile, q=99),
    ),
    "ms_ssim": Measure(
        "MS-SSIM", "at most 1", 1.0, True, 5, 161, "its 5 scales", False, "",
        "Wang, Simoncelli, Bovik 2003, \"Multiscale structural similarity\"; mean of the channels", _ms_ssim,
    ),
    "ssim": Measure(
        "SSIM", "at most 1", 1.0, True, 4, 11, _WINDOW, False, "",
        "Wang, Bovik, Sheikh, Simoncelli 2004, \"Image quality assessment\"; mean of the channels", _ssim,
    ),
    "magnified_ssim": Measure(
        "magnified SSIM", "at most 1", 1.0, True, 4, 11, _WINDOW, False, "",
        "SSIM of both images magnified by (22), in one range from their least value to their largest", _magnified_ssim,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, repr=False)
class Visibility:
    """What measures say of B images.

    Attributes:
        values: by the name of a measure, [B].

    >>> found = Visibility({"ssim": np.array([0.99, 0.97]), "ciede2000_mean": np.array([0.1, 0.3])})
    >>> found
    image                     SSIM  CIEDE2000 mean
    0                       0.9900           0.100
    1                       0.9700           0.300
    mean                    0.9800           0.200
    >>> found["ssim"].tolist()
    [0.99, 0.97]
    """

    values: dict[str, np.ndarray]

    def __getitem__(self, measure: str) -> np.ndarray:
        checks.one_of("measure", measure, tuple(self.values))
        return self.values[measure]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def of_images(self) -> list[dict[str, float]]:
        """The same by image: for each of the B the number of each measure."""
        return [dict(zip(self.values, row)) for row in zip(*(column.tolist() for column in self.values.values()))]

    def __repr__(self) -> str:
        return display.lines(*self._table())

    def _repr_html_(self) -> str:
        return display.table(*self._table())

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = self.of_images()
        mean = {name: float(np.mean(column)) for name, column in self.values.items() if len(column)}
        shown = {**{str(place): row for place, row in enumerate(rows[:SHOWN])}, **({"mean": mean} if mean else {})}
        cells = [
            [heading, *(f"{value:.{MEASURES[name].digits}f}" for name, value in row.items())]
            for heading, row in shown.items()
        ]
        return ["image", *(MEASURES[name].heading for name in self.values)], cells


def installed(measure: str) -> bool:
    """Whether the package or program of a measure is there.

    >>> installed("ssim")
    True
    """
    needs = MEASURES[measure].needs
    if needs == BUTTERAUGLI:
        return shutil.which(needs) is not None
    return not needs or importlib.util.find_spec(needs) is not None


def available(shape: Sequence[int]) -> tuple[str, ...]:
    """The measures that are installed and can judge images of this shape [H, W, C].

    >>> available([28, 28, 2])
    ('ssim', 'magnified_ssim')
    """
    return tuple(name for name in MEASURES if installed(name) and not _refusal(name, shape))


def _refusal(measure: str, shape: Sequence[int]) -> str:
    """Why a measure cannot judge images of a shape [H, W, C]; empty if it can."""
    row, (height, width, channels) = MEASURES[measure], shape
    if row.colors and channels not in (1, 3):
        return f"{measure} judges images of 1 or 3 channels; received {channels}"
    if min(height, width) < row.smallest:
        return (
            f"{measure} judges images of at least {row.smallest} x {row.smallest} pixels: on smaller ones it lacks "
            f"{row.why}; received {height} x {width}"
        )
    return ""


def check(measures: Sequence[str], shape: Sequence[int]) -> None:
    """Raises ValueError unless these are measures that are installed and can judge images of a shape [H, W, C]."""
    for name in measures:
        checks.one_of("measure", name, tuple(MEASURES))
        if refusal := _refusal(name, shape):
            raise ValueError(refusal)
        if not installed(name):
            needs = MEASURES[name].needs
            remedy = "apt install libjxl-devtools" if needs == BUTTERAUGLI else "pip install 'tf_smoothadv[eval]'"
            kind = "program" if needs == BUTTERAUGLI else "package"
            raise ValueError(f"{name} needs the {kind} {needs}, which is not here: {remedy}")


def visibility(originals: Any, delivered: Any, measures: Sequence[str] | None = None) -> Visibility:
    """What the eye makes of the difference between originals and delivered images, image by image.

    Args:
        originals, delivered: [B, H, W, C] in [0, 1], of the values that 8 bits hold.
        measures: names of MEASURES; by default those that are installed and can judge images of this size.

    Returns:
        A `Visibility`: [B] for each measure.

    Raises:
        ValueError: images of different shapes, outside [0, 1], or not of 8 bits; a measure that is unknown, that is
            not installed, or that cannot judge such images.

    Images are judged side by side in threads.

    >>> originals = tf.fill([2, 32, 32, 3], 128 / 255)
    >>> found = visibility(originals, originals, ["ssim", "magnified_ssim"])
    >>> found["ssim"].tolist()
    [1.0, 1.0]
    """
    pair = [_pixels(images, name) for images, name in ((originals, "originals"), (delivered, "delivered"))]
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"originals and delivered must have one shape; received {pair[0].shape} and {pair[1].shape}")
    shape = pair[0].shape[1:]
    names = available(shape) if measures is None else (measures,) if isinstance(measures, str) else tuple(measures)
    check(names, shape)

    def judge(original: np.ndarray, image: np.ndarray) -> list[float]:
        compare = functools.cache(lambda function: function(original, image))  # two measures share a map
        return [float(MEASURES[name].pooled(compare(MEASURES[name].compare))) for name in names]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(judge, *pair))
    columns = np.array(rows, np.float64).reshape(len(rows), len(names)).T
    return Visibility(dict(zip(names, columns)))


def _pixels(images: Any, name: str) -> np.ndarray:
    """Images as 8-bit pixels."""
    levels = 255 * checks.as_images(images, name).numpy()
    pixels = np.round(levels)
    if not np.all(np.abs(levels - pixels) < LEVEL_ERROR):
        raise ValueError(f"{name} must be images as 8 bits hold them; quantize them: sa.protocol.quantize(images)")
    return pixels.astype(np.uint8)
