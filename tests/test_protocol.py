from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import Linear
from tf_smoothadv import metrics, protocol
from tf_smoothadv.attacks import FGSM, PGD2, AttackResult


def outcome(distortion: list[float], success: list[bool]) -> metrics.Outcome:
    count = len(success)
    return metrics.Outcome(
        success=np.array(success),
        distortion=np.array(distortion),
        smoothness_energy=np.arange(count) / 10,
        gradients=np.ones(count),
        seconds=np.ones(count),
    )


class TestOutcome:
    """(20) and (21) by hand: four images, three successes."""

    four = outcome([2.0, 9.0, 1.0, 3.0], [True, False, True, True])

    def test_global_statistics(self):
        assert self.four.p_suc == 0.75
        assert self.four.mean_distortion == 2.0
        assert self.four.max_distortion == 3.0
        assert self.four.mean_smoothness_energy == pytest.approx((0.0 + 0.2 + 0.3) / 3)

    def test_operating_characteristic(self):
        distortions = [0.0, 0.999, 1.0, 1.5, 2.0, 3.0, 100.0]
        assert self.four.characteristic(distortions).tolist() == [0, 0, 0.25, 0.25, 0.5, 0.75, 0.75]
        assert self.four.characteristic(2.5) == 0.5

    def test_without_a_success(self):
        nothing = outcome([1.0, 2.0], [False, False])
        assert nothing.p_suc == 0
        assert np.isnan(nothing.mean_distortion)
        assert np.isnan(nothing.max_distortion)
        assert nothing.characteristic([0.0, 5.0]).tolist() == [0, 0]


class TestProgress:
    """Against a search through the pairs, one image and budget at a time."""

    @pytest.fixture
    def traces(self, rng) -> list[metrics.Trace]:
        """Of 40 images, some without a success, and one that is misclassified from the start."""
        found = [((0, 0.0),)]
        for count in rng.integers(0, 6, 39):
            taken, distortions = rng.choice(50, count, replace=False), rng.uniform(0.5, 4, count)
            found.append(tuple(zip(np.sort(taken).tolist(), np.sort(distortions)[::-1].tolist())))
        return found

    gradients = np.arange(60)

    def test_best_is_the_smallest_until_then(self, traces):
        best = metrics.Progress(traces).best_distortion(self.gradients)
        for trace, row in zip(traces, best):
            expected = [min([d for taken, d in trace if taken <= k], default=np.inf) for k in self.gradients]
            assert row.tolist() == expected

    def test_shares_and_means_are_those_of_the_best(self, traces):
        progress = metrics.Progress(traces)
        best = progress.best_distortion(self.gradients)
        for distortion in (0.0, 1.0, 2.5, np.inf):
            expected = [np.mean((column <= distortion) & (column < np.inf)) for column in best.T]
            assert progress.p_suc(self.gradients, distortion).tolist() == expected
        expected = [np.mean(column[column < np.inf]) for column in best.T]
        np.testing.assert_allclose(progress.mean_distortion(self.gradients), expected)
        assert progress.median_distortion(self.gradients).tolist() == [np.median(column) for column in best.T]

    def test_p_suc_rises_with_the_budget_and_with_the_distortion(self, traces):
        table = metrics.Progress(traces).p_suc(self.gradients[:, None], np.append(np.linspace(0, 5, 30), np.inf))
        assert table.shape == (60, 31)
        assert np.all(np.diff(table, axis=0) >= 0)
        assert np.all(np.diff(table, axis=1) >= 0)
        assert table[-1, -1] == np.mean([len(trace) > 0 for trace in traces])

    def test_a_number_gives_a_number(self, traces):
        progress = metrics.Progress(traces)
        for measure in (progress.p_suc, progress.mean_distortion, progress.median_distortion):
            assert np.shape(measure(20)) == ()
            assert measure(20) == pytest.approx(measure(self.gradients)[20])

    def test_half_of_the_images_without_success_have_no_median(self):
        progress = metrics.Progress([((2, 1.0),), ()])
        assert progress.median_distortion([1, 2]).tolist() == [np.inf, np.inf]
        assert np.isnan(progress.mean_distortion(1))


