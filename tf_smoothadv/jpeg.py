"""JPEG files as a lattice: their quantised coefficients, and the bytes that decoders make of these, in the graph."""

from __future__ import annotations

import copy
import functools
import pathlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_smoothadv import jpeg_files, jpeg_search, tensors
from tf_smoothadv.delivery import Delivered, Delivery
from tf_smoothadv.jpeg_transform import BLOCK, FORWARD, FROM_YCC, INVERSE, LARGEST, TO_YCC, colors, shifted

__all__ = ["Jpeg"]

Planes = tuple[tf.Tensor, ...]


class Form(NamedTuple):
    """What files must share to be in one batch.

    Attributes:
        height, width: of the image, in pixels.
        sampling: pixels of an image, down and across, to one of the chroma planes; (1, 1) is 4:4:4, (2, 2) is 4:2:0.
        planes: 3, or 1 for grey.
    """

    height: int
    width: int
    sampling: tuple[int, int]
    planes: int


class Jpeg(Delivery):
    """JPEG files, each with its own tables and chroma subsampling: what is searched is the lattice of coefficients.

    A file holds integers c, one for each frequency of each block of 8 x 8 pixels of luminance and of chroma, which
    times the steps q of its tables are the coefficients of a cosine transform. For an iterate x = x_o + r of an attack
    a block gets c_o + round(DCT(r) / q) where what a decoder makes of that is nearer to x than x_o is; otherwise it
    stays c_o, bit for bit. Luminance, Cb and Cr are not orthogonal in red, green and blue: luminance takes what is
    nearest to r along it, Cb what is nearest to the rest, and Cr to the rest of that.

    The nearest coefficients are not those whose bytes are nearest to x, for decoders round twice. In the last three
    fifths of its steps an attack that searches the least norm (DDN, FMN, BP) has those searched, in the 2,048 blocks of
    an image that r moves most: step by step of single coefficients, with the decoder's own bytes
    (`jpeg_search.nearest`), each iterate from where the one before has ended. Of the distortion that leaves four
    fifths, and takes three times the time. Attacks that XLA compiles as a whole (`Classifier.by_xla`) do without.

    Decoding is that of libjpeg and libjpeg-turbo, to the last bit, with the accurate integer transform and smooth
    upsampling, their defaults: PIL, OpenCV, browsers, `tf.io.decode_jpeg(dct_method="INTEGER_ACCURATE")`. Not so
    TensorFlow's own default, INTEGER_FAST: of photographs of quality 95 and 85 it differs in 0.71 and 0.66 of the
    values, by up to 19 and 7 levels, and undoes the perturbation of most; with `confidence=2.0` of an
    attack, of one in 24.

    A batch is of one size, one subsampling and one number of planes. It is the delivery of the images it was made of,
    in their order, and of no others:

        files = sa.Jpeg([path_a, path_b])
        result = sa.attacks.FMN(delivery=files)(model, files.images, labels)
        saved = files.encode(result.code)       # as bytes, with the metadata of the originals

    Args:
        files: paths, or the contents of files.

    Attributes:
        form: what the files share.
        images: what they are decoded to, [B, H, W, 3] in [0, 1], or [B, H, W, 1] of grey files, in the order of their
            pixels: an EXIF orientation is not applied.

    Raises:
        ValueError: a file that cannot be read as JPEG, of CMYK, of other subsampling than 4:4:4, 4:2:2 and 4:2:0, or
            unlike the first one.
        ImportError: without the package jpeglib, of the extra `jpeg`.

    Source: the lattice, as steganography searches it: Fridrich 2009, "Steganography in Digital Media", chapter 8; the
    decoder, ITU-T T.81 and jidctint.c, jdsample.c, jdcolor.c of libjpeg 6b.
    """

    def __init__(self, files: Sequence[str | pathlib.Path | bytes]) -> None:
        self._files = [jpeg_files.read(file) for file in files]
        if not self._files:
            raise ValueError("a Jpeg needs at least one file; received none")
        forms = [_form(file) for file in self._files]
        for file, form in zip(self._files, forms):
            if form != forms[0]:
                raise ValueError(f"{file.name} must be like {self._files[0].name}, {forms[0]}; it is {form}")
        self.form = forms[0]
        planes = zip(*(file.planes for file in self._files))
        self._planes = [tf.constant(np.stack(plane), tf.float32) for plane in planes]
        self._tables = tf.constant(np.stack([file.tables for file in self._files]), tf.float32)
        self.images = _decoded(tuple(self._planes), self._tables, tf.constant(self.form[:2]), self.form.sampling)

    def get_config(self) -> dict[str, Any]:
        return {"jpeg": self.form._asdict()}

    def loop_key(self) -> Hashable:
        return type(self), self.form.sampling, self.form.planes

    def tensors(self) -> tuple[tf.Tensor, ...]:
        return self._tables, *self._planes

    def holding(self, tensors: tuple[tf.Tensor, ...]) -> Jpeg:
        held = copy.copy(self)
        held._tables, *held._planes = tensors
        return held

    def check(self, images: tf.Tensor) -> None:
        if images.shape != self.images.shape or not np.array_equal(images, self.images):
            raise ValueError("images must be those of the files of delivery=, in their order: take its `images`")

    def guided_by(self, images: tf.Tensor) -> Jpeg:
        guided = copy.copy(self)
        guided.images = images
        return guided

    def take(self, indices: tf.Tensor) -> Jpeg:
        taken = copy.copy(self)
        taken.images = tf.gather(self.images, indices)
        taken._planes = [tf.gather(plane, indices) for plane in self._planes]
        taken._tables = tf.gather(self._tables, indices)
        return taken

    def delivered(self, x: tf.Tensor, rounded: Callable[[tf.Tensor], tf.Tensor] = tf.round) -> Delivered:
        images, code, _ = self._nearest(x)
        return Delivered(tf.stop_gradient(tf.ensure_shape(images, x.shape)), code)

    def searched(
        self, x: tf.Tensor, rounded: Callable[[tf.Tensor], tf.Tensor] = tf.round, before: Planes = ()
    ) -> Delivered:
        images, code = self._improved(tf.stop_gradient(x), before, *self._nearest(x))
        return Delivered(tf.stop_gradient(tf.ensure_shape(images, x.shape)), code)

    def _nearest(self, x: tf.Tensor) -> tuple[tf.Tensor, Planes, tf.Tensor]:
        size, planes = tf.shape(x)[1:3], tuple(self._planes)
        found: tuple[tf.Tensor, Planes, tf.Tensor] = _delivered(
            tf.stop_gradient(x), self.images, planes, self._tables, size, self.form.sampling
        )
        return found

    def _improved(
        self, x: tf.Tensor, before: Planes, images: tf.Tensor, code: Planes, wanted: tf.Tensor
    ) -> tuple[tf.Tensor, Planes]:
        """What `_delivered` found, with the blocks that want a change as `jpeg_search.nearest` has them.

        Where chroma is subsampled its blocks reach into one another: there it stays, and luminance is searched.
        """
        planes = tuple(self._planes)
        blocks, where, at = _blocks(x, self.images, code, planes, self._tables, self.form.sampling, wanted)
        searched = blocks.coefficients.shape[1]
        start, nearest = (_rows(each, where, searched) - blocks.coefficients for each in (before or code, code))
        changes, d = jpeg_search.nearest(blocks, start, nearest)
        found = tf.unstack(tf.cast(blocks.coefficients + changes, tf.int16), axis=1)
        saved = [
            tf.tensor_scatter_nd_update(plane, where, tf.reshape(rows, [-1, BLOCK, BLOCK]))
            for plane, rows in zip(code, found)
        ]
        inside = blocks.inside > 0
        pixels = tf.boolean_mask(blocks.bytes + d, inside)[:, : tf.shape(images)[-1]]
        pixels = tensors.at_level(tf.cast(pixels, images.dtype), 256)
        images = tf.tensor_scatter_nd_update(images, tf.boolean_mask(at, inside), pixels)
        return images, (*saved, *code[searched:])

    def pull_back(self, gradient: tf.Tensor) -> tf.Tensor:
        if self.form.sampling == (1, 1):
            return gradient  # the transform is orthonormal, and what colours do to it they undo
        size, sampling = tf.shape(gradient)[1:3], self.form.sampling
        y, *chroma = _split(gradient)
        return _joined(y, *(_spread(_collected(plane, sampling), size, sampling) for plane in chroma))

    def encode(self, code: Sequence[tf.Tensor]) -> list[bytes]:
        """The files with other coefficients.

        Args:
            code: of `AttackResult.code` or `Delivered.code`, an entry a file.

        Returns:
            Their contents: tables, subsampling and metadata are those of the originals, and nearly their size.
            Progressive files become sequential ones.
        """
        planes = zip(*(np.asarray(plane) for plane in code))
        return [jpeg_files.written(file, list(each)) for file, each in zip(self._files, planes, strict=True)]


