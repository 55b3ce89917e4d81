"""Masking: its operator against its definition, its rounding against all integers, attacks against exact optima."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import Linear, traces_of
from tests.test_batch_independence import Templates, regrouped
from tf_smoothadv import masking, shaping
from tf_smoothadv.attacks import ALMA, BP, DDN, FGSM, FMN, IFGSM, PGD2, CarliniWagner, NearestClasses
from tf_smoothadv.evaluation import families, parameters, presets

SPEC = sa.Masking()
FINE = sa.Masking("hill", 1.0, (1, 2, 2), emphasis=0.5)
SMOOTH = sa.Smoothing(alpha=0.9, gamma=3.0)
SPECS = [
    SPEC,
    sa.Masking("deviation", gains=None),
    sa.Masking("hill", 0.5, (1, 1, 4)),
    sa.Masking(None, gains=(2, 1, 3)),
    FINE,
    sa.Masking(None, gains=None, emphasis=0.9),
]
EVERY = pytest.mark.parametrize("spec", SPECS, ids=repr)
GAINS = [(1, 1, 1), (1, 1.5, 2), (1, 2, 3), (1, 4, 4), (4, 1, 1), (2, 4, 1), (1, 4, 1), (1, 1, 4)]
ATTACKS = [
    FGSM(0.1, masking=SPEC),
    IFGSM(0.1, 0.03, 5, masking=SPEC, binary_search_steps=2),
    PGD2(2.0, 0.5, 5, masking=FINE, smoothing=SMOOTH, binary_search_steps=2, delivery=sa.Levels()),
    CarliniWagner(10, 2, 0.05, initial_const=3.0, masking=SPEC),
    CarliniWagner(10, 2, 0.05, initial_const=3.0, masking=SPEC, smoothing=SMOOTH, delivery=sa.Levels()),
    DDN(10, masking=SPEC, delivery=sa.Levels()),
    FMN(10, masking=FINE, smoothing=SMOOTH, delivery=sa.Levels()),
    BP(10, masking=SPEC),
    ALMA(10, masking=SPEC, delivery=sa.Levels()),
    NearestClasses(FMN(10, masking=SPEC, delivery=sa.Levels()), classes=2, candidates=3),
]
SMALL = Linear(2, (6, 5, 3))  # of several tests, which share what is compiled for it
EVERY_ATTACK = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: type(attack).__name__)
MINIMAL = pytest.mark.parametrize(
    ("attack", "factor"),
    [(FMN(100), 1.005), (DDN(250, norm_step=0.01), 1.02), (BP(100), 1.02), (ALMA(200), 1.02)],
    ids=["fmn", "ddn", "bp", "alma"],
)


@pytest.fixture
def images(rng) -> np.ndarray:
    """Noise that is stronger to the right, beside which a flat image would have a mask of 1 everywhere."""
    return np.clip(0.5 + rng.normal(size=(2, 20, 21, 3)) * np.linspace(0, 0.2, 21)[:, None], 0, 1)


class TestOperator:
    @EVERY
    def test_the_adjoint_is_one(self, spec, images, rng):
        masker = spec.guided_by(images)
        z, g = rng.normal(size=(2, *images.shape))
        np.testing.assert_allclose(np.sum(masker(z) * g), np.sum(z * masker.adjoint(g)), rtol=1e-12)

    @EVERY
    def test_the_inverse_is_one(self, spec, images, rng):
        masker, r = spec.guided_by(images), rng.normal(size=images.shape)
        np.testing.assert_allclose(masker(masker.inverse(r)), r, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(masker.inverse(masker(r)), r, rtol=1e-10, atol=1e-12)

    @EVERY
    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_mask_is_positive_and_of_mean_one(self, spec, channels, images):
        mask = spec.guided_by(images[..., :channels]).mask.numpy()
        assert mask.min() > 0
        np.testing.assert_allclose(mask.mean(axis=(1, 2, 3)), 1, rtol=1e-12)

    @EVERY
    def test_nothing_is_divided_by_zero_where_nothing_is_textured(self, spec):
        for value in (0.0, 0.3, 1.0):
            masker = spec.guided_by(tf.fill([1, 6, 5, 3], value))
            np.testing.assert_allclose(masker.mask, 1, rtol=1e-5)

    @pytest.mark.parametrize("texture", masking.TEXTURES)
    def test_textured_pixels_may_change_more(self, texture, images):
        mask = sa.Masking(texture).guided_by(images).mask.numpy()[..., 0]
        assert np.all(mask[:, :, -1].mean(axis=1) > 2 * mask[:, :, 0].mean(axis=1))

    def test_gains_are_those_of_luminance_and_two_colours(self, images):
        gains = np.array([1.0, 2.0, 0.5])
        masker = sa.Masking(None, gains=tuple(gains)).guided_by(images)
        for place, gain in enumerate(gains):
            z = np.zeros(images.shape)
            z[..., place] = 1.0
            red, green, blue = np.moveaxis(masker(z).numpy(), -1, 0)
            opponent = [0.299 * red + 0.587 * green + 0.114 * blue, (red - green) / 2, blue / 2 - (red + green) / 4]
            shares = np.stack([colour.mean() for colour in opponent]) / gain
            np.testing.assert_allclose(np.delete(shares, place), 0, atol=1e-12)
            np.testing.assert_allclose(shares[place], self.scale(gains), rtol=1e-12)

    def scale(self, gains: np.ndarray) -> float:
        """What makes white noise as large in r as it is in z."""
        inverse = np.linalg.inv([[0.299, 0.587, 0.114], [0.5, -0.5, 0], [-0.25, -0.25, 0.5]])
        scale: float = np.sqrt(3 / np.sum((inverse * gains) ** 2))
        return scale

    def test_one_channel_has_no_colours(self, images, rng):
        z = rng.normal(size=(2, 20, 21, 1))
        masker = SPEC.guided_by(images[..., :1])
        np.testing.assert_array_equal(masker(z), masker.mask * z)

    @pytest.mark.parametrize("shape", [(2, 20, 21, 3), (1, 3, 5, 1)], ids=repr)
    def test_emphasis_takes_away_a_share_of_the_mean_of_neighbours(self, shape, rng):
        """Of rows and of columns; a share of the mean that reaches beyond the border is of the mirrored image."""
        z, a = rng.normal(size=shape), 0.7
        masker = sa.Masking(None, gains=None, emphasis=a).guided_by(rng.random(shape))
        expected = z
        for axis in (1, 2):
            near = scipy.ndimage.correlate1d(expected, np.array([1, 4, 6, 4, 1]) / 16, axis=axis, mode="reflect")
            expected = expected - a * near
        np.testing.assert_allclose(masker(z), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(masker.adjoint(z), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(masker.inverse(expected), z, rtol=1e-10, atol=1e-12)

    def test_emphasis_lowers_what_is_coarse_and_leaves_a_checkerboard(self):
        masker = sa.Masking(None, gains=None, emphasis=0.6).guided_by(np.zeros((1, 8, 10, 1)))
        flat = np.ones((1, 8, 10, 1))
        board = (-1.0) ** np.add.outer(np.arange(8), np.arange(10))[np.newaxis, :, :, np.newaxis]
        np.testing.assert_allclose(masker(flat), 0.4**2 * flat, rtol=1e-10)
        np.testing.assert_allclose(masker(board)[:, 2:-2, 2:-2], board[:, 2:-2, 2:-2], rtol=1e-10)

    @pytest.mark.parametrize("emphasis", [0.1, 0.5, 0.9])
    def test_in_float32_the_inverse_of_emphasis_misses_by_rounding_alone(self, emphasis, images, rng):
        r = rng.normal(size=images.shape).astype(np.float32)
        masker = sa.Masking(None, gains=None, emphasis=emphasis).guided_by(images.astype(np.float32))
        gain = (1 - emphasis) ** -2  # of the inverse, at most
        miss = np.linalg.norm(masker(masker.inverse(r)) - r) / np.linalg.norm(r)
        assert miss < 10 * gain * np.finfo(np.float32).eps

    def test_sharpness_is_a_power(self, images):
        soft, sharp = (sa.Masking("hill", sharpness).guided_by(images).mask.numpy() for sharpness in (0.5, 1.0))
        np.testing.assert_allclose(soft**2 / sharp, (soft**2 / sharp)[:, :1, :1] + 0 * sharp, rtol=1e-10)
        np.testing.assert_array_equal(sa.Masking("hill", 0.0).guided_by(images).mask, np.ones((2, 20, 21, 1)))


def mean(x: np.ndarray, size: int) -> np.ndarray:
    """The mean over a window that is cut at the border, of one image [H, W]."""
    share = [scipy.ndimage.uniform_filter(values, size, mode="constant") for values in (x, np.ones_like(x))]
    quotient: np.ndarray = share[0] / share[1]
    return quotient


@pytest.mark.parametrize("shape", [(20, 21), (5, 3)])
class TestTextures:
    def test_hill(self, shape, rng):
        image = rng.random((*shape, 3))
        luminance = image @ [0.299, 0.587, 0.114]
        filtered = scipy.ndimage.correlate(luminance, np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]), mode="reflect")
        expected = mean(1 / (mean(np.abs(filtered), 3) + 0.02), 15) ** -0.5
        mask = sa.Masking("hill").guided_by(image[None]).mask.numpy()[0, ..., 0]
        np.testing.assert_allclose(mask, expected / expected.mean(), rtol=1e-10)

    def test_deviation(self, shape, rng):
        image = rng.random((*shape, 1))
        expected = np.zeros(shape)
        for i, j in np.ndindex(*shape):
            expected[i, j] = np.std(image[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3]) + 0.05
        mask = sa.Masking("deviation").guided_by(image[None]).mask.numpy()[0, ..., 0]
        np.testing.assert_allclose(mask, expected / expected.mean(), rtol=1e-10)


class TestRounded:
    @pytest.mark.parametrize("gains", GAINS, ids=repr)
    def test_no_integers_are_nearer(self, gains, rng):
        """Of each pixel all that are at most 3 away from the nearest ones; the mask is another factor a pixel."""
        images, x = rng.random((1, 40, 50, 3)), 5 * rng.normal(size=(1, 40, 50, 3))
        masker = sa.Masking("hill", gains=gains).guided_by(images)
        q = masker.rounded(x).numpy()
        np.testing.assert_array_equal(q, np.round(q))

        def size(integers: np.ndarray) -> np.ndarray:
            return np.sum(masker.inverse(integers - x).numpy() ** 2, axis=-1)

        best = np.full(x.shape[:-1], np.inf)
        for change in itertools.product(range(-3, 4), repeat=3):
            best = np.minimum(best, size(np.round(x) + change))
        np.testing.assert_allclose(size(q), best, rtol=1e-8)
        assert np.sum(size(q)) < 0.97 * np.sum(size(np.round(x)))

    @pytest.mark.parametrize(("spec", "channels"), [(SPEC, 1), (sa.Masking(gains=None), 3)])
    def test_without_colours_it_is_the_nearest_integer(self, spec, channels, images, rng):
        x = 3 * rng.normal(size=(2, 20, 21, channels))
        np.testing.assert_array_equal(spec.guided_by(images[..., :channels]).rounded(x), np.round(x))

    def test_levels_that_are_delivered_are_such(self, images):
        model = Linear(2, (8, 8, 3))
        result = FMN(20, masking=SPEC, delivery=sa.Levels())(model, model.images, model.labels)
        np.testing.assert_allclose(255 * result.adversarial.numpy(), np.round(255 * result.adversarial), atol=1e-4)
        assert np.all(result.success)
        np.testing.assert_allclose(result.norm, norm(SPEC, model, result), rtol=1e-4)


def norm(spec: sa.Masking, model: Linear, result: sa.AttackResult) -> np.ndarray:
    """||T^-1 r|| of a result."""
    z = spec.guided_by(model.images).inverse(result.adversarial - model.images).numpy()
    size: np.ndarray = np.linalg.norm(z.reshape(len(z), -1), axis=1)
    return size


def pulled(spec: sa.Masking, model: Linear) -> np.ndarray:
    """T' a of each image, a the gradient."""
    gradient: np.ndarray = spec.guided_by(model.images).adjoint(model.a + 0 * model.images).numpy()
    return gradient


