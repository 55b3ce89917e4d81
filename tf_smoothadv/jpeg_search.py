"""The search for the coefficients that a decoder turns into the pixels that are wanted, block by block.

The nearest coefficients are not the nearest pixels: a decoder rounds to bytes twice, for planes and for colours, and
moves a value by a whole level or not at all. What is searched are the coefficients whose *bytes* are the nearest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_smoothadv.jpeg_transform import BLOCK, FORWARD, FROM_YCC, INVERSE, LARGEST, colors, shifted

__all__ = ["MOST", "Blocks", "nearest"]

MOST = 2048  # blocks of an image that are searched, those most is wanted of; a photograph of 299 x 299 has 1,444
CANDIDATES = 16  # changes of a coefficient that are tried at once in a block
MOVES = 8  # of a block, at most; the next iterate goes on from there
CHUNK = 64  # blocks that go on together, until none of them improves
PIXELS = BLOCK * BLOCK
BASIS = np.einsum("vy,ux->vuyx", FORWARD, FORWARD).reshape(PIXELS, PIXELS)  # a frequency a row


class Blocks(NamedTuple):
    """Blocks of one or several images, a row each, of P planes: Y, or Y, Cb and Cr where one block has them all.

    Attributes:
        r: what is wanted of the bytes, [N, 64, 3] float32; 0 beyond the border.
        bytes: those of the original, [N, 64, 3] int32.
        inside: 0 beyond the border of an image, where no byte counts, else 1; [N, 64] float32.
        coefficients, tables: of the original's file, in steps, and its steps, [N, P, 64] int32.
        chroma: the bytes of Cb and Cr, which stay, [N, 2, 64] int32; not looked at where P is 3.
    """

    r: tf.Tensor
    bytes: tf.Tensor
    inside: tf.Tensor
    coefficients: tf.Tensor
    tables: tf.Tensor
    chroma: tf.Tensor


def nearest(blocks: Blocks, start: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Changes of coefficients whose bytes d are nearer to r than those of a start, as far as single steps lead down.

    A block takes the step of one coefficient, up or down, that brings ||d - r|| down most, until none does, 8 at most.
    Of all frequencies those 16 are tried that would do most if a decoder did not round; what is compared are the bytes
    that it makes of them, to the last bit. A second search begins with one of these steps that brings d nearer or not,
    which is not taken back: what needs two steps at once is found so, if not by one call then by one of the next.

    Args:
        blocks: whose.
        start: changes to begin with, in steps, [N, P, 64] int32.
        other: changes that are taken as they are where they are nearer than all that is found, as zero is.

    Returns:
        The best changes, [N, P, 64] int32, and their d, [N, 64, 3] int32.
    """
    count = tf.shape(start)[0]
    chunks = -(-count // CHUNK)
    rows = tf.minimum(tf.reshape(tf.range(chunks * CHUNK), [chunks, CHUNK]), count - 1)

    def one(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chunk = tf.nest.map_structure(lambda each: tf.gather(each, rows), (blocks, start, other))
        found: tuple[tf.Tensor, tf.Tensor] = _descended(*chunk)
        return found

    signature = tf.TensorSpec([CHUNK, *start.shape[1:]], tf.int32), tf.TensorSpec([CHUNK, PIXELS, 3], tf.int32)
    changes, d = tf.map_fn(one, rows, fn_output_signature=signature, parallel_iterations=2)
    return tf.reshape(changes, [-1, *start.shape[1:]])[:count], tf.reshape(d, [-1, PIXELS, 3])[:count]


@tf.function(jit_compile=True, autograph=False)
def _descended(blocks: Blocks, start: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`nearest` of one chunk."""
    kicked, kick = _kicked(blocks, start)
    both = Blocks(*(tf.concat([each, each], 0) for each in blocks))
    frozen = tf.concat([tf.zeros_like(kick), kick], 0)

    def go_on(number: tf.Tensor, moving: tf.Tensor, changes: tf.Tensor) -> tf.Tensor:
        return (number < MOVES) & tf.reduce_any(moving)

    def move(number: tf.Tensor, moving: tf.Tensor, changes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        changes, moving = _best_step(both, changes, frozen)
        return number + 1, moving, changes

    moving = tf.ones([2 * start.shape[0]], tf.bool)
    _, _, changes = tf.while_loop(go_on, move, (0, moving, tf.concat([start, kicked], 0)))
    best, value, d = tf.zeros_like(start), *_judged(blocks, tf.zeros_like(start))
    for found in [other, *tf.split(changes, 2)]:
        following, its_d = _judged(blocks, found)
        nearer = (following < value)[:, tf.newaxis, tf.newaxis]
        best, d = tf.where(nearer, found, best), tf.where(nearer, its_d, d)
        value = tf.minimum(value, following)
    return best, d


def _judged(blocks: Blocks, changes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """||d - r||^2 - ||r||^2 of changes, [N], and d."""
    d = _difference(blocks, _Decoding.of(blocks, changes).planes(blocks))
    return _value(blocks, d), d


class _Decoding(NamedTuple):
    """What jidctint.c comes through on its way to bytes, in int32 as there.

    Attributes:
        columns: sums down the columns, by plane and horizontal frequency; [N, P, 8, 8], the last of them pixels down.
        pixels: sums along the rows; [N, P, 64].
    """

    columns: tf.Tensor
    pixels: tf.Tensor

    @classmethod
    def of(cls, blocks: Blocks, changes: tf.Tensor) -> _Decoding:
        frequencies = (blocks.coefficients + changes) * blocks.tables
        frequencies = tf.cast(tf.reshape(frequencies, [-1, *changes.shape[1:-1], BLOCK, BLOCK]), tf.float64)
        columns = tf.cast(tf.einsum("yv,npvu->npuy", INVERSE, frequencies), tf.int32)
        pixels = tf.einsum("xu,npuy->npyx", INVERSE, tf.cast(shifted(columns, 11), tf.float64))
        return cls(columns, tf.reshape(tf.cast(pixels, tf.int32), tf.shape(changes)))

    def planes(self, blocks: Blocks) -> list[tf.Tensor]:
        """The bytes of Y, Cb and Cr; [N, 64] each."""
        found = tf.unstack(_bytes(self.pixels), axis=1)
        return found if len(found) == 3 else [*found, *tf.unstack(blocks.chroma, axis=1)]


def _bytes(pixels: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(shifted(pixels, 18) + 128, 0, 255)


def _difference(blocks: Blocks, planes: list[tf.Tensor]) -> tf.Tensor:
    """d, by how much bytes differ from the original's, [N, 64, 3] int32; 0 beyond the border."""
    return (tf.stack(colors(*planes), axis=-1) - blocks.bytes) * tf.cast(blocks.inside, tf.int32)[..., tf.newaxis]


def _value(blocks: Blocks, d: tf.Tensor) -> tf.Tensor:
    """||d - r||^2 - ||r||^2; [N]."""
    d = tf.cast(d, tf.float32)
    return tf.reduce_sum((d - 2 * blocks.r) * d, axis=[1, 2])


def _kicked(blocks: Blocks, changes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The changes with one of the promising steps more, which one the bits of r decide, and a mask of where it is."""
    _, d = _judged(blocks, changes)
    chosen, sign = _promising(blocks, changes, tf.cast(d, tf.float32), tf.zeros_like(changes))
    energy = tf.reduce_sum(tf.square(blocks.r), axis=[1, 2])
    rank = tf.bitcast(energy, tf.int32) % CANDIDATES
    step = _step(chosen, sign, rank, changes)
    return changes + step, tf.abs(step)


def _step(chosen: tf.Tensor, sign: tf.Tensor, rank: tf.Tensor, changes: tf.Tensor) -> tf.Tensor:
    """Of the coefficients chosen that of this rank, [N], one step up or down, as changes; else 0."""
    rank = rank[:, tf.newaxis]
    where = tf.one_hot(tf.gather(chosen, rank, batch_dims=1)[:, 0], changes.shape[1] * PIXELS, dtype=tf.int32)
    return tf.reshape(where * tf.gather(sign, rank, batch_dims=1), tf.shape(changes))


def _best_step(blocks: Blocks, changes: tf.Tensor, frozen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The changes with the best step of one coefficient of each block, and whether it is one down [N]."""
    decoding = _Decoding.of(blocks, changes)
    planes = decoding.planes(blocks)
    d = _difference(blocks, planes)
    chosen, sign = _promising(blocks, changes, tf.cast(d, tf.float32), frozen)
    index, frequency = chosen // PIXELS, chosen % PIXELS
    tables = tf.reshape(blocks.tables, [-1, changes.shape[1] * PIXELS])
    step = sign * tf.gather(tables, chosen, batch_dims=1)

    # The one column of frequencies that changes, and by it all pixels.
    inverse = tf.constant(INVERSE.T, tf.int32)
    by_column = tf.reshape(decoding.columns, [-1, changes.shape[1] * BLOCK, BLOCK])
    column = tf.gather(by_column, index * BLOCK + frequency % BLOCK, batch_dims=1)
    down = tf.gather(inverse, frequency // BLOCK) * step[..., tf.newaxis]
    more = shifted(column + down, 11) - shifted(column, 11)
    across = tf.gather(inverse, frequency % BLOCK)
    outer = tf.reshape(more[..., :, tf.newaxis] * across[..., tf.newaxis, :], [-1, CANDIDATES, PIXELS])
    plane = _bytes(tf.gather(decoding.pixels, index, batch_dims=1) + outer)

    own = index[..., tf.newaxis]
    tried = [tf.where(own == number, plane, planes[number][:, tf.newaxis]) for number in range(3)]
    inside, terms = blocks.inside[:, tf.newaxis], []
    for number, color in enumerate(colors(*tried)):
        moved = tf.cast(color - blocks.bytes[:, tf.newaxis, :, number], tf.float32) * inside
        terms.append((moved - 2 * blocks.r[:, tf.newaxis, :, number]) * moved)
    values = tf.reduce_sum(tf.add_n(terms), axis=2)  # in one: for each of three sums XLA would compute all bytes anew
    best = tf.argmin(values, axis=1, output_type=tf.int32)
    # Less than what rounding of the sums in float32 could make of equal ones: or a block would go in circles.
    better = tf.reduce_min(values, axis=1) < _value(blocks, d) - 1e-3
    step = _step(chosen, sign, best, changes)
    return changes + tf.where(better[:, tf.newaxis, tf.newaxis], step, 0), better


def _promising(blocks: Blocks, changes: tf.Tensor, d: tf.Tensor, frozen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The coefficients, counted through the planes, whose step would bring d nearest to r without rounding.

    Returns:
        Their indices, [N, 16] int32, and whether they go up, 1, or down, -1.
    """
    planes = changes.shape[1]
    color = tf.constant(FROM_YCC[:, :planes], tf.float32)
    left = (blocks.r - d) * blocks.inside[..., tf.newaxis]
    along = tf.einsum("npc,cq->nqp", left, color)
    tables = tf.cast(blocks.tables, tf.float32)
    slope = tf.einsum("nqp,kp->nqk", along, tf.constant(BASIS, tf.float32)) * tables
    energy = tf.square(tables) * tf.reduce_sum(tf.square(color), axis=0)[:, tf.newaxis]
    sign = tf.where(slope < 0, -1, 1)
    held = tf.abs(blocks.coefficients + changes + sign) <= LARGEST
    gain = tf.where(held & (frozen == 0), 2 * tf.abs(slope) - energy, -np.inf)
    shape = [-1, planes * PIXELS]
    _, chosen = tf.math.top_k(tf.reshape(gain, shape), CANDIDATES)
    return chosen, tf.gather(tf.reshape(sign, shape), chosen, batch_dims=1)