def _form(file: jpeg_files.File) -> Form:
    return Form(file.height, file.width, file.sampling, len(file.planes))


_compiled = functools.partial(tf.function, jit_compile=True, autograph=False, reduce_retracing=True)


@_compiled
def _decoded(planes: Planes, tables: tf.Tensor, size: tf.Tensor, sampling: tuple[int, int]) -> tf.Tensor:
    """The images [B, H, W, C] in [0, 1] of coefficients [B, rows, columns, 8, 8]; `size` is [H, W]."""
    return tensors.at_level(_colored(_pixels(planes, tables), size, sampling), 256)


@_compiled
def _delivered(
    x: tf.Tensor, originals: tf.Tensor, planes: Planes, tables: tf.Tensor, size: tf.Tensor, sampling: tuple[int, int]
) -> tuple[tf.Tensor, Planes, tf.Tensor]:
    """The image to save for an iterate, and its coefficients as int16; see `Jpeg`.

    Last, how much a search in each block of luminance can win, [B, rows, columns]: the energy of r, but zero where no
    coefficient is wanted half a step away.
    """
    r = 255 * (x - originals)
    changes = _changes(r, tables, sampling, len(planes))
    pixels = _colored(_pixels(_changed(planes, changes), tables), size, sampling)
    moved = pixels - 255 * originals
    nearer = _over_blocks(tf.reduce_sum((2 * r - moved) * moved, axis=-1), sampling) > 0
    factors = [sampling, *[(1, 1)] * (len(planes) - 1)]
    reach = [(1, 1), *[sampling] * (len(planes) - 1)]
    chosen = [_repeated(nearer, factor, tf.shape(change)[1:3]) for factor, change in zip(factors, changes)]
    code = _changed(planes, [tf.where(block[..., None, None], change, 0) for block, change in zip(chosen, changes)])
    if sampling == (1, 1):  # where blocks do not touch
        blocks = _repeated(nearer, (BLOCK, BLOCK), size)[..., tf.newaxis]
        images = tf.where(blocks, tensors.at_level(pixels, 256), originals)
    else:
        images = tensors.at_level(_colored(_pixels(code, tables), size, sampling), 256)
    half = [tf.reduce_any(change != 0, axis=[3, 4]) for change in changes]
    rows = tf.shape(half[0])[1:]
    wanted = tf.reduce_any(tf.stack([_repeated(each, factor, rows) for each, factor in zip(half, reach)]), axis=0)
    energy = _over_blocks(tf.reduce_sum(tf.square(r), axis=-1), (1, 1))
    code = tuple(tf.cast(plane, tf.int16) for plane in code)
    return images, code, tf.where(wanted, energy, 0)