@pytest.mark.parametrize("shape", [(8, 8, 3), pytest.param((9, 7, 1), marks=pytest.mark.slow)])
class TestLinear:
    """The least ||z|| with <a, T z> = b is that of z = b T'a / ||T'a||^2."""

    @MINIMAL
    @pytest.mark.parametrize(
        "spec", [pytest.param(SPEC, id="coarse", marks=pytest.mark.slow), pytest.param(FINE, id="fine")]
    )
    def test_the_least_norm_is_reached(self, spec, attack, factor, shape):
        model = Linear(3, shape)
        result = dataclasses.replace(attack, masking=spec)(model, model.images, model.labels)
        optimum = model.margins / np.linalg.norm(pulled(spec, model).reshape(3, -1), axis=1)
        found = norm(spec, model, result)
        assert np.all(result.success)
        np.testing.assert_allclose(result.norm, found, rtol=1e-4)
        assert np.all(found >= optimum * (1 - 1e-4))
        assert np.all(found <= factor * optimum)
        distortion = np.linalg.norm((result.adversarial - model.images).numpy().reshape(3, -1), axis=1)
        np.testing.assert_allclose(result.distortion, distortion, rtol=1e-5)

    def test_carlini_wagner_comes_near_it(self, shape):
        model = Linear(3, shape)
        attack = CarliniWagner(100, 6, 0.05, initial_const=1.0, masking=SPEC)
        result = attack(model, model.images, model.labels)
        optimum = model.margins / np.linalg.norm(pulled(SPEC, model).reshape(3, -1), axis=1)
        assert np.all(result.success)
        assert np.all(result.norm <= 1.06 * optimum)
        assert np.all(result.norm >= optimum * (1 - 1e-4))

    def test_masked_and_smooth_it_is_the_norm_along_that_direction(self, shape):
        model = Linear(3, shape)
        result = FMN(100, masking=SPEC, smoothing=SMOOTH)(model, model.images, model.labels)
        gradient = pulled(SPEC, model)
        direction = SMOOTH.guided_by(model.images)(gradient).numpy()
        along = np.sum(gradient * direction, axis=(1, 2, 3)) / np.linalg.norm(direction.reshape(3, -1), axis=1)
        np.testing.assert_allclose(result.norm, model.margins / along, rtol=5e-3)

    def test_pgd2_goes_as_far_as_along_the_shaped_direction(self, shape):
        model = Linear(2, shape)
        masker = SPEC.guided_by(model.images)
        direction = masker(masker.adjoint(model.a + 0 * model.images)).numpy()
        along = np.sum(model.a * direction, axis=(1, 2, 3)) / np.linalg.norm(direction.reshape(2, -1), axis=1)
        for image, label, threshold in zip(model.images, model.labels, model.margins / along):
            for factor in (0.99, 1.01):
                epsilon = float(factor * threshold)
                result = PGD2(epsilon, epsilon / 3, 6, masking=SPEC)(model, image[None], label[None])
                assert bool(result.success[0]) is (factor > 1)

    def test_fgsm_changes_a_pixel_by_its_share(self, shape):
        model, epsilon = Linear(2, shape), 0.01
        attack = FGSM(epsilon, masking=SPEC)
        r = attack(model, model.images, model.labels).adversarial - model.images
        masker = SPEC.guided_by(model.images)
        signs = masker(tf.sign(masker.adjoint(model.a + 0 * model.images))).numpy()
        np.testing.assert_allclose(r, -epsilon * np.clip(signs, -1, 1), atol=1e-6)