def test_merging_takes_per_image_the_least_distorted_success():
    """Five images: only the first run succeeds, only the second, both (either order), none."""

    def result(value, success, distortion, gradients):
        trace = np.full([5, 4], np.inf, np.float32)
        trace[np.arange(5), gradients] = np.where(success, distortion, np.inf)
        images = tf.fill([5, 1, 1, 1], value)
        return AttackResult(images, *map(tf.constant, (success, distortion, gradients, trace)))

    merged = protocol.merge(
        [
            result(0.1, [True, False, True, True, False], [3.0, 1.0, 3.0, 2.0, 5.0], [1, 2, 3, 1, 3]),
            result(0.2, [False, True, True, True, False], [1.0, 3.0, 2.0, 3.0, 6.0], [3, 3, 1, 1, 3]),
        ]
    )
    np.testing.assert_allclose(merged.adversarial[:, 0, 0, 0], [0.1, 0.2, 0.2, 0.1, 0.2])
    assert merged.success.numpy().tolist() == [True, True, True, True, False]
    assert merged.distortion.numpy().tolist() == [3.0, 3.0, 2.0, 2.0, 6.0]
    assert merged.gradients.numpy().tolist() == [4, 5, 4, 2, 6]
    found = [{int(k): float(row[k]) for k in np.flatnonzero(np.isfinite(row))} for row in merged.trace.numpy()]
    assert found == [{1: 3.0}, {5: 3.0}, {3: 3.0, 4: 2.0}, {1: 2.0, 2: 3.0}, {}]
    assert merged.trace.shape == [5, 7]


def test_delivery_rounds_to_the_nearest_of_256_levels():
    images = np.array([0.0, 0.4 / 255, 0.6 / 255, 100.2 / 255, 1.0], np.float32)
    np.testing.assert_allclose(protocol.quantize(images) * 255, [0, 0, 1, 100, 255], atol=1e-5)


def test_predicts_the_class_of_the_largest_logit():
    model = Linear(5, (7, 9, 3))
    images = np.concatenate([model.images, model.images - 0.2 * np.sign(model.a)])
    scores = np.sum(model.a * images, axis=(1, 2, 3)) + model.b
    classes = protocol.predict(model, images)
    assert classes.dtype == np.int32
    assert classes.tolist() == np.where(scores > 0, 0, 1).tolist()
    assert set(classes.tolist()) == {0, 1}
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        protocol.predict(model, 255 * images)


