"""What the eye makes of a perturbation: published measures of the difference between two images, in one table.

Measures of the eye take images as a screen shows them, in the colours of sRGB; a grey image is one whose three colours
are equal. What a measure cannot judge it does not judge, see `Measure.judges`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import importlib.util
import itertools
import math
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_smoothadv import checks, display, strips
from tf_smoothadv.magnification import magnify, rescaled

__all__ = ["Measure", "Visibility", "available", "installed", "visibility"]

Compare = Callable[[np.ndarray, np.ndarray], Any]

PROGRAMS = {"butteraugli": "apt install butteraugli", "butteraugli_main": "apt install libjxl-devtools"}
OPTIONAL = (*PROGRAMS, "flip_evaluator")  # what not every machine can have
MS_SSIM_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from the finest scale to the coarsest
DEGREE = 67  # pixels of a degree of the eye, on a screen seen from the usual distance: FLIP's own setting
SHOWN = 10  # images in a printed table


class Measure(NamedTuple):
    """One measure of the difference between an original and a delivered image.

    Attributes:
        heading: in tables.
        unit: of its numbers.
        ideal: its number for two equal images.
        larger_is_better: whether its number is larger where less is visible.
        digits: behind the point, in tables.
        needs: a Python package, or one of PROGRAMS.
        source: where it is defined.
        compare: from an original and a delivered image, uint8 [H, W, C], to a number or a map.
        pooled: from that to a number.
        smallest: pixels a side of the smallest image that it can judge.
        lacks: what it has not on a smaller one.
        largest: megapixels of the largest image that it can judge within a few gigabytes; None for any.
        colors: whether it takes sRGB, and so 1 or 3 channels; others take any channels.

    >>> MEASURES["flip"].ideal, MEASURES["flip"].larger_is_better, MEASURES["flip"].unit
    (0.0, False, '0 to 1')
    """

    heading: str
    unit: str
    ideal: float
    larger_is_better: bool
    digits: int
    needs: str
    source: str
    compare: Compare
    pooled: Callable[[Any], float] = float
    smallest: int = 1
    lacks: str = ""
    largest: int | None = None
    colors: bool = False

    @property
    def needed(self) -> str:
        """What an image must have, as text.

        >>> MEASURES["ssim"].needed, MEASURES["flip"].needed
        ('at least 11 pixels a side', 'at least 67 pixels a side, 1 or 3 channels')
        """
        size = f"at least {self.smallest} pixels a side" if self.smallest > 1 else ""
        pixels = f"at most {self.largest} megapixels" if self.largest else ""
        channels = "1 or 3 channels" if self.colors else ""
        return ", ".join(filter(None, (size, pixels, channels)))

    def judges(self, shape: Sequence[int]) -> bool:
        """Whether it can judge images of a shape [H, W, C].

        >>> MEASURES["flip"].judges([299, 299, 3]), MEASURES["flip"].judges([28, 28, 1])
        (True, False)
        """
        height, width, channels = shape
        fits = self.largest is None or height * width <= 1e6 * self.largest
        return fits and min(height, width) >= self.smallest and (not self.colors or channels in (1, 3))

    def seen(self, values: Any) -> Any:
        """The values turned so that more visible is larger.

        >>> bool(MEASURES["ssimulacra2"].seen(95.0) < MEASURES["ssimulacra2"].seen(90.0))
        True
        """
        return -values if self.larger_is_better else values


def _ssimulacra2(original: np.ndarray, delivered: np.ndarray) -> float:
    return strips.ssimulacra2(_rgb(original), _rgb(delivered))


def _flip(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    import flip_evaluator

    pair = (_rgb(pixels).astype(np.float32) / 255 for pixels in (original, delivered))
    error: np.ndarray = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, computeMeanError=False)[0]
    return error


def _ciede2000(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    from skimage import color

    rows = (slice(*ends) for ends in strips.strips(len(original)))
    pairs = ((color.rgb2lab(_rgb(pixels[some])) for pixels in (original, delivered)) for some in rows)
    difference: np.ndarray = np.concatenate([color.deltaE_ciede2000(*pair) for pair in pairs])
    return difference


def _ssim(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    factors = (_similarity(*pair) for pair in _channels(original, delivered))
    return np.concatenate([luminance * structure for luminance, structure in factors])


def _ms_ssim(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    return np.concatenate([_over_scales(*pair) for pair in _channels(original, delivered)])


def _over_scales(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """MS-SSIM of each channel of [C, H, W]; [C]."""
    product: Any = 1.0
    for scale, power in enumerate(MS_SSIM_POWERS, start=1):
        luminance, structure = _similarity(x, y)
        factor = luminance * structure if scale == len(MS_SSIM_POWERS) else structure
        product = product * np.maximum(factor.mean(axis=(1, 2)), 0) ** power
        x, y = _halved(x), _halved(y)
    similarity: np.ndarray = product
    return similarity


def _magnified_ssim(original: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    images = tf.constant(np.stack([original, delivered]) / np.float32(255))
    luminance, structure = _similarity(*np.moveaxis(rescaled(magnify(images)).numpy().astype(np.float64), -1, 1))
    similarity: np.ndarray = luminance * structure
    return similarity


def _similarity(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """`_similar` strip by strip."""
    rows = (slice(begin, end + 10) for begin, end in strips.strips(x.shape[1] - 10))
    return [np.concatenate(parts, axis=1) for parts in zip(*(_similar(x[:, some], y[:, some]) for some in rows))]


def _similar(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two factors of SSIM, luminance and contrast with structure, of [C, H, W] in [0, 1]; [C, H - 10, W - 10].

    In float64: of nearly equal images the variances are small differences of large numbers, and float32 misses the
    fourth digit of SSIM.
    """
    from scipy import ndimage

    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(z: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = ndimage.correlate1d(ndimage.correlate1d(z, window, axis=1), window, axis=2)
        return blurred[:, 5:-5, 5:-5]

    mu_x, mu_y = mean(x), mean(y)
    squares = mu_x**2 + mu_y**2
    luminance = (2 * mu_x * mu_y + 0.01**2) / (squares + 0.01**2)
    structure = (2 * (mean(x * y) - mu_x * mu_y) + 0.03**2) / (mean(x**2 + y**2) - squares + 0.03**2)
    return luminance, structure


def _halved(z: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of [C, H, W]; at an odd side the last ones have one row or column."""
    channels, height, width = z.shape
    even = np.pad(z, [(0, 0), (0, height % 2), (0, width % 2)], mode="edge")
    blocks = even.reshape(channels, (height + 1) // 2, 2, (width + 1) // 2, 2)
    means: np.ndarray = blocks.mean(axis=(2, 4))
    return means


def _channels(*images: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Channel by channel images [H, W, C] as [1, H, W] in [0, 1]: one at a time takes less memory."""
    for channel in range(images[0].shape[-1]):
        yield [pixels[np.newaxis, ..., channel] / 255 for pixels in images]


def _by(program: str) -> Compare:
    """What a program prints first for the PNG files of an original and a delivered image."""

    def compare(original: np.ndarray, delivered: np.ndarray) -> float:
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("original.png", "delivered.png")]
            for path, pixels in zip(paths, (original, delivered)):
                path.write_bytes(_png(pixels))
            try:
                finished = subprocess.run([program, *paths], capture_output=True, text=True, check=True)
                return float(finished.stdout.split()[0])
            except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
                told = [*str(getattr(error, "stderr", "")).strip().splitlines(), str(error)][0]
                raise ValueError(f"{program} gives no number: {told}") from error

    return compare


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _png(pixels: np.ndarray) -> bytes:
    encoded: bytes = tf.io.encode_png(_rgb(pixels)).numpy()
    return encoded


MEASURES = {
    "ssimulacra2": Measure(
        heading="SSIMULACRA2",
        unit="points of 100",
        ideal=100.0,
        larger_is_better=True,
        digits=1,
        smallest=225,
        lacks="some of its 6 scales, without which the published programs mix up its weights",
        colors=True,
        needs="ssimulacra2",
        source="Sneyers 2022, https://github.com/cloudinary/ssimulacra2; 90 is visually lossless",
        compare=_ssimulacra2,
    ),
    "butteraugli": Measure(
        heading="butteraugli",
        unit="1 is just noticeable",
        ideal=0.0,
        larger_is_better=False,
        digits=2,
        smallest=DEGREE,
        lacks="a degree of the eye",
        largest=8,
        colors=True,
        needs="butteraugli",
        source="Alakuijala et al. 2017, https://arxiv.org/abs/1703.04421, as Google's program of that year has it; the "
        "largest of the pixels",
        compare=_by("butteraugli"),
    ),
    "butteraugli_jxl": Measure(
        heading="butteraugli (JXL)",
        unit="1 is just noticeable",
        ideal=0.0,
        larger_is_better=False,
        digits=2,
        smallest=DEGREE,
        lacks="a degree of the eye",
        largest=4,
        colors=True,
        needs="butteraugli_main",
        source="the same as libjxl has it, whose numbers are others, on a screen of 80 nits",
        compare=_by("butteraugli_main"),
    ),
    "flip": Measure(
        heading="FLIP",
        unit="0 to 1",
        ideal=0.0,
        larger_is_better=False,
        digits=4,
        smallest=DEGREE,
        lacks="a degree of the eye",
        colors=True,
        needs="flip_evaluator",
        source=f"Andersson et al. 2020, https://doi.org/10.1145/3406183, at {DEGREE} pixels a degree; mean of the "
        "pixels",
        compare=_flip,
        pooled=np.mean,
    ),
    "ciede2000_mean": Measure(
        heading="CIEDE2000 mean",
        unit="Delta E",
        ideal=0.0,
        larger_is_better=False,
        digits=3,
        needs="skimage",
        colors=True,
        source="Sharma, Wu, Dalal 2005, https://doi.org/10.1002/col.20070; white D65, 2 degrees; mean of the pixels",
        compare=_ciede2000,
        pooled=np.mean,
    ),
    "ciede2000_p99": Measure(
        heading="CIEDE2000 p99",
        unit="Delta E",
        ideal=0.0,
        larger_is_better=False,
        digits=2,
        needs="skimage",
        colors=True,
        source="the same, the 99th percentile of the pixels",
        compare=_ciede2000,
        pooled=functools.partial(np.percentile, q=99),
    ),
    "ms_ssim": Measure(
        heading="MS-SSIM",
        unit="at most 1",
        ideal=1.0,
        larger_is_better=True,
        digits=5,
        smallest=161,
        lacks="some of its 5 scales",
        needs="scipy",
        source="Wang, Simoncelli, Bovik 2003, https://doi.org/10.1109/ACSSC.2003.1292216; mean of the channels",
        compare=_ms_ssim,
        pooled=np.mean,
    ),
    "ssim": Measure(
        heading="SSIM",
        unit="at most 1",
        ideal=1.0,
        larger_is_better=True,
        digits=5,
        smallest=11,
        lacks="a whole window",
        needs="scipy",
        source="Wang, Bovik, Sheikh, Simoncelli 2004, https://doi.org/10.1109/TIP.2003.819861; mean of the channels",
        compare=_ssim,
        pooled=np.mean,
    ),
    "magnified_ssim": Measure(
        heading="magnified SSIM",
        unit="at most 1",
        ideal=1.0,
        larger_is_better=True,
        digits=4,
        smallest=11,
        lacks="a whole window",
        largest=4,
        needs="scipy",
        source="SSIM of both images as `magnify` (22) shows them, their common range scaled to [0, 1]",
        compare=_magnified_ssim,
        pooled=np.mean,
    ),
}
LOSSLESS = ("ssimulacra2", 90.0)  # "visually lossless": no difference even where the two images alternate


@dataclasses.dataclass(frozen=True, repr=False)
class Visibility:
    """What measures say of B images.

    Attributes:
        values: by the name of a measure, [B].

    >>> found = Visibility({"ssim": np.array([0.99, 0.97]), "ciede2000_mean": np.array([0.1, 0.3])})
    >>> found
    image     SSIM  CIEDE2000 mean
    0      0.99000           0.100
    1      0.97000           0.300
    mean   0.98000           0.200
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
    if needs in PROGRAMS:
        return shutil.which(needs) is not None
    return importlib.util.find_spec(needs) is not None


def available(shape: Sequence[int]) -> tuple[str, ...]:
    """The measures that are installed and can judge images of this shape [H, W, C].

    >>> available([28, 28, 2])
    ('ssim', 'magnified_ssim')
    """
    return tuple(name for name, row in MEASURES.items() if installed(name) and row.judges(shape))


def check(measures: Iterable[str], shape: Sequence[int]) -> None:
    """Raises ValueError unless these are measures that are installed and can judge images of a shape [H, W, C]."""
    for name in measures:
        checks.one_of("measure", name, tuple(MEASURES))
        row = MEASURES[name]
        if not row.judges(shape):
            lacking = f", on smaller ones it lacks {row.lacks}" if min(shape[:2]) < row.smallest else ""
            raise ValueError(f"{name} judges images of {row.needed}{lacking}; received {list(shape)}")
        if not installed(name):
            kind = "program" if row.needs in PROGRAMS else "package"
            remedy = PROGRAMS.get(row.needs, "pip install 'tf_smoothadv[visibility]'")
            raise ValueError(f"{name} needs the {kind} {row.needs}, which is not here: {remedy}")


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

    Images and measures are judged side by side in threads.

    >>> originals = tf.fill([2, 32, 32, 3], 128 / 255)
    >>> found = visibility(originals, originals, ["ssim"])
    >>> found["ssim"].tolist()
    [1.0, 1.0]
    """
    pair = [checks.as_levels(images, name) for images, name in ((originals, "originals"), (delivered, "delivered"))]
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"originals and delivered must have one shape; received {pair[0].shape} and {pair[1].shape}")
    shape = pair[0].shape[1:]
    names = available(shape) if measures is None else (measures,) if isinstance(measures, str) else tuple(measures)
    check(names, shape)

    compares = list(dict.fromkeys(MEASURES[name].compare for name in names))  # two measures may share a map

    def judge(job: tuple[int, Compare]) -> dict[str, float]:
        place, compare = job
        found = compare(*(images[place] for images in pair))
        numbers = {name: float(MEASURES[name].pooled(found)) for name in names if MEASURES[name].compare is compare}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise ValueError(f"{name} gives no number for an image: {number}; leave it out of measures")
        return numbers

    jobs = list(itertools.product(range(len(pair[0])), compares))
    rows: list[dict[str, float]] = [{} for _ in pair[0]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (place, _), numbers in zip(jobs, pool.map(judge, jobs)):
            rows[place] |= numbers
    return Visibility({name: np.array([row[name] for row in rows], np.float64) for name in names})


visibility.__doc__ = f"""{visibility.__doc__}
    Measures:
""" + "".join(
    f"        {name}: {row.heading}, {row.unit}; {'larger' if row.larger_is_better else 'smaller'} is less visible, "
    f"{row.ideal:g} is equal; for images of {row.needed}; {row.source}.\n"
    for name, row in MEASURES.items()
)