@pytest.mark.slow
def test_the_success_of_least_norm_is_kept():
    """Of two classes one lies behind a smaller r, among the flat pixels, the other behind a smaller z."""
    deviation = np.where(np.arange(16) < 8, 0.005, 0.1)[:, np.newaxis]
    image = (0.5 + deviation * np.random.default_rng(0).normal(size=(1, 8, 16, 3))).clip(0.2, 0.8).astype(np.float32)
    places = np.zeros((2, 1, *image.shape[1:]), np.float32)
    places[0, :, :, :3] = places[1, :, :, -3:] = 1

    def model(x: tf.Tensor) -> tf.Tensor:
        changes = tf.reduce_sum(places * (x - image), axis=[2, 3, 4]) / np.sqrt(np.sum(places[0]))
        return tf.transpose(tf.concat([tf.zeros_like(changes[:1]), changes - [[0.3], [0.33]]], 0))

    plain, masked = (
        NearestClasses(FMN(60, masking=spec), classes=2)(model, image, [0]) for spec in (None, sa.Masking(gains=None))
    )
    assert np.argmax(model(plain.adversarial), 1) == 1
    assert np.argmax(model(masked.adversarial), 1) == 2
    np.testing.assert_allclose(plain.distortion, 0.3, rtol=0.01)
    np.testing.assert_allclose(masked.distortion, 0.33, rtol=0.05)