class TestJudged:
    """Of a linear model with two classes: what it says, how far, and what rounding to 8 bits makes of it."""

    @pytest.fixture
    def model(self) -> Linear:
        model = Linear(5, (8, 8, 1))
        model.images = protocol.quantize(model.images)
        return model

    def originals(self, model, **changes):
        (originals,) = protocol.CorrectImages(model, [(model.images, model.labels)])
        return originals._replace(**changes)

    def test_images_by_anyone_are_judged_as_they_are_and_as_delivered(self, model, rng):
        adversarial = np.clip(model.images + rng.normal(0, 0.1, model.images.shape), 0, 1).astype(np.float32)
        originals = self.originals(model)
        reference = sa.Smoothing(gamma=1.0)
        batch = protocol.score(model, "own", originals, adversarial, reference.guided_by(model.images))
        assert (batch.attack, batch.records[0].gradients, batch.records[0].seconds) == ("own", 0, 0.0)
        shown = {"computed": adversarial, "delivered": np.round(255 * adversarial) / 255}
        for which, images in shown.items():
            scores = [getattr(record, which) for record in batch.records]
            wrong = np.sum(model.a * images, axis=(1, 2, 3)) + model.b < 0
            distortion = np.linalg.norm((images - model.images).reshape(5, -1), axis=1)
            energy = reference.guided_by(model.images).energy((images - model.images).astype(np.float32))
            assert [score.success for score in scores] == wrong.tolist()
            assert [score.prediction for score in scores] == wrong.astype(int).tolist()
            np.testing.assert_allclose([score.distortion for score in scores], distortion, 1e-4)
            found = [score.smoothness_energy for score in scores]
            np.testing.assert_allclose(found, energy, rtol=1e-3)

    def test_an_original_that_stands_for_itself_is_a_failure(self, model):
        originals = self.originals(model)
        batch = protocol.score(model, "own", originals, model.images, sa.Smoothing().guided_by(model.images))
        for record in batch.records:
            assert (record.computed.success, record.delivered.success) == (False, False)
            assert (record.computed.prediction, record.delivered.prediction) == (record.label, record.label)
            assert record.computed.distortion == record.computed.smoothness_energy == record.delivered.distortion == 0

    def test_targets_and_costs_are_those_given(self, model):
        """What is class 0 has reached a target of 0, and not one of 1."""
        originals = self.originals(model, targets=np.array([0, 1, 0, 1, 0]))
        smoother = sa.Smoothing().guided_by(model.images)
        batch = protocol.score(model, "own", originals, model.images, smoother, np.arange(5), seconds=0.5)
        assert [record.computed.success for record in batch.records] == [True, False, True, False, True]
        assert [(record.gradients, record.seconds) for record in batch.records] == [(count, 0.5) for count in range(5)]

    @pytest.mark.parametrize(
        ("adversarial", "message"),
        [
            (np.zeros((5, 8, 8, 3), np.float32), r"shape of the originals, \(5, 8, 8, 1\); received \(5, 8, 8, 3\)"),
            (np.zeros((1, 8, 8, 1), np.float32), r"shape of the originals, \(5, 8, 8, 1\); received \(1, 8, 8, 1\)"),
            (
                np.zeros((5, 8, 8, 1), np.uint8),
                "adversarial must be floats; received uint8; divide 8-bit values by 255",
            ),
            (np.full((5, 8, 8, 1), 2.0), r"adversarial must lie in \[0, 1\]; received values from 2 to 2"),
        ],
    )
    def test_what_cannot_be_judged(self, model, adversarial, message):
        smoother = sa.Smoothing().guided_by(model.images)
        with pytest.raises(ValueError, match=message):
            protocol.score(model, "own", self.originals(model), adversarial, smoother)


