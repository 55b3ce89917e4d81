"""What an attack goes for other than the least distortion: a margin, or the strongest iterate within an epsilon."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.many_runs import here
from tests.test_attacks import SPEC, Linear
from tf_smoothadv import protocol, tensors
from tf_smoothadv.attacks import ALMA, BP, DDN, FGSM, FMN, IFGSM, PGD2, Attack, NearestClasses
from tf_smoothadv.evaluation import records, variants
from tf_smoothadv.evaluation.config import Config

pytestmark = pytest.mark.usefixtures("without_figures")
FOUR = Linear(4, (6, 6, 3))


def margins(images: tf.Tensor) -> np.ndarray:
    """Of the label's logit over the other's."""
    logits = FOUR(images).numpy()
    return logits[:, 0] - logits[:, 1]


class TestConfidence:
    """Of a linear model the least r with a margin of -c is (margin + c) / ||a|| long."""

    @pytest.mark.parametrize(
        ("attack", "factor"),
        [(FMN(100), 1.002), (DDN(250, norm_step=0.01), 1.02), (BP(100), 1.01), (ALMA(100), 1.02)],
        ids=repr,
    )
    @pytest.mark.parametrize("confidence", [0.0, 1.5])
    def test_moves_the_optimum(self, attack, factor, confidence):
        result = attack.replaced(confidence=confidence)(FOUR, FOUR.images, FOUR.labels)
        ratio = result.distortion / ((FOUR.margins + confidence) / np.linalg.norm(FOUR.a))
        assert np.all(ratio >= 1 - 1e-4), ratio
        assert np.all(ratio <= factor), ratio
        assert np.all(margins(result.adversarial) <= -confidence)

    @pytest.mark.slow
    def test_masked_and_of_the_nearest_class(self):
        masking = sa.Masking("deviation")
        masked = FMN(60, masking=masking, confidence=1.0)(FOUR, FOUR.images, FOUR.labels)
        steepest = tensors.l2_norm(masking.guided_by(FOUR.images).adjoint(tf.zeros_like(FOUR.images) + FOUR.a))
        np.testing.assert_allclose(masked.norm, (FOUR.margins + 1) / steepest, rtol=1e-2)
        nearest = NearestClasses(FMN(60, confidence=1.0), classes=1)(FOUR, FOUR.images, FOUR.labels)
        np.testing.assert_allclose(margins(nearest.adversarial), -1.0, atol=0.02)

    def test_is_that_of_what_is_delivered(self):
        result = FMN(60, delivery=sa.Levels(), confidence=1.0)(FOUR, FOUR.images, FOUR.labels)
        np.testing.assert_array_equal(result.adversarial, protocol.quantize(result.adversarial))
        assert np.all(margins(result.adversarial) <= -1.0)

    def test_without_so_much_the_last_iterate_is_returned_and_judged_by_its_class(self):
        def bounded(images):  # wrong by 1/2 at most
            return tf.maximum(FOUR(images), [-0.5, 0.0])

        result = FMN(20, confidence=1.0)(bounded, FOUR.images, FOUR.labels)
        assert result.success.numpy().all()
        assert np.all(result.distortion >= FOUR.optimum())

    def test_one_loop_is_compiled_for_all(self):
        calls = []

        def counted(images):
            calls.append(images.shape)
            return FOUR(images)

        FMN(10)(counted, FOUR.images, FOUR.labels)
        before = sum(shape[0] is None for shape in calls)
        FMN(10, confidence=2.0)(counted, FOUR.images, FOUR.labels)
        assert sum(shape[0] is None for shape in calls) == before > 0


class TestStrongest:
    def test_is_the_iterate_of_largest_margin_and_not_the_last(self):
        """Along the gradient the margin is (t - 1)^2 - 1/2 at a distortion of t; steps of 0.3 go to 1.2 and back."""

        def valley(images):
            t = tf.reduce_sum(0.5 - images, axis=[1, 2, 3]) / 4
            return tf.stack([tf.square(t - 1) - 0.5, tf.zeros_like(t)], axis=1)

        image = tf.fill([1, 4, 4, 1], 0.5)
        for keep, steps, expected in (("least", 4, 0.3), ("strongest", 2, 0.6), ("strongest", 4, 0.9)):
            result = PGD2(2.0, 0.3, steps, loss="margin", keep=keep)(valley, image, [0])
            np.testing.assert_allclose(result.distortion, expected, rtol=1e-4)
        np.testing.assert_allclose(result.norm, 0.01 - 0.5, atol=1e-4)

    @pytest.mark.parametrize(
        ("make", "smoothing"),
        [
            (PGD2, SPEC),
            (IFGSM, None),
            pytest.param(PGD2, None, marks=pytest.mark.slow),
            pytest.param(IFGSM, SPEC, marks=pytest.mark.slow),
        ],
    )
    def test_uses_all_of_epsilon_on_a_linear_model(self, make, smoothing):
        epsilon = 3 * float(FOUR.optimum().max()) if make is PGD2 else 0.3
        attack = make(epsilon, epsilon / 4, 12, smoothing, keep="strongest")
        result = attack(FOUR, FOUR.images, FOUR.labels)
        np.testing.assert_allclose(attack.size(result.adversarial - FOUR.images), epsilon, rtol=1e-4)
        least = attack.replaced(keep="least")(FOUR, FOUR.images, FOUR.labels)
        assert np.all(margins(result.adversarial) < margins(least.adversarial))

    def test_of_several_epsilons_is_refused(self):
        with pytest.raises(ValueError, match="keep must be 'least' where the least epsilon is searched"):
            PGD2(1.0, 0.1, binary_search_steps=2, keep="strongest")
        with pytest.raises(ValueError, match="keep must be one of 'least', 'strongest'; received 'last'"):
            PGD2(1.0, 0.1, keep="last")


class TestFlags:
    def test_at_one_epsilon_a_gradient_attack_searches_none(self):
        made = variants.at_epsilon("photographs", "tuned", ["fgsm", "ifgsm", "pgd2", "mpgd2"], 0.5, 256, 9)
        assert made["fgsm"] == (FGSM(0.5, delivery=sa.Levels()),)
        for name in ("ifgsm", "pgd2", "mpgd2"):
            (attack,) = made[name]
            assert (attack.epsilon, attack.step_size, attack.steps) == (0.5, 0.125, 9)
            assert (attack.binary_search_steps, attack.keep, attack.delivery) == (0, "strongest", sa.Levels())

    def test_attacks_that_know_neither_are_refused(self):
        with pytest.raises(ValueError, match="epsilon is of attacks that have one, such as pgd2; received fmn"):
            variants.at_epsilon("digits", "tuned", ["pgd2", "fmn"], 2.0)
        with pytest.raises(ValueError, match="confidence is of attacks that have one, such as fmn; received pgd2"):
            variants.with_confidence({"pgd2": (PGD2(1.0, 0.1),)}, 2.0)

    @pytest.mark.parametrize(
        ("delivery", "settings", "levels"),
        [("auto", "tuned", 256), ("auto", "paper", None), ("8bit", "paper", 256), ("none", "tuned", None)],
    )
    def test_tuned_attacks_search_what_is_delivered(self, delivery, settings, levels):
        assert Config(delivery=delivery, settings=settings).levels == levels


def test_records_say_by_how_far_an_image_is_wrong():
    attacks: dict[str, Attack] = {"fmn": FMN(40, confidence=1.0), "pgd2": PGD2(1.0, 0.25, 8, keep="strongest")}
    run = protocol.evaluate(FOUR, [(FOUR.images, FOUR.labels)], attacks)
    assert run.outcome("fmn").mean_margin == pytest.approx(-1.0, abs=0.02)
    expected = FOUR.margins - np.linalg.norm(FOUR.a)
    np.testing.assert_allclose(run.outcome("pgd2").margin, expected, rtol=1e-3)


def test_flags_aim_two_networks_at_the_next_class_with_a_margin(tmp_path):
    flags = ["--attacks=fmn", "--gradients=25", "--num_images=6", "--confidence=0.5", "--targets=next"]
    done = here("eval.white_box", "--model=c4+c4_adversarial", *flags, f"--output={tmp_path}")
    assert done.status == 0, done.stderr
    (attack,) = records.settings_of(tmp_path)["attacks"].values()
    assert (attack["confidence"], attack["delivery"]) == (0.5, {"levels": 256})
    finished = records.read(tmp_path)
    for record in finished.run.records:
        assert record.gradients == 2 * 25
        if record.delivered.success:
            assert record.delivered.prediction == (record.label + 1) % 10
            assert record.computed == record.delivered
    assert finished.run.outcome("fmn", delivered=True).p_suc > 0.5