class TestComposition:
    @pytest.mark.parametrize("color", ["joint", "per_channel"])
    def test_directions_go_down_and_the_operator_is_symmetric(self, color, images, rng):
        shaper = shaping.of(tf.constant(images), sa.Smoothing(0.9, 3.0, color=color, solver="dense"), SPEC)

        def shaped(g: np.ndarray) -> np.ndarray:
            smooth = shaper.smoother.solve(shaper.pull_back(tf.constant(g)))  # (9) divides by s(1), which is 1 inside
            values: np.ndarray = shaper.signal(smooth).numpy()
            return values

        g, h = rng.normal(size=(2, *images.shape))
        np.testing.assert_allclose(np.sum(shaped(g) * h), np.sum(g * shaped(h)), rtol=1e-9)
        for _ in range(5):
            assert np.sum(shaped(g) * g) > 0
            g = rng.normal(size=images.shape)

    def test_a_part_of_the_images_has_its_part_of_the_operator(self, images):
        some = tf.constant([1])
        shaper = shaping.of(tf.constant(images), SMOOTH, SPEC)
        taken, alone = shaper.take(some), shaping.of(tf.constant(images[1:]), SMOOTH, SPEC)
        z = tf.constant(images[1:] - 0.5)
        np.testing.assert_array_equal(taken.signal(taken.smoothed(z)), alone.signal(alone.smoothed(z)))
        np.testing.assert_array_equal(taken.rounded(10 * z), alone.rounded(10 * z))

    @pytest.mark.parametrize(
        "attack",
        [
            pytest.param(attack, marks=[] if isinstance(attack, (CarliniWagner, FMN)) else [pytest.mark.slow])
            for attack in ATTACKS
        ],
        ids=lambda attack: type(attack).__name__,
    )
    def test_a_mask_of_one_is_no_mask(self, attack):
        """But for C&W, which is optimised over w without a mask: smooth, where the rounding is another with one."""
        ones = sa.Masking(None, gains=None)
        smoothing, delivery = (SMOOTH, None) if isinstance(attack, CarliniWagner) else (None, sa.Levels())
        masked, plain = (
            attack.replaced(masking=spec, smoothing=smoothing, delivery=delivery)(SMALL, SMALL.images, SMALL.labels)
            for spec in (ones, None)
        )
        np.testing.assert_allclose(masked.adversarial, plain.adversarial, atol=1e-5)
        np.testing.assert_allclose(masked.norm, plain.norm, rtol=1e-5)