class TestEvaluate:
    @pytest.fixture
    def model(self) -> Linear:
        return Linear(7, (8, 8, 1))

    def batches(self, model, labels):
        return tf.data.Dataset.from_tensor_slices((model.images, labels)).batch(3)

    def test_only_correctly_classified_images_count(self, model):
        labels = np.array([0, 1, 0, 0, 1, 1, 0])
        run = sa.protocol.evaluate(model, self.batches(model, labels), {"pgd2": PGD2(5.0, 0.5, 10)})
        assert (run.num_images, run.num_correct) == (7, 4)
        assert run.accuracy == pytest.approx(4 / 7)
        assert [record.index for record in run.records] == [0, 2, 3, 6]

    def test_merged_targets_give_the_staircase_of_the_optimum(self, model):
        """PGD2 follows the straight line to the boundary: the distortion is the first target beyond it."""
        targets = np.linspace(0.1, 3.0, 60)
        step = 10.0  # the first step reaches the target
        attacks = {"pgd2": [PGD2(float(epsilon), step, 2) for epsilon in targets]}
        run = sa.protocol.evaluate(model, self.batches(model, model.labels), attacks)
        expected = targets[np.searchsorted(targets, model.optimum())]
        np.testing.assert_allclose(run.outcome("pgd2").distortion, expected, rtol=1e-3)
        assert run.p_suc == {"pgd2": 1.0}
        assert run.mean_distortion["pgd2"] == pytest.approx(expected.mean(), rel=1e-3)
        between = np.median(expected) + 0.02  # half the way to the next target
        assert run.characteristic(between)["pgd2"] == np.mean(expected < between)
        assert np.all(run.outcome("pgd2").gradients == 120)
        first = 2 * np.searchsorted(targets, model.optimum()) + 1  # two gradients for each target before
        assert [record.trace[0][0] for record in run.records] == first.tolist()
        assert run.progress("pgd2").mean_distortion(10**9) == pytest.approx(run.mean_distortion["pgd2"])
        assert run.progress("pgd2").p_suc(np.median(first)) == np.mean(first <= np.median(first))

    def test_judges_the_delivered_image_again(self):
        """An attack by less than half a grey level succeeds as computed, and is gone from the 8-bit image."""
        model = Linear(1, (8, 8, 1))
        model.images = protocol.quantize(model.images)
        model.b = np.float32(0.1 / 255 * np.sum(np.abs(model.a)) - np.sum(model.a * model.images))
        run = sa.protocol.evaluate(model, [(model.images, model.labels)], {"fgsm": FGSM(0.3 / 255)})
        (record,) = run.records
        assert (record.computed.success, record.delivered.success) == (True, False)
        assert (record.computed.prediction, record.delivered.prediction) == (1, 0)
        assert record.computed.distortion == pytest.approx(8 * 0.3 / 255, rel=1e-3)
        assert record.delivered.distortion == record.delivered.smoothness_energy == 0
        assert run.outcome("fgsm", delivered=True).p_suc == 0

    def test_energy_is_measured_on_the_reference_graph(self, model):
        attacks = {"fgsm": FGSM(0.2), "smooth": FGSM(0.2, sa.Smoothing(0.9))}
        reference = sa.Smoothing(gamma=1.0, kernel="gaussian")
        seen = []
        images = protocol.CorrectImages(model, self.batches(model, model.labels))
        for batch in protocol.attack_batches(model, images, attacks, reference=reference):
            energy = reference.guided_by(batch.images).energy(batch.adversarial - batch.images)
            np.testing.assert_allclose(
                [record.computed.smoothness_energy for record in batch.records], energy, rtol=1e-5
            )
            seen.append((batch.attack, len(batch.records)))
        assert seen == [("fgsm", 3), ("smooth", 3), ("fgsm", 3), ("smooth", 3), ("fgsm", 1), ("smooth", 1)]

    def test_correct_images_are_regrouped_into_whole_batches(self, model):
        labels = np.array([0, 1, 1, 0, 0, 0, 0])
        sizes = [len(batch[0]) for batch in protocol.CorrectImages(model, self.batches(model, labels))]
        assert sizes == [3, 2]

    def test_targets_travel_with_their_images(self, model):
        labels = np.array([0, 1, 0, 0, 0, 1, 0])
        targets = np.array([1, 0, 0, 1, 1, 0, 1])  # image 2 is to stay class 0, which it is
        dataset = [(model.images, labels, targets)]
        run = sa.protocol.evaluate(model, dataset, {"pgd2": PGD2(5.0, 0.5, 10)})
        assert [record.computed.prediction for record in run.records] == [1, 0, 1, 1, 1]
        assert run.outcome("pgd2").distortion[1] == 0

    @pytest.mark.parametrize(
        ("labels", "attacks", "message"),
        [
            ([1] * 7, {"fgsm": FGSM(0.1)}, "classifies none of the 7 images correctly: nothing to attack"),
            ([0] * 7, {}, "attacks must name at least one attack; received none"),
            ([0] * 7, {"fgsm": []}, "an attack by name must be at least one attack; received an empty sequence"),
        ],
    )
    def test_nothing_to_do_is_an_error(self, model, labels, attacks, message):
        with pytest.raises(ValueError, match=message):
            sa.protocol.evaluate(model, self.batches(model, np.array(labels)), attacks)

    def test_an_empty_dataset_is_an_error(self, model):
        with pytest.raises(ValueError, match="the dataset must hold at least one image; received none"):
            sa.protocol.evaluate(model, [], {"fgsm": FGSM(0.1)})

    def test_an_attack_that_the_run_does_not_have(self, model):
        run = sa.protocol.evaluate(model, self.batches(model, model.labels), {"fgsm": FGSM(0.1)})
        with pytest.raises(ValueError, match="attack must be one of 'fgsm'; received 'pgd2'"):
            run.outcome("pgd2")
        with pytest.raises(ValueError, match="attack must be one of 'fgsm'; received 'pgd2'"):
            run.progress("pgd2")
