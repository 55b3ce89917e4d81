"""What makes attacks fail without a word, or succeed in word alone: number formats, scales, gradients, data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tf_smoothadv as sa
from tests.test_attacks import SPEC, Linear
from tests.test_classifier import IMAGES, STEP, WEIGHTS, classes, logits_of, network
from tf_smoothadv import criteria, protocol, tensors, transfer
from tf_smoothadv.attacks import ALMA, BP, DDN, FGSM, FMN, IFGSM, PGD2, CarliniWagner, NearestClasses, core
from tf_smoothadv.evaluation import presets

EACH = [PGD2(2.0, 0.4, 6), CarliniWagner(20, 2, 0.5), FMN(10), ALMA(20)]  # by one of each kind of loop
OTHERS = [
    FGSM(0.2),
    IFGSM(0.2, 0.05, 6),
    PGD2(2.0, 0.5, 4, binary_search_steps=2),
    PGD2(2.0, 0.4, 6, SPEC),
    CarliniWagner(20, 2, 0.5, smoothing=SPEC),
    DDN(20),
    BP(10),
    NearestClasses(FMN(6), classes=2, candidates=2),
]
EVERY = [*EACH, *(pytest.param(attack, marks=pytest.mark.slow) for attack in OTHERS)]
each_attack = pytest.mark.parametrize("attack", EVERY, ids=repr)


def assert_one_line(error: pytest.ExceptionInfo[Exception]) -> None:
    assert "\n" not in str(error.value)


class TestNumberFormats:
    """C4 in fewer bits is no more robust, and what succeeds there does so when it is called."""

    def in_format(self, policy: str) -> keras.Model:
        model = models.c4()
        copied = keras.models.clone_model(
            model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": policy})
        )
        copied.set_weights(model.get_weights())
        return copied

    @pytest.mark.parametrize(
        ("attack", "policies"),
        [
            (PGD2(2.0, 0.2, 20), ["mixed_float16"]),
            pytest.param(IFGSM(0.2, 0.02, 20), ["mixed_float16"], marks=pytest.mark.slow),
            *(
                pytest.param(attack, ["mixed_float16", "float16", "mixed_bfloat16"], marks=pytest.mark.slow)
                for attack in (PGD2(2.0, 0.2, 20), IFGSM(0.2, 0.02, 20), FGSM(0.2), FMN(50))
            ),
        ],
        ids=repr,
    )
    def test_attacks_succeed_as_in_float32(self, attack, policies, digits):
        images, labels = digits[0][:20], digits[1][:20]
        shares = {}
        for policy in ["float32", *policies]:
            model = self.in_format(policy)
            result = attack(model, images, labels)
            assert np.array_equal(result.success, classes(model, result.adversarial) != labels)
            shares[policy] = np.mean(result.success)
        assert shares == pytest.approx(dict.fromkeys(shares, shares["float32"]), abs=0.05)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("policy", "names"),
        [("mixed_float16", presets.ATTACKS), ("mixed_bfloat16", ("fgsm", "ifgsm", "pgd2"))],
        ids=["mixed_float16", "mixed_bfloat16"],
    )
    def test_the_demo_succeeds_as_in_float32(self, policy, names, digits):
        """Of bfloat16, at which a processor is slow, the shorter attacks."""
        dataset = [(digits[0][:100], digits[1][:100])]
        attacks = presets.preset("digits", "tuned", names)
        found, expected = (
            protocol.evaluate(self.in_format(one), dataset, attacks).p_suc for one in (policy, "float32")
        )
        assert found == pytest.approx(expected, abs=0.03)

    @pytest.mark.parametrize("dtype", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "float16"])
    def test_a_success_is_one_when_it_is_called(self, dtype):
        """At the boundary, which FMN walks along, a rounding decides."""
        layers = [keras.layers.Dense(30, "relu", dtype=dtype), keras.layers.Dense(3, dtype=dtype)]
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), *layers])
        rng = np.random.default_rng(0)
        model.set_weights([rng.normal(size=weight.shape) / 10 for weight in model.get_weights()])
        images = np.concatenate([IMAGES, 1 - IMAGES, IMAGES[:, ::-1], IMAGES**2])
        labels = classes(model, images)
        result = FMN(30)(model, images, labels)
        assert np.array_equal(result.success, classes(model, result.adversarial) != labels)
        assert np.all(result.success)

    @pytest.mark.parametrize("exponent", [-40, -20, 0, 20])
    def test_a_gradient_is_scaled_into_what_float16_holds(self, exponent):
        """Of logits in float16 and a loss multiplied by a power of two: exactly that multiple of the gradient."""

        def model(images):
            return tf.cast(logits_of(images), tf.float16)

        def slope(factor):
            scaled = sa.Classifier(model)
            labels = tf.constant(classes(model), tf.int32)
            loss = core.slope(scaled, tf.constant(IMAGES), labels, None, lambda *a: factor * criteria.margin(*a))
            return loss.gradient

        np.testing.assert_array_equal(slope(2.0**exponent), slope(1.0) * 2.0**exponent)


class TestScales:
    """A multiple of the logits is the same classifier."""

    @pytest.mark.parametrize(
        ("attack", "scales"),
        [
            (FGSM(0.2), (1000.0, 1e-25)),
            pytest.param(IFGSM(0.2, 0.05), (1000.0, 1e-25), marks=pytest.mark.slow),
            pytest.param(PGD2(2.0, 0.4), (1000.0, 1e-25), marks=pytest.mark.slow),
            pytest.param(PGD2(2.0, 0.4, smoothing=SPEC), (1000.0, 1e-25), marks=pytest.mark.slow),
            pytest.param(DDN(), (1000.0, 1e-25), marks=pytest.mark.slow),
            (FMN(), (1000.0, 1e-25)),
            pytest.param(BP(), (1000.0, 1e-25), marks=pytest.mark.slow),
            pytest.param(NearestClasses(FMN(20)), (1000.0, 1e-25), marks=pytest.mark.slow),
            (ALMA(), (1000.0, 1e-3)),
            (CarliniWagner(), (1000.0, 1e-3)),  # its constant has a range of its own
            pytest.param(CarliniWagner(smoothing=SPEC), (1000.0, 1e-3), marks=pytest.mark.slow),
        ],
        ids=repr,
    )
    def test_of_logits(self, attack, scales):
        scale = tf.Variable(1.0)

        def model(images):
            return scale * logits_of(images)

        labels = classes(model)
        assert np.all(attack(model, IMAGES, labels).success)
        for value in scales:
            scale.assign(value)
            result = attack(model, IMAGES, labels)
            assert np.all(result.success)
            assert np.array_equal(classes(model, result.adversarial) != labels, result.success)

    @pytest.mark.parametrize("attack", [FGSM(0.2), PGD2(2.0, 0.4, 5)], ids=repr)
    def test_of_two_classes_has_the_very_same_steps(self, attack):
        """Whose log-odds are the margin."""
        linear, scale = Linear(3, (8, 8, 1)), tf.Variable(1.0)

        def model(images):
            return scale * linear(images)

        expected = attack(model, linear.images, linear.labels)
        assert np.all(expected.success)
        for value in (2.0**10, 2.0**-80):
            scale.assign(value)
            result = attack(model, linear.images, linear.labels)
            np.testing.assert_allclose(result.adversarial, expected.adversarial, atol=1e-6)

    @pytest.mark.parametrize("targets", [None, [1, 2, 0, 1]])
    @pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
    def test_the_log_odds_fall_where_the_cross_entropy_rises(self, targets, scale):
        """d log(p / (1 - p)) = d log(p) / (1 - p), p the probability of the class: the same direction everywhere."""
        logits = tf.constant(scale * np.random.default_rng(0).normal(size=(4, 3)))
        labels = tf.constant([0, 1, 2, 0])
        chosen = labels if targets is None else tf.constant(targets)
        sign = 1 if targets is None else -1
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(logits)
            odds = criteria.log_odds(logits, labels, None if targets is None else chosen)
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(chosen, logits)
        probability = tf.exp(-entropy)[:, tf.newaxis]
        expected = -sign * tape.gradient(entropy, logits) / (1 - probability)
        np.testing.assert_allclose(tape.gradient(odds, logits), expected, rtol=1e-9)
        for place in range(3):
            step = 1e-5 * np.eye(3)[place]
            ahead, behind = (
                criteria.log_odds(logits + way * step, labels, None if targets is None else chosen) for way in (1, -1)
            )
            np.testing.assert_allclose((ahead - behind) / 2e-5, expected[:, place], rtol=1e-5, atol=1e-8)


@tf.custom_gradient
def straight_through(images: tf.Tensor) -> Any:
    return tf.round(255 * images) / 255, lambda upstream: upstream


def numpy_logits(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, 192) @ WEIGHTS


BROKEN: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "round": lambda x: logits_of(tf.round(255 * x) / 255),
    "argmax": lambda x: 5 * tf.one_hot(tf.argmax(logits_of(x), axis=1), 3),
    "stop_gradient": lambda x: logits_of(tf.stop_gradient(x)),
    "numpy_function": lambda x: tf.ensure_shape(tf.numpy_function(numpy_logits, [x], tf.float32), [None, 3]),
    "numpy": lambda x: tf.constant(numpy_logits(x.numpy())),
    "sign": lambda x: tf.sign(logits_of(x)) + tf.constant([0.3, 0.2, 0.1]),
    "integers": lambda x: logits_of(tf.cast(tf.cast(255 * x, tf.int32), tf.float32)),
}


class TestWithoutAGradient:
    def assert_told(self, attacked: Callable[[], Any]) -> None:
        with pytest.raises(
            ValueError, match=r"straight-through gradient|made of its operations, without NumPy"
        ) as error:
            attacked()
        assert_one_line(error)

    @each_attack
    def test_every_attack_says_so(self, attack):
        self.assert_told(lambda: attack(BROKEN["round"], IMAGES, classes(BROKEN["round"])))

    @pytest.mark.parametrize("name", BROKEN)
    def test_whatever_it_is(self, name):
        labels = classes(BROKEN[name])
        self.assert_told(lambda: STEP(BROKEN[name], IMAGES, labels))
        self.assert_told(lambda: protocol.evaluate(BROKEN[name], [(IMAGES, labels)], {"step": STEP}))

    @pytest.mark.parametrize(
        ("inner", "attack"),
        [
            (straight_through, FMN(20)),
            (lambda x: x + tf.stop_gradient(tf.round(255 * x) / 255 - x), CarliniWagner(20, 2, 0.5, smoothing=SPEC)),
        ],
    )
    def test_what_the_message_recommends_works(self, inner, attack):
        def model(images):
            return logits_of(inner(images))

        labels = classes(model)
        result = attack(model, IMAGES, labels)
        assert np.all(result.success)
        assert np.all(classes(model, result.adversarial) != labels)

    def test_one_image_without_it_does_not_end_an_evaluation(self):
        """Nor a batch of such images, once another batch had one."""

        def model(images):
            dark = tf.reduce_mean(images, axis=[1, 2, 3])[:, tf.newaxis] < 0.2
            return tf.where(dark, [[0.0, 2.0, 0.0]], logits_of(images))

        images = np.concatenate([IMAGES, 0.1 * IMAGES])
        labels = classes(model, images)
        assert labels[4:].tolist() == [1] * 4
        dataset = [(images[start : start + 3], labels[start : start + 3]) for start in (0, 3, 6)]
        run = protocol.evaluate(model, dataset, {"fmn": FMN(8)})
        assert run.num_correct == 8
        assert [record.computed.success for record in run.records] == [True] * 4 + [False] * 4
        assert all(record.faulty > 0 for record in run.records[4:])
        assert not any(record.faulty for record in run.records[:4])


def root(images: tf.Tensor) -> tf.Tensor:
    """An infinite gradient where a pixel is zero, which attacks make many."""
    return logits_of(images**0.5)


class TestNotFinite:
    def assert_images(self, result: core.AttackResult) -> None:
        adversarial = result.adversarial.numpy()
        assert np.all((adversarial >= 0) & (adversarial <= 1))  # false for NaN, too
        assert np.all(np.isfinite(result.distortion))

    @each_attack
    def test_gradients(self, attack):
        images = IMAGES.copy()
        images[:2, :2] = 0
        labels = classes(root, images)
        result = attack(root, images, labels)
        self.assert_images(result)
        assert np.array_equal(result.success, classes(root, result.adversarial) != labels)
        if not (isinstance(attack, CarliniWagner) and attack.smoothing is None):  # which starts inside (0, 1)
            assert np.all(result.faulty[:2].numpy() > 0)
        assert np.all(result.faulty.numpy() <= result.gradients.numpy())
        assert np.all(result.success[2:])

    def test_are_told_in_the_records(self):
        images = IMAGES.copy()
        images[:2, :2] = 0
        labels = classes(root, images)
        run = protocol.evaluate(
            root, [(images, labels)], {"fmn": FMN(6), "pgd2": [PGD2(1.0, 0.5, 2), PGD2(2.0, 1.0, 2)]}
        )
        for name, attack in (("fmn", [FMN(6)]), ("pgd2", [PGD2(1.0, 0.5, 2), PGD2(2.0, 1.0, 2)])):
            expected = sum(one(root, images, labels).faulty.numpy() for one in attack)
            assert [record.faulty for record in run.records if record.attack == name] == expected.tolist()

    @each_attack
    def test_logits_on_the_way(self, attack):
        """NaN beyond a distance from the originals, which lie close together: the boundary is found inside of it."""
        images = np.clip(IMAGES[:1] + 0.01 * (IMAGES - 0.5), 0, 1)
        labels = classes(logits_of, images)
        margins = criteria.margin(logits_of(images), tf.constant(labels, tf.int32)).numpy()
        difference = WEIGHTS[:, labels[0]] - np.delete(WEIGHTS, labels[0], axis=1).T[0]
        distance = 2 * margins.max() / np.linalg.norm(difference)

        def model(images):
            far = tensors.l2_norm(images - IMAGES[:1]) > distance
            return tf.where(far[:, tf.newaxis], np.nan, logits_of(images))

        result = attack(model, images, labels)
        self.assert_images(result)
        logits = model(result.adversarial).numpy()
        finite = np.isfinite(logits).all(axis=1)
        assert np.array_equal(result.success, finite & (np.argmax(np.nan_to_num(logits), axis=1) != labels))
        assert np.all(result.success) or isinstance(attack, FGSM)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_logits_are_no_success(self, value):
        def model(images):
            away = tf.reduce_any(images == 0, axis=[1, 2, 3])
            return tf.where(away[:, tf.newaxis] & [False, True, True], value, logits_of(images))

        result = FGSM(0.5)(model, IMAGES, classes(logits_of))
        assert np.all(np.any(result.adversarial == 0, axis=(1, 2, 3)))
        assert not np.any(result.success)
        assert np.all(np.isinf(result.trace))
        self.assert_images(result)

    def test_the_largest_constant(self):
        for smoothing in (None, SPEC):
            result = CarliniWagner(20, 3, 0.5, initial_const=1e10, smoothing=smoothing)(
                logits_of, IMAGES, classes(logits_of)
            )
            self.assert_images(result)
            assert np.all(result.success)

    @pytest.mark.parametrize("solver", ["chebyshev", "cg", "dense"])
    def test_the_largest_alpha(self, solver):
        for alpha in (0.99999999, 0.9999995, 1.0):
            with pytest.raises(ValueError, match="alpha must be"):
                sa.Smoothing(alpha=alpha)
        smoothing = sa.Smoothing(alpha=0.999999, solver=solver, **({"iterations": 50} if solver != "dense" else {}))
        assert np.all(np.isfinite(smoothing.guided_by(IMAGES)(IMAGES - 0.5)))
        if solver == "chebyshev":
            self.assert_images(PGD2(2.0, 0.5, 3, smoothing)(logits_of, IMAGES, classes(logits_of)))


class TestAlreadyMisclassified:
    IMAGES = np.zeros((1, 28, 28, 1), np.float32)
    IMAGES[:, 8:20, 8:20] = 1  # saturated pixels, where plain C&W cannot start

    @pytest.mark.parametrize(
        "attack",
        [
            FMN(5),
            pytest.param(PGD2(1.0, 0.1, 5), marks=pytest.mark.slow),
            pytest.param(CarliniWagner(5, 2, smoothing=SPEC), marks=pytest.mark.slow),
            CarliniWagner(20, 2),
            pytest.param(CarliniWagner(20, 2, delivery=sa.Levels()), marks=pytest.mark.slow),
        ],
        ids=repr,
    )
    def test_costs_no_distortion(self, attack):
        def model(images):
            sums = tf.reduce_sum(images, axis=[1, 2, 3])
            return tf.stack([0.01 * sums, 5 + 0.01 * sums], axis=1)  # always class 1

        result = attack(model, self.IMAGES, [0])
        assert (result.success.numpy().tolist(), result.distortion.numpy().tolist()) == ([True], [0.0])
        np.testing.assert_array_equal(result.adversarial, self.IMAGES)


DATASET = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(4) % 3))
IS_3 = r"labels must be below the model's 3 classes; received {}$"


class TestEvaluation:
    @pytest.mark.parametrize(
        ("dataset", "message"),
        [
            ([(IMAGES, [0, 7, 8, 9])], IS_3.format(9)),
            ([(IMAGES, [0, 0, 0, 0]), (IMAGES, [0, 1, 2, 3])], IS_3.format(3)),
            ([(IMAGES, [0] * 4, [1, 2, 3, 1])], "targets must be below the model's 3 classes; received 3$"),
            ([(IMAGES, [0, 0, 0, -1])], "labels must be classes from 0 on; received -1"),
            (
                DATASET.map(lambda image, label: {"image": image, "label": label}).batch(2),
                r"batches \(images, labels\) or \(images, labels, targets\), .*; received the keys image, label$",
            ),
            ([(IMAGES, [0] * 4, [1] * 4, [1] * 4)], r"batches \(images, labels\) .*; received tuple of 4$"),
            ([(IMAGES,)], "received tuple of 1$"),
            ([IMAGES], "received ndarray$"),
            ([], "the dataset must hold at least one image; received none"),
            (DATASET, "images must have rank 4"),
            ([(255 * IMAGES, [0] * 4)], "divide 8-bit values by 255"),
            (
                DATASET.map(lambda image, label: (image, tf.one_hot(label, 3))).batch(4),
                "one-hot rows take the tf.argmax",
            ),
        ],
    )
    def test_a_dataset_that_is_none(self, dataset, message):
        with pytest.raises(ValueError, match=message) as error:
            protocol.evaluate(logits_of, dataset, {"step": STEP})
        assert_one_line(error)

    @pytest.mark.parametrize("attacks", [STEP, [STEP], None, {}])
    def test_attacks_without_names(self, attacks):
        with pytest.raises(ValueError, match=r"attacks must (be attacks by name|name at least one attack)"):
            protocol.evaluate(logits_of, [(IMAGES, classes(logits_of))], attacks)

    @pytest.mark.slow
    def test_images_of_two_sizes(self):
        def model(images):
            return 20 * tf.reduce_mean(images, axis=[1, 2])

        parts = [IMAGES, IMAGES[:3, :6], IMAGES[:1, :6], IMAGES]
        dataset = [(part, classes(model, part)) for part in parts]
        run = protocol.evaluate(model, dataset, {"step": STEP})
        assert (run.num_images, run.num_correct) == (12, 12)
        assert [record.index for record in run.records] == list(range(12))
        alone = [record for part in dataset for record in protocol.evaluate(model, [part], {"step": STEP}).records]
        for one, other in zip(run.records, alone, strict=True):
            assert one.computed.distortion == pytest.approx(other.computed.distortion, abs=1e-5)

    def test_twice_over_the_same_images(self):
        labels = classes(logits_of)
        images = protocol.CorrectImages(logits_of, [(IMAGES[:3], [*labels[:2], (labels[2] + 1) % 3]), (IMAGES, labels)])
        for _ in range(2):
            assert [originals.indices.tolist() for originals in images] == [[0, 1, 3, 4], [5, 6]]
            assert (images.num_images, images.num_correct) == (7, 6)
        next(iter(images))
        assert [originals.indices.tolist() for originals in images] == [[0, 1, 3, 4], [5, 6]]
        records = [
            [
                record.index
                for batch in protocol.attack_batches(logits_of, images, {"step": STEP})
                for record in batch.records
            ]
            for _ in range(2)
        ]
        assert records == [[0, 1, 3, 4, 5, 6]] * 2
        assert images.num_images == 7

    def test_a_dataset_in_another_order_the_second_time(self):
        rows = np.random.default_rng(0).uniform(size=(64, 8, 8, 3)).astype(np.float32)
        labels = classes(logits_of, rows)
        dataset = tf.data.Dataset.from_tensor_slices((rows, labels)).shuffle(64, seed=1).batch(8)
        images = protocol.CorrectImages(logits_of, dataset)
        assert len(list(images)) == 8
        with pytest.raises(
            ValueError, match=r"same images in the same order each time; .* leave out the shuffling"
        ) as error:
            list(images)
        assert_one_line(error)
        clean = {"a": np.concatenate([protocol.predict(logits_of, batch) for batch, _ in dataset])}
        with pytest.raises(
            ValueError, match=r"in the order of the dataset; a gives image .* without shuffling"
        ) as error:
            list(transfer.records({"a": logits_of}, "a", dataset, {"step": STEP}, clean))
        assert_one_line(error)

    def test_transfer_needs_a_class_of_each_image(self):
        labels = classes(logits_of)
        with pytest.raises(ValueError, match="clean must have a class of each image of the dataset; for a it has 3"):
            list(transfer.records({"a": logits_of}, "a", [(IMAGES, labels)], {"step": STEP}, {"a": labels[:3]}))


NEAR_ONE = np.where(IMAGES > 0.99, np.float32(1.0000001), IMAGES)


class TestMessages:
    """What is met first, in one line that says what to do."""

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            ((255 * IMAGES).astype(np.uint8), [0] * 4, r"images must be floats; received uint8; divide .* / 255$"),
            (255 * IMAGES, [0] * 4, "images must lie in .* divide 8-bit values by 255$"),
            (NEAR_ONE, [0] * 4, r"from .* to 1.0000001; clip them: tf.clip_by_value\(images, 0, 1\)$"),
            (IMAGES - 0.0005, [0] * 4, "clip them"),
            (2 * IMAGES - 1, [0] * 4, r"images must lie in \[0, 1\]; received values from -0.99\d* to [\d.]*$"),
            (IMAGES[0], [0], r"images must have rank 4, \[batch, height, width, channels\]"),
            (IMAGES, np.eye(3)[[0] * 4], r"received shape \(4, 3\): of one-hot rows take the tf.argmax"),
            (IMAGES, np.eye(4, dtype=int), "of one-hot rows take the tf.argmax"),
            (IMAGES, [0.0] * 4, "labels must be integers; received float32"),
            (IMAGES, [0] * 3, r"labels must have shape \[4\], one class an image; received shape \(3,\)"),
            (IMAGES, np.zeros((4, 1), int), r"received shape \(4, 1\)"),
            (IMAGES, np.array([0] * 4) + 2**32, r"labels must be classes, below 2\*\*31; received 4294967296"),
            (IMAGES, np.array([0] * 4) - 2**32, "labels must be classes from 0 on; received -4294967296"),
            (IMAGES, [0, 0, 0, 3], IS_3.format(3)),
        ],
    )
    def test_images_and_labels(self, images, labels, message):
        with pytest.raises(ValueError, match=message) as error:
            STEP(logits_of, images, labels)
        assert_one_line(error)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    def test_floats_of_any_size(self, dtype):
        images = tf.cast(IMAGES, dtype)
        expected = STEP(logits_of, tf.cast(images, tf.float32), classes(logits_of))
        result = STEP(logits_of, images, classes(logits_of))
        np.testing.assert_array_equal(result.adversarial, expected.adversarial)

    @pytest.mark.parametrize(
        "make",
        [lambda: FGSM(8.0), lambda: IFGSM(8.0, 2.0), lambda: FGSM(1.01), lambda: FGSM(np.nan), lambda: FGSM(8 / 1)],
    )
    def test_epsilon_in_grey_levels(self, make):
        with pytest.raises(ValueError, match=r"epsilon must be a number in \(0, 1\]"):
            make()
        assert FGSM(1.0).epsilon == 1

    @pytest.mark.parametrize("backend", ["jax", "torch"])
    def test_another_backend_of_keras(self, backend):
        environment = {**os.environ, "KERAS_BACKEND": backend}
        command = [sys.executable, "-c", "import tf_smoothadv"]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert finished.returncode == 1
        last = finished.stderr.strip().splitlines()[-1]
        assert last.startswith(f"ImportError: tf_smoothadv needs Keras on TensorFlow; received '{backend}'")
        assert "KERAS_BACKEND=tensorflow" in last

    def test_a_network_that_is_attacked_as_it_comes(self):
        """The issue's own example: a softmax at the end of a Keras network."""
        model = network(activation="softmax")
        with pytest.raises(ValueError, match=r"sa.Classifier\(model, outputs='probabilities'\)") as error:
            FMN(5)(model, IMAGES, [0] * 4)
        assert_one_line(error)


@pytest.mark.slow
def test_a_linear_boundary_is_found_whatever_the_scale():
    """The exact optimum of two classes, for logits between the smallest and the largest that float32 squares hold."""
    linear = Linear(2, (8, 8, 1))
    for scale in (1e-18, 1.0, 1e18):
        result = FMN(40)(lambda images, scale=scale: scale * linear(images), linear.images, linear.labels)
        np.testing.assert_allclose(result.distortion, linear.optimum(), rtol=0.01)