@EVERY_ATTACK
class TestEveryAttack:
    @pytest.mark.slow
    def test_an_image_is_its_own(self, attack, digits, rng):
        images = digits[0][:3, ::2, ::2]
        model = Templates(images.shape[1:], rng)
        together, *others = regrouped(attack, model, images, np.argmax(model(images), axis=1))
        for other in others:
            np.testing.assert_allclose(other.distortion, together.distortion, rtol=1e-4)
            np.testing.assert_array_equal(other.success, together.success)

    @pytest.mark.slow
    def test_inside_a_function_it_is_the_same(self, attack):
        model = Linear(2, (6, 5, 3))
        outside = attack(model, model.images, model.labels)
        inside = tf.function(lambda images, labels: attack(model, images, labels))(
            tf.constant(model.images), tf.constant(model.labels)
        )
        np.testing.assert_allclose(inside.adversarial, outside.adversarial, atol=1e-5)
        np.testing.assert_allclose(inside.norm, outside.norm, rtol=1e-3)

    @pytest.mark.slow
    def test_with_a_model_in_half_precision(self, attack):
        exact = Linear(2, (6, 5, 3))

        def model(images: tf.Tensor) -> tf.Tensor:
            scores = tf.reduce_sum(tf.cast(exact.a * (images - exact.images[:1]), tf.float16), axis=[1, 2, 3])
            scores += tf.cast(exact.margins[0], tf.float16)
            return tf.stack([scores, tf.zeros_like(scores)], axis=1)

        attack = attack.replaced(steps=40) if hasattr(attack, "steps") else attack
        result = attack(model, exact.images[:1], exact.labels[:1])
        assert np.all(np.isfinite(result.adversarial))
        assert np.all(result.faulty == 0)


