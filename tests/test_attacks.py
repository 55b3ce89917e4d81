"""Attacks against linear models, whose nearest boundary point is known exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from tf_smoothadv import protocol, tensors
from tf_smoothadv.attacks import (
    ALMA,
    BP,
    DDN,
    FGSM,
    FMN,
    IFGSM,
    PGD2,
    Attack,
    CarliniWagner,
    NearestClasses,
    augmented_lagrangian,
    carlini_wagner,
    core,
    minimal_norm,
)

SPEC = sa.Smoothing(alpha=0.9, gamma=3.0, solver="chebyshev")


class Linear:
    """Two classes, logits (a'x + b, 0): class 0 where a'x + b > 0, the boundary (a'x + b) / ||a|| away.

    Images, of 8 bits, are grey enough, and near enough to the boundary, that no attack meets the borders of [0, 1].
    """

    def __init__(self, batch: int, shape: tuple[int, int, int], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.a = rng.normal(size=shape).astype(np.float32)
        self.images = protocol.quantize(rng.uniform(0.4, 0.6, size=(batch, *shape)))
        scores = np.sum(self.a * self.images, axis=(1, 2, 3))
        self.b = np.float32(np.linalg.norm(self.a) * 0.3 - scores.min())
        self.margins = scores + self.b
        self.labels = np.zeros(batch, np.int32)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        scores = tf.reduce_sum(self.a * images, axis=[1, 2, 3]) + self.b
        return tf.stack([scores, tf.zeros_like(scores)], axis=1)

    def optimum(self) -> np.ndarray:
        """Distance of each image to the boundary."""
        return self.margins / np.linalg.norm(self.a)

    def smoothed_direction(self, spec: sa.Smoothing, normalized: bool = True) -> np.ndarray:
        """The gradient a, smoothed like each image: by (9), or by (8)."""
        smoother = spec.guided_by(self.images)
        gradient = np.broadcast_to(self.a, self.images.shape).copy()
        return (smoother(gradient) if normalized else smoother.solve(gradient)).numpy()


class FlatInWhite(Linear):
    """The same, but for white images, of class 0 all of them, whose gradient is zero."""

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        white = tf.reduce_all(images > 0.9, axis=[1, 2, 3])
        logits = super().__call__(images)
        return tf.where(white[:, tf.newaxis], 0 * logits + [1.0, 0.0], logits)


# Tests share these, and what is compiled for them.
COLOR = Linear(3, (7, 9, 3))
FOUR = FlatInWhite(4, (8, 8, 1))


def alone_and_together(attack: Attack, model: Linear, targets: np.ndarray | None = None) -> np.ndarray:
    """What it makes of all the images, and of the first alone, the last row; all must succeed."""
    adversarial = []
    for some in (slice(None), slice(1)):
        classes = None if targets is None else targets[some]
        result = attack(model, model.images[some], model.labels[some], classes)
        assert np.all(result.success)
        adversarial.append(result.adversarial)
    return np.concatenate(adversarial)


def and_first(values: np.ndarray) -> np.ndarray:
    """Values of the images as `alone_and_together` has them."""
    return np.concatenate([values, values[:1]])


class TestThresholds:
    """An attack of budget epsilon succeeds just above the distance of the boundary along its path, not just below."""

    def assert_threshold(self, attack: Attack, thresholds: np.ndarray) -> None:
        for image, label, threshold in zip(COLOR.images, COLOR.labels, thresholds):
            for factor in (0.99, 1.01):
                epsilon = float(factor * threshold)
                changes = {"epsilon": epsilon}
                if hasattr(attack, "step_size"):
                    changes["step_size"] = epsilon / 3
                result = dataclasses.replace(attack, **changes)(COLOR, image[None], label[None])
                assert bool(result.success[0]) is (factor > 1)

    @pytest.mark.parametrize("loss", ["cross_entropy", pytest.param("margin", marks=pytest.mark.slow)])
    @pytest.mark.parametrize("attack", [FGSM(1.0), IFGSM(1.0, 1.0, 6)], ids=["fgsm", "ifgsm"])
    def test_sign_attacks(self, attack, loss):
        thresholds = COLOR.margins / np.sum(np.abs(COLOR.a))
        self.assert_threshold(dataclasses.replace(attack, loss=loss), thresholds)

    @pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
    def test_pgd2(self, loss):
        self.assert_threshold(PGD2(1.0, 1.0, 6, loss=loss), COLOR.optimum())

    @pytest.mark.slow
    def test_smooth_fgsm(self):
        gain = np.sum(COLOR.a * np.sign(COLOR.smoothed_direction(SPEC)), axis=(1, 2, 3))
        self.assert_threshold(FGSM(1.0, SPEC), COLOR.margins / gain)

    def test_smooth_pgd2(self):
        direction = COLOR.smoothed_direction(SPEC)
        direction /= tensors.per_image(tensors.l2_norm(direction)).numpy()
        thresholds = COLOR.margins / np.sum(COLOR.a * direction, axis=(1, 2, 3))
        assert np.all(thresholds > 1.05 * COLOR.optimum())
        self.assert_threshold(PGD2(1.0, 1.0, 6, SPEC), thresholds)

    @pytest.mark.parametrize(
        ("make", "smoothing"),
        [
            (PGD2, SPEC),
            *(pytest.param(*case, marks=pytest.mark.slow) for case in ((IFGSM, None), (IFGSM, SPEC), (PGD2, None))),
        ],
    )
    def test_binary_search_finds_the_threshold_of_each_image(self, make, smoothing):
        direction = COLOR.smoothed_direction(smoothing or sa.Smoothing(alpha=0.0))
        unit = (
            np.sign(direction) if make is IFGSM else direction / tensors.per_image(tensors.l2_norm(direction)).numpy()
        )
        thresholds = COLOR.margins / np.sum(COLOR.a * unit, axis=(1, 2, 3))
        top = float(thresholds.max()) * 3
        attack = make(top, top / 3, 6, smoothing, binary_search_steps=10)
        sizes = attack.size(alone_and_together(attack, COLOR) - and_first(COLOR.images)).numpy()
        assert np.all(sizes >= and_first(thresholds) * (1 - 1e-4))
        assert np.all(sizes <= and_first(thresholds) + 2 * top / 2**10)

    @pytest.mark.parametrize("smoothing", [None, pytest.param(SPEC, marks=pytest.mark.slow)])
    @pytest.mark.parametrize(
        ("attack", "factor"),
        [(FMN(100), 1.002), (DDN(250, norm_step=0.01), 1.02), (DDN(100), 1.06), (BP(100), 1.01)],
        ids=repr,
    )
    def test_minimal_norm_finds_the_threshold_of_each_image(self, attack, factor, smoothing):
        direction = COLOR.smoothed_direction(smoothing or sa.Smoothing(alpha=0.0))
        thresholds = COLOR.margins * tensors.l2_norm(direction).numpy() / np.sum(COLOR.a * direction, axis=(1, 2, 3))
        found = alone_and_together(dataclasses.replace(attack, smoothing=smoothing), COLOR)
        ratio = tensors.l2_norm(found - and_first(COLOR.images)) / and_first(thresholds)
        assert np.all(ratio >= 1 - 1e-4), ratio
        assert np.all(ratio <= factor), ratio


def test_fmn_reaches_a_linear_boundary_in_one_step():
    """The norm at which the margin's slope meets the boundary is exact there, and one norm_step more crosses it."""
    model = Linear(3, (8, 8, 1))
    result = FMN(1, step_size=5.0)(model, model.images, model.labels)
    assert np.all(result.success)
    np.testing.assert_allclose(result.distortion, 1.05 * model.optimum(), rtol=1e-4)


def test_bp_walks_in_the_tangent_plane_and_crosses_along_its_normal():
    """One step from a given r: (1 - c) ||r|| away in the plane normal to n through r, or ||r|| / (1 - c) along n."""
    rng = np.random.default_rng(0)
    r, direction = (tf.constant(rng.normal(size=(4, 6, 5, 3)), tf.float32) for _ in range(2))
    direction = tensors.unit_l2(direction)
    norm, along = tensors.l2_norm(r), tf.reduce_sum(r * direction, axis=[1, 2, 3])
    for success, length in ((True, 0.8 * norm), (False, norm / 0.8)):
        tried = minimal_norm.Tried(r, direction, tf.fill([4], success), norm, norm)
        after, _ = BP().step(tried, norm, tf.constant(1.0), tf.constant(0.2))
        np.testing.assert_allclose(tensors.l2_norm(after), length, rtol=1e-5)
        moved = after - r
        if success:
            np.testing.assert_allclose(tf.reduce_sum(after * direction, axis=[1, 2, 3]), along, rtol=1e-4)
            rest = [each - tensors.per_image(along) * direction for each in (after, r)]
            np.testing.assert_allclose(tensors.unit_l2(rest[0]), tensors.unit_l2(rest[1]), atol=1e-5)
        else:
            np.testing.assert_allclose(tensors.unit_l2(moved), -direction, atol=1e-5)


def test_penalty_slope_is_that_of_p2():
    """P(m) = mu m + mu rho m^2 + rho^2 m^3 / 6 where m >= 0, mu m / (1 - rho m) elsewhere."""
    m = tf.constant(np.linspace(-2, 2, 81))
    rho, mu = tf.constant(1.7, tf.float64), tf.constant(0.6, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(m)
        missed = mu * m + mu * rho * m**2 + rho**2 * m**3 / 6
        penalty = tf.where(m >= 0, missed, mu * m / (1 - rho * tf.minimum(m, 0)))
    np.testing.assert_allclose(augmented_lagrangian.penalty_slope(m, rho, mu), tape.gradient(penalty, m), rtol=1e-12)


@pytest.mark.parametrize(
    ("attack", "factor"),
    [
        pytest.param(CarliniWagner(100, 6, 0.05, initial_const=1.0), 1.03, id="cw"),
        pytest.param(CarliniWagner(100, 6, 0.05, initial_const=1.0, confidence=0.5), 1.1, id="cw-confidence"),
        pytest.param(ALMA(200, averaging=0.9), 1.03, id="alma"),
        # The smoothing is invertible, so the optimum over the latent z is that over r.
        pytest.param(CarliniWagner(150, 6, 0.05, initial_const=1.0, smoothing=SPEC), 1.15, id="scw"),
        pytest.param(
            CarliniWagner(100, 6, 0.05, initial_const=1.0, smoothing=sa.Smoothing(alpha=0.0)),
            1.03,
            id="scw-identity",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("targeted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_finds_the_nearest_boundary_point(attack, factor, targeted):
    found = alone_and_together(attack, COLOR, np.ones_like(COLOR.labels) if targeted else None)
    ratio = tensors.l2_norm(found - and_first(COLOR.images)) / and_first(COLOR.optimum())
    assert np.all(ratio >= 1 - 1e-4)
    assert np.all(ratio <= factor), ratio


@pytest.mark.parametrize(
    "smoothing", [pytest.param(None, id="plain"), pytest.param(SPEC, id="smooth", marks=pytest.mark.slow)]
)
def test_carlini_wagners_own_constant_does_not_depend_on_the_scale_of_the_logits(smoothing):
    """A linear model's own c is 4 x 2 l / ||a||^2 = 8 D^2 / l, so that ||r||^2 + c l is the same at every scale."""
    model = Linear(3, (8, 8, 1))
    attack = CarliniWagner(60, 1, 0.05, initial_const=0.0, smoothing=smoothing)
    norms = []
    for scale in (1e-3, 1.0, 1e3):
        result = attack(lambda x, scale=scale: scale * model(x), model.images, model.labels)
        assert np.all(result.success)
        norms.append(result.distortion)
    np.testing.assert_allclose(norms[::2], norms[1] + np.zeros((2, 1)), rtol=1e-3)
    own = carlini_wagner.own_const(model.margins, np.linalg.norm(model.a).repeat(3))
    given = attack.replaced(initial_const=float(own[0]))(model, model.images[:1], model.labels[:1])
    np.testing.assert_allclose(given.distortion, norms[1][:1], rtol=1e-3)
    np.testing.assert_allclose(own, 8 * model.optimum() ** 2 / model.margins, rtol=1e-5)


def test_own_constant_of_what_errs_or_is_flat_is_one():
    loss, steepness = tf.constant([0.0, -1.0, 1.0, 1.0]), tf.constant([1.0, 1.0, 0.0, 1e-10])
    np.testing.assert_array_equal(carlini_wagner.own_const(loss, steepness), [1, 1, 1, 1e10])


def mean_energy(attack: Attack, model: Linear) -> float:
    result = attack(model, model.images, model.labels)
    assert np.all(result.success)
    return float(np.mean(SPEC.guided_by(model.images).energy(result.adversarial - model.images)))


@pytest.mark.slow
def test_smooth_carlini_wagner_is_smoother_than_the_plain_one():
    """The gradient here is white noise, of energy 1, so that nothing but the constraint can make r smooth."""
    plain = CarliniWagner(10, 4, 0.1, initial_const=1.0)
    model = Linear(3, (8, 8, 1))
    assert mean_energy(dataclasses.replace(plain, smoothing=SPEC), model) < 0.5 * mean_energy(plain, model)


@pytest.mark.slow
def test_penalty_makes_the_perturbation_smoother():
    plain = CarliniWagner(60, 4, 0.1, initial_const=1.0, smoothing=sa.Smoothing(alpha=0.0, gamma=3.0))
    penalised = dataclasses.replace(plain, smoothness_penalty=3.0)
    networks = [Linear(3, (8, 8, 1), seed) for seed in range(4)]
    with_penalty, without = (np.mean([mean_energy(attack, one) for one in networks]) for attack in (penalised, plain))
    assert with_penalty < 0.75 * without


@pytest.mark.slow
def test_penalised_carlini_wagner_comes_near_the_optimum_of_its_objective():
    """min ||r||^2 + 2 mu r'(I - W)r subject to a'r = -margin: r is along (I + 2 mu (I - W))^-1 a, that is along
    s_alpha(a) for alpha = 2 mu / (1 + 2 mu). Of the iterates the least distorted is kept, hence only near.
    """
    model = Linear(3, (8, 8, 1))
    mu = 2.0
    smoother = SPEC.guided_by(model.images)

    def objective(r: np.ndarray) -> np.ndarray:
        return np.asarray(tensors.l2_norm(r) ** 2 + mu * smoother.penalty(r))

    direction = model.smoothed_direction(sa.Smoothing(2 * mu / (1 + 2 * mu), 3.0), normalized=False)
    scale = model.margins / np.sum(model.a * direction, axis=(1, 2, 3))
    optimum = objective(scale[:, None, None, None] * direction)

    attack = CarliniWagner(300, 6, 0.02, initial_const=1.0)
    for smooth, low, high in ((None, 1.2, 2), (SPEC, 1 - 1e-3, 1.15)):
        attack = dataclasses.replace(attack, smoothing=smooth, smoothness_penalty=mu if smooth else 0.0)
        result = attack(model, model.images, model.labels)
        assert np.all(result.success)
        ratio = objective(result.adversarial.numpy() - model.images) / optimum
        assert np.all(ratio > low), ratio
        assert np.all(ratio < high), ratio


class ThreeClasses:
    """Three linear classes of single pixels: the logits are three pixels' values."""

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return images[:, 0, :3, 0]


THREE = ThreeClasses()
IMAGE = np.full((2, 1, 4, 1), 0.5, np.float32)
IMAGE[:, 0, :3, 0] = [0.7, 0.6, 0.4]  # class 0; class 1 is 0.1 / sqrt(2) away, class 2 further


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(0.3),
        PGD2(0.5, 0.05, 15),
        CarliniWagner(100, 5, 0.05, initial_const=1.0),
        FMN(40, 0.1, smoothing=sa.Smoothing(0.5)),
        ALMA(60, 0.1),
        *(
            pytest.param(attack, marks=pytest.mark.slow)
            for attack in (
                IFGSM(0.3, 0.05, 10),
                PGD2(0.5, 0.05, 15, loss="margin"),
                DDN(40, 0.1, 0.1),
                BP(40, 0.1),
                CarliniWagner(100, 5, 0.05, initial_const=1.0, smoothing=sa.Smoothing(0.5)),
            )
        ),
    ],
    ids=repr,
)
class TestTargets:
    def test_untargeted_takes_the_nearest_class(self, attack):
        result = attack(THREE, IMAGE, np.array([0, 0]))
        assert np.argmax(THREE(result.adversarial), 1).tolist() == [1, 1]

    def test_targeted_reaches_each_images_target(self, attack):
        result = attack(THREE, IMAGE, np.array([0, 0]), targets=np.array([2, 1]))
        if not isinstance(attack, FGSM):  # one step of equal size for all pixels brings down both others
            assert np.all(result.success)
        reached = np.argmax(THREE(result.adversarial), 1)
        assert np.array_equal(reached == [2, 1], result.success)


SHORT = [
    FGSM(0.1, SPEC),
    PGD2(2.0, 0.5, 5, SPEC, binary_search_steps=3, delivery=sa.Levels()),
    CarliniWagner(20, 3, 0.05, initial_const=1.0, smoothing=SPEC, smoothness_penalty=1.0),
    FMN(20, smoothing=SPEC),
    BP(20, delivery=sa.Levels()),
    ALMA(30),
]
LONG = [
    FGSM(0.1),
    IFGSM(0.1, 0.02, 5),
    CarliniWagner(20, 3, 0.05, initial_const=1),
    CarliniWagner(20, 3, 0.05, initial_const=1.0, optimizer=keras.optimizers.Adam),
    DDN(20, loss="cross_entropy"),
    ALMA(30, smoothing=SPEC),
    NearestClasses(FMN(20, delivery=sa.Levels())),
    PGD2(np.float32(1.0), 0.2, np.int64(5)),
    PGD2(2.0, 0.5, 5, binary_search_steps=3),
    IFGSM(0.1, 0.02, 5, SPEC),
    PGD2(1.0, 0.2, 5, SPEC),
    CarliniWagner(20, 3, 0.05, initial_const=1.0, smoothing=SPEC),
    BP(20, smoothing=SPEC),
    CarliniWagner(20, 3, 0.05, initial_const=1.0, smoothing=SPEC, optimizer=keras.optimizers.AdamW),
]
DELIVERED = [
    FGSM(0.1, delivery=sa.Levels()),
    CarliniWagner(20, 3, 0.05, initial_const=1, delivery=sa.Levels()),
    DDN(20, smoothing=SPEC, delivery=sa.Levels()),
    FMN(20, delivery=sa.Levels()),
    IFGSM(0.1, 0.02, 5, SPEC, delivery=sa.Levels()),
    PGD2(2.0, 0.5, 5, binary_search_steps=3, delivery=sa.Levels()),
    CarliniWagner(20, 3, 0.05, initial_const=1.0, smoothing=SPEC, delivery=sa.Levels()),
    ALMA(30, delivery=sa.Levels()),
    ALMA(30, smoothing=SPEC, delivery=sa.Levels()),
    NearestClasses(FMN(20, smoothing=SPEC, delivery=sa.Levels())),
]


def slow(attacks: list[Attack]) -> list[Any]:
    return [pytest.param(attack, marks=pytest.mark.slow) for attack in attacks]


ALL = [*SHORT, *slow(LONG + DELIVERED)]


@pytest.mark.parametrize("attack", ALL, ids=repr)
class TestResult:
    def test_says_what_the_images_are(self, attack):
        model = FOUR
        result = attack(model, model.images, model.labels)
        adversarial = result.adversarial.numpy()
        assert adversarial.shape == model.images.shape
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
        distortion = np.linalg.norm((adversarial - model.images).reshape(4, -1), axis=1)
        np.testing.assert_allclose(result.distortion, distortion, rtol=1e-5)
        assert np.array_equal(result.success, np.argmax(model(adversarial), 1) != model.labels)
        assert result.gradients.shape == (4,)
        assert np.all(result.gradients.numpy() > 0)
        trace, gradients = result.trace.numpy(), result.gradients.numpy()
        np.testing.assert_array_equal(trace.min(axis=1), np.where(result.success, result.distortion, np.inf))
        assert trace.shape[1] > gradients.max()
        assert np.all(np.isinf(trace[np.arange(trace.shape[1]) > gradients[:, None]]))
        assert np.all(trace >= model.optimum()[:, None] * (1 - 1e-4))

    def test_is_what_the_python_says_line_by_line(self, attack):
        """Compiled or not: what AutoGraph makes of the loops and conditions does what they do."""
        model = FOUR
        compiled = attack(model, model.images, model.labels)
        prepared = attack.holding({**attack.prepare(model.images.shape), **attack.tensor_settings()})
        eager = prepared.run(sa.Classifier(model), tf.constant(model.images), tf.constant(model.labels), None)
        for field in set(eager._fields) - {"share"}:  # which the judge says, not the loop
            np.testing.assert_allclose(getattr(eager, field), getattr(compiled, field), atol=1e-4)

    def test_of_an_image_does_not_depend_on_the_others(self, attack):
        model = FOUR
        together = attack(model, model.images, model.labels)
        alone = attack(model, model.images[2:3], model.labels[2:3])
        backwards = attack(model, model.images[::-1].copy(), model.labels[::-1].copy())
        for field in ("adversarial", "gradients", "trace"):
            expected = getattr(together, field).numpy()
            np.testing.assert_allclose(getattr(alone, field)[0], expected[2], atol=1e-4)
            np.testing.assert_allclose(getattr(backwards, field)[::-1], expected, atol=1e-4)

    def test_already_misclassified_costs_nothing(self, attack):
        result = attack(FOUR, FOUR.images[:2], np.array([1, 0]))  # the first is class 0
        assert bool(result.success[0])
        # The change of variable of plain C&W cannot start on the borders of [0, 1]; these images are inside.
        np.testing.assert_allclose(result.distortion[0], 0, atol=1e-5)
        np.testing.assert_allclose(result.trace[0, 0], 0, atol=1e-5)

    def test_a_gradient_of_zero_is_no_nan_and_is_counted(self, attack):
        """The first image's gradient is zero; the second's is not."""
        images = FOUR.images[:2].copy()
        images[0] = 1.0
        result = attack(FOUR, images, [0, 0])
        assert not result.success[0]
        assert np.all(np.isinf(result.trace[0]))
        assert np.all(np.isfinite(result.adversarial))
        assert np.all(np.isfinite(result.distortion))
        assert result.faulty[0] > 0


class Watched(Linear):
    """Remembers each image that it is shown, whether that deceives, and how many gradients there were before."""

    def __init__(self) -> None:
        super().__init__(1, (8, 8, 1))
        self.gradients = 0
        self.shown: list[tuple[np.ndarray, bool, int]] = []

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        def remember(images: tf.Tensor, logits: tf.Tensor) -> None:
            self.shown.append((images.numpy(), bool(logits[0, 0] < logits[0, 1]), self.gradients))

        def count(upstream: tf.Tensor) -> None:
            self.gradients += len(upstream)

        @tf.custom_gradient
        def watched(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                tf.py_function(count, [upstream], [])
                return tensors.per_image(upstream[:, 0]) * self.a

            logits = super(Watched, self).__call__(images)
            tf.py_function(remember, [images, logits], [])
            return logits, gradient

        return watched(images)


@pytest.mark.parametrize(
    "attack",
    [
        IFGSM(0.1, 0.02, 5, delivery=sa.Levels()),
        PGD2(2.0, 0.5, 5, binary_search_steps=3),
        CarliniWagner(20, 3, 0.05, initial_const=1.0, smoothing=SPEC, delivery=sa.Levels()),
        FMN(20),
        *slow(
            [
                FGSM(0.1, SPEC),
                PGD2(2.0, 0.5, 5, SPEC, binary_search_steps=3, delivery=sa.Levels()),
                CarliniWagner(20, 3, 0.05, initial_const=1),
                DDN(20, smoothing=SPEC, delivery=sa.Levels()),
            ]
        ),
    ],
    ids=repr,
)
def test_trace_is_what_the_model_was_shown_after_each_gradient(attack):
    model = Watched()
    result = attack(model, model.images, model.labels)
    expected = np.full(result.trace.shape[1], np.inf)
    for shown, deceives, gradients in model.shown[2:-1]:  # the others check the model and judge the result
        if deceives:
            expected[gradients] = min(expected[gradients], np.linalg.norm(shown - model.images))
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(result.trace[0], expected, rtol=1e-5)
    assert result.gradients.numpy().tolist() == [model.gradients]


@pytest.mark.parametrize(
    ("attack", "untried"),
    [
        pytest.param(IFGSM(0.1, 0.02, 12), 0, marks=pytest.mark.slow),
        (PGD2(1.0, 0.1, 12), 0),
        pytest.param(PGD2(1.0, 0.1, 12, SPEC, delivery=sa.Levels()), 0, marks=pytest.mark.slow),
        (CarliniWagner(40, 1, 0.05, False, initial_const=5.0), 1),  # the last iterate of a constant
        pytest.param(CarliniWagner(40, 1, 0.05, False, initial_const=5.0, smoothing=SPEC), 1, marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_a_shorter_run_ends_where_the_trace_of_the_longer_one_was(attack, untried):
    """Where what an attack does at a step does not depend on how many are to come."""
    model = FOUR
    best = np.minimum.accumulate(attack(model, model.images, model.labels).trace, axis=1)
    assert np.isinf(best[:, 0]).all()
    assert np.isfinite(best[:, -1]).all()
    for steps in range(1, attack.steps, 3):
        shorter = dataclasses.replace(attack, steps=steps)(model, model.images, model.labels)
        np.testing.assert_array_equal(np.where(shorter.success, shorter.distortion, np.inf), best[:, steps - untried])


@pytest.mark.parametrize("attack", [*DELIVERED[:4], *slow(DELIVERED[4:])], ids=repr)
def test_levels_give_what_a_file_holds(attack):
    model = FOUR
    result = attack(model, model.images, model.labels)
    assert np.all(result.success)
    np.testing.assert_array_equal(protocol.quantize(result.adversarial), result.adversarial)


@pytest.mark.parametrize(
    ("moved", "levels", "distance", "success"),
    [(0.6, 256, 0.9, True), (0.6, None, 0.9, False), (0.4, 256, 0.3, False), (0.4, None, 0.3, True)],
)
def test_success_is_that_of_the_rounded_image(moved, levels, distance, success):
    """A change of 0.6 of a grey level becomes a whole one, and one of 0.4 none, whatever the true distance."""
    model = Linear(1, (8, 8, 1))
    model.b += np.float32(np.sum(np.abs(model.a)) * distance / 255 - model.margins[0])
    assert (
        bool(FGSM(moved / 255, delivery=levels and sa.Levels(levels))(model, model.images, model.labels).success[0])
        is success
    )


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_fmn_leaves_an_image_that_is_nearer_the_boundary_than_a_level(share):
    """Steps to the boundary, `share` of a level of one pixel away, would each round to nothing."""
    weights = np.ones((256, 2), np.float32) * [1, -1]

    def model(x):
        return tf.reshape(x - 128 / 255, [-1, 256]) @ weights + [share / 255, -share / 255]

    result = FMN(16, delivery=sa.Levels())(model, tf.fill([1, 16, 16, 1], np.float32(128 / 255)), [0])
    assert result.success.numpy().all()


class TestSmoothRounding:
    """A smooth attack's image is rounded by `Smoother.rounded`, not pixel by pixel."""

    SPEC = sa.Smoothing(alpha=0.99, gamma=3.0)

    def assert_rounded(self, adversarial: tf.Tensor, model: Linear, r: np.ndarray) -> None:
        """But for the few pixels that another order of the sums puts on the other side of a half."""
        level = 255 * (model.images + r)
        found = np.round(255 * adversarial.numpy())
        assert np.mean(found == self.SPEC.guided_by(model.images).rounded(level)) > 0.99
        assert np.mean(found == np.round(level)) < 0.97

    def test_of_one_step_of_pgd2(self):
        model = Linear(2, (16, 16, 1))
        attack = PGD2(0.05, 0.05, 1, self.SPEC, loss="margin", delivery=sa.Levels())
        direction = tensors.unit_l2(model.smoothed_direction(self.SPEC)).numpy()
        self.assert_rounded(attack(model, model.images, model.labels).adversarial, model, -0.05 * direction)

    @pytest.mark.slow
    def test_of_the_first_step_of_smooth_cw(self):
        """Adam's first step is the learning rate in every variable of the latent z, of which r = s(z)."""
        model = Linear(2, (16, 16, 1))
        attack = CarliniWagner(2, 1, learning_rate=0.01, smoothing=self.SPEC, delivery=sa.Levels())
        smoother = self.SPEC.guided_by(model.images)
        adjoint = smoother.solve(model.a / smoother.solve(np.ones_like(model.images)))
        r = smoother(-0.01 * np.sign(adjoint)).numpy()
        self.assert_rounded(attack(model, model.images, model.labels).adversarial, model, r)


def test_quantized_gives_the_levels_bit_by_bit():
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    for function in (tensors.quantized, tf.function(tensors.quantized)):
        for offset in (-0.4, 0.0, 0.4):
            np.testing.assert_array_equal(function(levels + np.float32(offset / 255), 256), levels)


def test_quantized_passes_the_gradient_straight_through():
    x = tf.constant(np.linspace(0, 1, 101, dtype=np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        rounded = tensors.quantized(x, 3)
    np.testing.assert_array_equal(rounded, np.round(x * 2) / 2)
    np.testing.assert_array_equal(tape.gradient(rounded, x), np.ones(101))
    assert tensors.quantized(x, None) is x


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ([1, 1, 1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([0, 1, 0, 0, 0, 1, 0, 1], [1, 5, 7, 0]),
        ([0, 0, 0, 0, 0, 0, 1, 0], [6, 0]),
        ([0, 0, 0, 0, 0, 0, 0, 0], []),
        ([0, 1, 1], [1, 2]),
        ([1], [0]),
    ],
)
def test_active_first_has_the_active_images_first_in_quarters_of_the_batch(active, expected):
    assert core.active_first(tf.cast(active, tf.bool)).numpy().tolist() == expected


@pytest.mark.parametrize("jit_compile", [False, True])
def test_scatter_changes_the_active_images_alone(jit_compile):
    @tf.function(jit_compile=jit_compile)
    def changed(values, active):
        some = core.active_first(active)
        return core.scatter(values, some, tf.nest.map_structure(lambda t: t + 10, core.gather(values, some)), active)

    values = {"x": tf.range(8.0), "y": tf.zeros([8, 2])}
    for places in ([6], [1, 3], [0, 1, 2, 3, 4, 5, 6, 7]):
        active = np.isin(np.arange(8), places)
        found = changed(values, tf.constant(active))
        np.testing.assert_array_equal(found["x"], np.arange(8) + 10 * active)
        np.testing.assert_array_equal(found["y"], np.zeros([8, 2]) + 10 * active[:, np.newaxis])


@pytest.mark.parametrize("smoothing", [None, pytest.param(SPEC, marks=pytest.mark.slow)])
def test_an_image_that_has_succeeded_costs_no_more_gradients(smoothing):
    model = Linear(8, (8, 8, 1))
    seen = []

    def counting(images):
        tf.py_function(lambda size: seen.append(int(size)), [tf.shape(images)[0]], [])
        return model(images)

    attack = PGD2(4.0, 0.5, 12, smoothing, binary_search_steps=4)
    result = attack(counting, model.images, model.labels)
    assert np.all(result.success)
    gradients = int(np.sum(result.gradients))
    assert gradients < 0.9 * 8 * attack.steps * 5
    checked, judged = seen[:2], seen[-1:]  # two calls of the first images before, one of the results behind
    assert (checked, judged) == ([2, 2], [8])
    forward = sum(seen[2:-1])
    assert gradients <= forward - 5 * 8  # each round ends with one look at all
    assert forward - 5 * 8 < gradients + 2 * attack.steps * 5  # filled up by at most a quarter less one, twice 1


def traces_of(model):
    """The model, and a list that grows by its input's shape whenever it is traced."""
    traced = []

    def counting(images):
        if tf.is_symbolic_tensor(images):
            traced.append(images.shape)
        return model(images)

    return counting, traced


def test_one_loop_is_compiled_for_all_batch_sizes_and_numbers():
    model = Linear(5, (8, 8, 1))
    counting, traced = traces_of(model)

    for make in (
        lambda value: PGD2(value, 0.1 * value, 3 * int(value)),
        lambda value: FGSM(0.1 * value),
        lambda value: DDN(3 * int(value), value),
        lambda value: CarliniWagner(3 * int(value), 1 + int(value), value, initial_const=value, confidence=value),
    ):
        make(1.0)(counting, model.images, model.labels)
        once = len(traced)
        make(2.0)(counting, model.images[:3], model.labels[:3])
        make(3.0)(counting, model.images[:1], model.labels[:1])
        assert len(traced) == once


def test_keras_models_run_in_inference_mode():
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dropout(0.9), keras.layers.Dense(3)]
    )
    images = np.random.default_rng(0).random((2, 8, 8, 1)).astype(np.float32)
    labels = np.argmax(model(images, training=False), 1)
    first, second = (PGD2(0.5, 0.1, 5)(model, images, labels).adversarial for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FGSM(0.0), r"epsilon must be a number in \(0, 1\]; received 0.0"),
        (lambda: FGSM(8.0), r"epsilon must be a number in \(0, 1\]; received 8.0"),
        (lambda: IFGSM(1.5, 0.1), r"epsilon must be a number in \(0, 1\]; received 1.5"),
        (lambda: PGD2(np.inf, 0.1), r"epsilon must be a number in \(0, inf\); received inf"),
        (lambda: CarliniWagner(initial_const=1e39), r"initial_const must be a number in \[0, 1e\+10\]"),
        (lambda: IFGSM(0.3, -1.0), "step_size must be .* received -1.0"),
        (lambda: PGD2(1.0, 0.1, 0), "steps must be an integer of at least 1; received 0"),
        (lambda: PGD2(1.0, 0.1, binary_search_steps=-1), "binary_search_steps must be an integer of at least 0"),
        (lambda: PGD2(1.0, 0.1, loss="hinge"), "loss must be one of .* received 'hinge'"),
        (lambda: CarliniWagner(steps=0), "steps must be .* received 0"),
        (lambda: CarliniWagner(binary_search_steps=0), "binary_search_steps must be .* received 0"),
        (lambda: CarliniWagner(learning_rate=0.0), "learning_rate must be .* received 0.0"),
        (lambda: CarliniWagner(initial_const=-1.0), "initial_const must be .* received -1.0"),
        (lambda: CarliniWagner(confidence=-1.0), "confidence must be .* received -1.0"),
        (lambda: CarliniWagner(smoothness_penalty=1.0), "smoothness_penalty needs smoothing="),
        (lambda: CarliniWagner(smoothing=SPEC, smoothness_penalty=-1.0), "smoothness_penalty must be .* received -1.0"),
        (lambda: FGSM(0.1, delivery=sa.Levels(1)), "count must be an integer of at least 2; received 1"),
        (lambda: PGD2(1.0, 0.1, delivery=256), "delivery must be a Delivery or None; received 256"),
        (lambda: CarliniWagner(border=0.5), r"border must be a number in \(0, 0.5\); received 0.5"),
        (lambda: CarliniWagner(delivery="png"), "delivery must be a Delivery or None; received 'png'"),
        (lambda: CarliniWagner(smoothing=0.9), "smoothing must be a Smoothing or None; received 0.9"),
        (lambda: DDN(0), "steps must be an integer of at least 1; received 0"),
        (lambda: FMN(step_size=0.0), r"step_size must be a number in \(0, inf\); received 0.0"),
        (lambda: DDN(norm_step=1.0), r"norm_step must be a number in \(0, 1\); received 1.0"),
        (lambda: DDN(loss="hinge"), "loss must be one of .* received 'hinge'"),
        (lambda: FMN(smoothing=0.9), "smoothing must be a Smoothing or None; received 0.9"),
        (lambda: BP(norm_step=0.0), r"norm_step must be a number in \(0, 1\); received 0.0"),
        (lambda: ALMA(averaging=1.0), r"averaging must be a number in \(0, 1\); received 1.0"),
        (lambda: ALMA(step_size=0.0), r"step_size must be a number in \(0, inf\); received 0.0"),
        (lambda: FMN(delivery=sa.Levels(256.0)), "count must be an integer of at least 2; received 256.0"),
        (lambda: PGD2(1.0, 0.1, smoothing="smooth"), "smoothing must be a Smoothing or None; received 'smooth'"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


GOOD = np.full((2, 1, 4, 1), 0.5, np.float32)


@pytest.mark.parametrize(
    ("model", "images", "labels", "targets", "message"),
    [
        (THREE, GOOD * 510, [0, 0], None, r"images must lie in \[0, 1\]; received values from 255 to 255"),
        (THREE, GOOD * np.nan, [0, 0], None, "received values from nan to nan"),
        (THREE, GOOD[0], [0, 0], None, r"images must have rank 4, .* received shape \(1, 4, 1\)"),
        (THREE, GOOD.astype(int), [0, 0], None, "images must be floats; received int64"),
        (THREE, GOOD[:0], np.zeros(0, int), None, "at least one image"),
        (THREE, GOOD, [0, 3], None, "labels must be below the model's 3 classes; received 3"),
        (THREE, GOOD, [0, -1], None, "labels must be classes from 0 on; received -1"),
        (THREE, GOOD, [0], None, r"labels must have shape \[2\], .* received shape \(1,\)"),
        (THREE, GOOD, [0.0, 1.0], None, "labels must be integers; received float32"),
        (THREE, GOOD, [0, 0], [1, 5], "targets must be below the model's 3 classes; received 5"),
        (lambda x: tf.nn.softmax(THREE(x)), GOOD, [0, 0], None, "the model must return logits"),
        (lambda x: THREE(x) * np.nan, GOOD, [0, 0], None, "must return finite logits"),
        (lambda x: x, GOOD, [0, 0], None, r"to logits \[batch, classes\]; it returned \(2, 1, 4, 1\)"),
    ],
)
def test_bad_input(model, images, labels, targets, message):
    with pytest.raises(ValueError, match=message):
        FGSM(0.1)(model, images, labels, targets)


def test_inside_a_function_each_image_may_have_its_own_epsilon():
    """As adversarial training uses it."""
    model = Linear(3, (8, 8, 1))
    epsilon = np.array([0.01, 0.02, 0.03], np.float32)

    @tf.function
    def attacked(images, labels, epsilon):
        return FGSM(epsilon)(model, images, labels).adversarial

    for adversarial in (
        attacked(model.images, model.labels, tf.constant(epsilon)),
        FGSM(tf.constant(epsilon))(model, model.images, model.labels).adversarial,
    ):
        np.testing.assert_allclose(np.max(np.abs(adversarial - model.images), axis=(1, 2, 3)), epsilon, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(FMN(10), id="fmn"),
        pytest.param(PGD2(5.0, 1.5, 4, loss="margin", binary_search_steps=2), id="pgd2", marks=pytest.mark.slow),
    ],
)
def test_compiled_by_xla_an_attack_comes_to_the_same(attack, digits):
    images, labels = digits[0][:5], digits[1][:5]
    model = sa.Classifier(models.c4())
    expected, found, fewer = (
        attack(model, images, labels),
        *(attack(model.by_xla(), images[:size], labels[:size]) for size in (5, 3)),
    )
    assert not model.jit_compile
    for size, result in ((5, found), (3, fewer)):
        np.testing.assert_array_equal(result.success, expected.success[:size])
        np.testing.assert_array_equal(result.gradients, expected.gradients[:size])
        np.testing.assert_allclose(result.distortion, expected.distortion[:size], rtol=1e-3)