def _blocks(
    x: tf.Tensor,
    originals: tf.Tensor,
    code: Planes,
    planes: Planes,
    tables: tf.Tensor,
    sampling: tuple[int, int],
    wanted: tf.Tensor,
) -> tuple[jpeg_search.Blocks, tf.Tensor, tf.Tensor]:
    """The blocks that are searched, [N] of them, where they are, [N, 3], and where their pixels, [N, 64, 3].

    Both are indices into [B, rows, columns] and [B, H, W]; those of pixels beyond the border are of the nearest ones.
    """
    size = tf.shape(x)[1:3]
    batch, columns = tf.shape(wanted)[0], tf.shape(wanted)[2]
    wanted = tf.reshape(wanted, [batch, -1])
    gain, order = tf.math.top_k(wanted, tf.minimum(jpeg_search.MOST, tf.shape(wanted)[1]))
    image, rank = tf.unstack(tf.cast(tf.where(gain > 0), tf.int32), axis=1)
    order = tf.gather_nd(order, tf.stack([image, rank], 1))
    where = tf.stack([image, order // columns, order % columns], 1)

    within = tf.range(BLOCK * BLOCK)
    pixel = where[:, tf.newaxis, 1:] * BLOCK + tf.stack([within // BLOCK, within % BLOCK], 1)
    inside = tf.reduce_all(pixel < size, axis=2)
    pixel = tf.minimum(pixel, size - 1)
    at = tf.concat([tf.broadcast_to(image[:, tf.newaxis, tf.newaxis], tf.shape(pixel[..., :1])), pixel], 2)
    weight = tf.cast(inside, x.dtype)

    def colored(values: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] at the pixels, [N, 64, 3]; grey is three equal colours."""
        values = tf.gather_nd(values, at)
        return tf.broadcast_to(values, [*tf.unstack(tf.shape(values)[:2]), 3])

    searched = len(planes) if sampling == (1, 1) else 1
    chroma = tf.fill(tf.stack([tf.shape(where)[0], 2, BLOCK * BLOCK]), 128)
    if searched < len(planes):
        whole = [_plane(tf.cast(code[index], tf.float32), tables[:, index]) for index in (1, 2)]
        whole = [plane[..., tf.newaxis] for plane in _enlarged(whole, size, sampling)]
        chroma = tf.cast(tf.stack([tf.gather_nd(plane, at)[..., 0] for plane in whole], 1), tf.int32)
    before = colored(originals)
    found = jpeg_search.Blocks(
        r=255 * (colored(x) - before) * weight[..., tf.newaxis],
        bytes=tf.cast(tf.round(255 * before), tf.int32),
        inside=weight,
        coefficients=_rows(planes, where, searched),
        tables=tf.reshape(tf.cast(tf.gather(tables[:, :searched], image), tf.int32), [-1, searched, BLOCK * BLOCK]),
        chroma=chroma,
    )
    return found, where, at


def _rows(planes: Planes, where: tf.Tensor, count: int) -> tf.Tensor:
    """The first `count` planes at these blocks, [N, count, 64] int32."""
    found = [tf.reshape(tf.gather_nd(plane, where), [-1, BLOCK * BLOCK]) for plane in planes[:count]]
    return tf.cast(tf.stack(found, 1), tf.int32)


def _changed(planes: Planes, changes: Sequence[tf.Tensor]) -> Planes:
    """The coefficients with these changes, as far as a file can hold them."""
    return tuple(tf.clip_by_value(plane + change, -LARGEST, LARGEST) for plane, change in zip(planes, changes))


def _pixels(planes: Planes, tables: tf.Tensor) -> list[tf.Tensor]:
    """The bytes of planes, each [B, 8 rows, 8 columns], as floats."""
    return [_plane(plane, tables[:, index]) for index, plane in enumerate(planes)]


def _plane(coefficients: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """The bytes of a plane, [B, 8 rows, 8 columns]; in float64, which holds the sums of jidctint.c exactly."""
    frequencies = tf.cast(coefficients * table[:, tf.newaxis, tf.newaxis], tf.float64)
    columns = shifted(tf.einsum("yv,brcvu->brcyu", INVERSE, frequencies), 11)
    pixels = shifted(tf.einsum("xu,brcyu->brycx", INVERSE, columns), 18) + 128
    shape = tf.shape(pixels)
    pixels = tf.clip_by_value(tf.reshape(pixels, [shape[0], shape[1] * BLOCK, shape[3] * BLOCK]), 0, 255)
    return tf.cast(pixels, tf.float32)


def _colored(pixels: Sequence[tf.Tensor], size: tf.Tensor, sampling: tuple[int, int]) -> tf.Tensor:
    """The bytes [B, H, W, C] of those of the planes; `size` is [H, W]. All of it float32 holds exactly."""
    luminance = pixels[0][:, : size[0], : size[1]]
    if len(pixels) == 1:
        return luminance[..., tf.newaxis]
    return tf.stack(colors(luminance, *_enlarged(pixels[1:], size, sampling)), axis=-1)


def _enlarged(chroma: Sequence[tf.Tensor], size: tf.Tensor, sampling: tuple[int, int]) -> list[tf.Tensor]:
    """The bytes of the planes of chroma, each at the size of the image; [B, H, W]."""
    small = -(-size // sampling)
    chroma = [plane[:, : small[0], : small[1]] for plane in chroma]
    if sampling[1] == 2:
        chroma = [_upsampled(plane, sampling[0]) for plane in chroma]
    return [plane[:, : size[0], : size[1]] for plane in chroma]


def _upsampled(plane: tf.Tensor, down: int) -> tf.Tensor:
    """A chroma plane [B, h, w] with twice its columns and, of 4:2:0, rows: each new one 3/4 of the nearer old one, 1/4
    of the further; halves are rounded up and down in turn.
    """

    def rounded(total: tf.Tensor, unit: int, bias: float) -> tf.Tensor:
        return tf.floor(total / unit + bias)

    if down == 1:
        return _interleaved([rounded(*each) for each in zip(_beside(plane, 2), (4, 4), (1 / 4, 2 / 4))], axis=2)
    rows = _interleaved(_beside(plane, 1), axis=1)
    return _interleaved([rounded(*each) for each in zip(_beside(rows, 2), (16, 16), (8 / 16, 7 / 16))], axis=2)


def _beside(x: tf.Tensor, axis: int) -> list[tf.Tensor]:
    """3 x_i + x_{i-1} and 3 x_i + x_{i+1} along an axis, 1 or 2; its ends stand beside themselves."""
    along = [slice(None)] * axis
    before = tf.concat([x[(*along, slice(0, 1))], x[(*along, slice(0, -1))]], axis)
    after = tf.concat([x[(*along, slice(1, None))], x[(*along, slice(-1, None))]], axis)
    return [3 * x + before, 3 * x + after]


def _interleaved(pair: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """Two tensors [B, h, w] in turn along an axis."""
    shape = tf.shape(pair[0])
    longer = tf.concat([shape[:axis], [2 * shape[axis]], shape[axis + 1 :]], 0)
    return tf.reshape(tf.stack(pair, axis=axis + 1), longer)


def _changes(r: tf.Tensor, tables: tf.Tensor, sampling: tuple[int, int], planes: int) -> list[tf.Tensor]:
    """How many steps each coefficient has to go for a perturbation [B, H, W, C] of bytes; [B, rows, columns, 8, 8].

    One plane after the other: the nearest to what those before have left of it, along the colour that it stands for.
    """
    found = []
    for index, color in enumerate(FROM_YCC.T if planes == 3 else np.ones([1, 1])):
        factors = sampling if index else (1, 1)
        color = tf.constant(color, r.dtype)
        along = tf.tensordot(r, color / tf.reduce_sum(tf.square(color)), 1)
        table = tables[:, index, tf.newaxis, tf.newaxis]
        steps = tf.round(_transformed(_downsampled(along, factors)) / table)
        found.append(steps)
        if index + 1 < planes:
            r -= _repeated(_restored(steps * table), factors, tf.shape(r)[1:3])[..., tf.newaxis] * color
    return found


def _repeated(x: tf.Tensor, factors: tuple[int, int], size: tf.Tensor) -> tf.Tensor:
    """Each value of [B, h, w] so often down and across, as far as `size` [height, width] goes."""
    for axis, factor in enumerate(factors, 1):
        x = tf.repeat(x, factor, axis=axis) if factor > 1 else x
    return x[:, : size[0], : size[1]]


def _over_blocks(x: tf.Tensor, sampling: tuple[int, int]) -> tf.Tensor:
    """The sums of [B, H, W] over the pixels that one block of chroma covers; [B, rows, columns]."""
    down, across = (BLOCK * factor for factor in sampling)
    shape = tf.shape(x)
    padded = tf.pad(x, [[0, 0], [0, -shape[1] % down], [0, -shape[2] % across]])
    return tf.reduce_sum(_windows(padded, down, across), axis=[2, 4])


def _windows(plane: tf.Tensor, down: int, across: int) -> tf.Tensor:
    """[B, h, w] as [B, h / down, down, w / across, across]."""
    batch, height, width = tf.unstack(tf.shape(plane))
    return tf.reshape(plane, [batch, height // down, down, width // across, across])


def _downsampled(plane: tf.Tensor, sampling: tuple[int, int]) -> tf.Tensor:
    """The means over as many pixels as become one, [B, h, w]; what lies beyond the border counts nothing."""
    if sampling == (1, 1):
        return plane
    odd = tf.shape(plane)[1:] % sampling  # one pixel twice is the mean of the one that is there
    return tf.reduce_mean(_windows(tf.pad(plane, [[0, 0], [0, odd[0]], [0, odd[1]]], "SYMMETRIC"), *sampling), [2, 4])


def _transformed(plane: tf.Tensor) -> tf.Tensor:
    """The cosine transform of each block of [B, h, w]; [B, rows, columns, 8, 8]."""
    beyond = -tf.shape(plane)[1:] % BLOCK
    blocks = _windows(tf.pad(plane, [[0, 0], [0, beyond[0]], [0, beyond[1]]]), BLOCK, BLOCK)
    forward = tf.constant(FORWARD, plane.dtype)
    return tf.einsum("vy,ux,brycx->brcvu", forward, forward, blocks)


def _restored(frequencies: tf.Tensor) -> tf.Tensor:
    """The inverse of `_transformed`; [B, 8 rows, 8 columns]."""
    forward = tf.constant(FORWARD, frequencies.dtype)
    pixels = tf.einsum("vy,ux,brcvu->brycx", forward, forward, frequencies)
    batch, rows, columns = tf.unstack(tf.shape(frequencies)[:3])
    return tf.reshape(pixels, [batch, rows * BLOCK, columns * BLOCK])


# The adjoint of what a file makes of a perturbation but for its steps: colours to YCbCr, chroma to means of few pixels,
# each pixel 3/4 of the nearer mean and 1/4 of the further, and back to colours. Compiled in four pieces: in one, each
# pixel is computed anew for each of its neighbours.


@_compiled
def _split(gradient: tf.Tensor) -> list[tf.Tensor]:
    """The gradient [B, H, W] in Y, Cb and Cr, by that in red, green and blue."""
    return _mixed(FROM_YCC.T, tf.unstack(gradient, axis=-1))


@_compiled
def _joined(*planes: tf.Tensor) -> tf.Tensor:
    """The gradient [B, H, W, 3] in red, green and blue, by that in Y, Cb and Cr."""
    return tf.stack(_mixed(TO_YCC.T, planes), axis=-1)


def _mixed(matrix: np.ndarray, planes: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The products of a matrix with the colours of each pixel, which are given plane by plane."""
    return [tf.add_n([weight * plane for weight, plane in zip(row, planes)]) for row in matrix.tolist()]


@_compiled
def _collected(plane: tf.Tensor, sampling: tuple[int, int]) -> tf.Tensor:
    """The gradient [B, h, w] in the means, by that in the pixels [B, H, W] that a decoder makes of them."""
    for axis, factor in enumerate(sampling, 1):
        if factor == 1:
            continue
        odd = tf.shape(plane)[axis] % 2
        plane = tf.pad(plane, [[0, 0], [0, odd * (axis == 1)], [0, odd * (axis == 2)]])
        shape = tf.shape(plane)
        split = tf.concat([shape[:axis], [shape[axis] // 2, 2], shape[axis + 1 :]], 0)
        even, odds = tf.unstack(tf.reshape(plane, split), axis=axis + 1)
        along = [slice(None)] * axis
        before = tf.concat([even[(*along, slice(1, None))], odds[(*along, slice(-1, None))]], axis)
        after = tf.concat([even[(*along, slice(0, 1))], odds[(*along, slice(0, -1))]], axis)
        plane = (3 * (even + odds) + before + after) / 4
    return plane


@_compiled
def _spread(plane: tf.Tensor, size: tf.Tensor, sampling: tuple[int, int]) -> tf.Tensor:
    """The gradient [B, H, W] in the pixels, by that in their means [B, h, w]; `size` is [H, W]."""
    spread = _repeated(plane, sampling, size)
    for axis, factor in enumerate(sampling):
        alone = (tf.range(size[axis]) == size[axis] - 1) & (size[axis] % factor > 0)  # the mean of itself
        share = tf.where(alone, 1.0, 1 / factor)
        spread *= share[:, tf.newaxis] if axis == 0 else share
    return spread