def test_the_loop_is_compiled_once():
    model = Linear(3, (6, 5, 3))
    counting, traced = traces_of(model)
    FMN(5, masking=SPEC)(counting, model.images, model.labels)
    once = len(traced)
    FMN(7, 0.3, masking=sa.Masking())(counting, model.images[:2], model.labels[:2])
    assert len(traced) == once
    FMN(5, masking=sa.Masking("deviation"))(counting, model.images, model.labels)
    assert len(traced) > once


def test_config_is_the_masking():
    for spec in SPECS:
        config = json.loads(json.dumps(spec.get_config()))
        assert config == spec.get_config()
        assert sa.Masking.from_config(config) == spec
        assert hash(sa.Masking.from_config(config)) == hash(spec)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sa.Masking("noise"), "texture must be one of 'hill', 'deviation', None; received 'noise'"),
        (lambda: sa.Masking(sharpness=-1), r"sharpness must be a number in \[0, inf\); received -1"),
        (lambda: sa.Masking(emphasis=-0.1), r"emphasis must be a number in \[0, 0.9\]; received -0.1"),
        (lambda: sa.Masking(emphasis=0.91), r"emphasis must be a number in \[0, 0.9\]; received 0.91"),
        (lambda: sa.Masking(emphasis=None), r"emphasis must be a number in \[0, 0.9\]; received None"),
        (lambda: sa.Masking(gains=2.0), "gains must be three numbers, or None; received 2.0"),
        (lambda: sa.Masking(gains=(1, 2)), r"gains must be three numbers, or None; received \(1, 2\)"),
        (lambda: sa.Masking(gains=(1, 0, 2)), r"gains must be a number in \(0, inf\); received 0"),
        (lambda: sa.Masking(gains=(1, "2", 2)), r"gains must be a number in \(0, inf\); received '2'"),
        (lambda: sa.Masking(gains=(1, 2, 4.1)), "the largest of gains must be at most 4 times the smallest"),
        (lambda: SPEC.guided_by(np.zeros((2, 2, 3), np.float32)), "guide images must have rank 4"),
        (lambda: SPEC.guided_by(np.full((1, 2, 2, 3), 2.0, np.float32)), r"guide images must lie in \[0, 1\]"),
        (lambda: SPEC.guided_by(np.zeros((1, 2, 2, 4), np.float32)), "1 or 3 channels; received 4: take gains=None"),
        (lambda: FMN(masking="hill"), "masking must be a Masking or None; received 'hill'"),
        (lambda: ALMA(masking=0.5), "masking must be a Masking or None; received 0.5"),
        (lambda: FGSM(0.1, masking=SMOOTH), r"masking must be a Masking or None; received Smoothing\("),
        (lambda: PGD2(1.0, 0.1, masking=True), "masking must be a Masking or None; received True"),
        (lambda: CarliniWagner(masking=1), "masking must be a Masking or None; received 1"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_presets_are_masked_and_described_as_plain_values():
    for family in families.FAMILIES:
        preset = presets.preset(family, "tuned", ["mpgd2", "mspgd2", "mcw", "mfmn", "msfmn", "hfmn"])
        for name, variants in preset.items():
            (plain,) = presets.preset(family, "tuned", [name[1:]])[name[1:]]
            described = parameters.described(variants)
            assert json.loads(json.dumps(described)) == described
            special = {"mpgd2": families.TEXTURE, "mspgd2": families.TEXTURE, "hfmn": families.DETECTOR}
            spec = families.masking(family, special.get(name, families.EYE))
            expected = dataclasses.replace(spec, emphasis=0.0) if plain.smoothing else spec
            assert sa.Masking.from_config(described["masking"]) == expected
            assert {**described, "masking": None} == {
                **parameters.described([plain]),
                **({"learning_rate": described["learning_rate"]} if name == "mcw" else {}),
                **({"initial_const": 0.3} if (name, family) == ("mcw", families.PHOTOGRAPHS) else {}),
            }
