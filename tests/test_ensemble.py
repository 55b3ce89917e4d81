"""Several models as one, which errs where every one of them does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import models
import tf_smoothadv as sa
from tests.test_attacks import Linear
from tf_smoothadv import criteria, protocol
from tf_smoothadv.attacks import ALMA, BP, DDN, FMN, PGD2, CarliniWagner

SHAPE = (6, 6, 1)
FIRST, SECOND = Linear(3, SHAPE, 0), Linear(3, SHAPE, 1)


def member(linear: Linear, margin: float, images: np.ndarray):
    """The linear model moved so that the first of these images has this margin."""
    shift = np.float32(margin - (np.sum(linear.a * images[0]) + linear.b))

    def model(x: tf.Tensor) -> tf.Tensor:
        return linear(x) + tf.constant([shift, 0.0])

    return model


@pytest.fixture
def pair():
    """Two linear models of which the first image is right by 2 and by 3, that image, and its least perturbation."""
    image = FIRST.images[:1]
    models_ = [member(FIRST, 2.0, image), member(SECOND, 3.0, image)]
    normals = np.stack([FIRST.a.ravel(), SECOND.a.ravel()])
    least = optimize.minimize(
        lambda r: r @ r / 2,
        np.zeros(normals.shape[1]),
        jac=lambda r: r,
        constraints={"type": "ineq", "fun": lambda r: -(normals @ r) - [2, 3], "jac": lambda r: -normals},
    )
    return models_, image, float(np.linalg.norm(least.x))


class TestLinear:
    @pytest.mark.parametrize(
        ("attack", "factor"),
        [
            (FMN(200), 1.05),
            (ALMA(200), 1.05),
            pytest.param(DDN(300, norm_step=0.02), 1.05, marks=pytest.mark.slow),
            pytest.param(BP(200), 1.05, marks=pytest.mark.slow),
        ],
        ids=repr,
    )
    def test_the_least_perturbation_is_that_which_takes_both_across(self, pair, attack, factor):
        members, image, least = pair
        result = attack(sa.Ensemble(members), image, [0])
        assert result.success.numpy().all()
        for one in members:
            assert criteria.is_adversarial(one(result.adversarial), [0]).numpy().all()
        assert least * (1 - 1e-3) <= float(result.distortion[0]) <= factor * least

    @pytest.mark.parametrize("attack", [PGD2(3.0, 0.3, 30), CarliniWagner(100, 3, 0.1)], ids=repr)
    def test_a_success_is_one_of_both(self, pair, attack):
        members, image, _ = pair
        result = attack(sa.Ensemble(members), image, [0])
        assert result.success.numpy().all()
        assert all(criteria.is_adversarial(one(result.adversarial), [0]).numpy().all() for one in members)

    def test_of_one_alone_it_is_none(self, pair):
        """Where the members' gradients are opposite, no image leaves both."""
        members, image, _ = pair
        opposite = sa.Ensemble([members[0], lambda x: members[0](x)[:, ::-1] + [5.0, 0.0]])
        result = FMN(40)(opposite, image, [0])
        assert not result.success.numpy().any()
        assert 0 <= float(result.share[0]) <= 0.5

    def test_the_protocol_counts_what_every_member_gets_wrong(self, pair):
        members, image, _ = pair
        run = protocol.evaluate(sa.Ensemble(members), [(image, [0])], {"fmn": FMN(60), "pgd2": PGD2(0.01, 0.01, 2)})
        assert run.p_suc == {"fmn": 1.0, "pgd2": 0.0}
        assert run.outcome("fmn").gradients.tolist() == [120]


def test_a_member_that_changed_is_noticed():
    networks = [models.c4("clean"), models.c4("adversarial")]
    ensemble = sa.Ensemble(networks)
    images = np.random.default_rng(0).uniform(size=(2, 28, 28, 1)).astype(np.float32)
    labels = np.argmax(networks[1](images), axis=1)
    before = FMN(5)(ensemble, images, labels)
    networks[1].set_weights([0.5 * weight for weight in networks[1].get_weights()])
    after, anew = FMN(5)(ensemble, images, labels), FMN(5)(sa.Ensemble(networks), images, labels)
    np.testing.assert_allclose(after.adversarial, anew.adversarial, atol=1e-5)
    assert np.max(np.abs(before.adversarial - after.adversarial)) > 1e-3


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([FIRST], "an ensemble must have at least two members; received 1"),
        ([FIRST, sa.Classifier(SECOND, samples=2)], "the members of an ensemble must be models that draw nothing"),
        ([FIRST, sa.Ensemble([FIRST, SECOND])], "the members of an ensemble must be models that draw nothing"),
        ([FIRST, 3], "model must be a Keras model or another callable; received 3"),
    ],
)
def test_bad_members(members, message):
    with pytest.raises(ValueError, match=message):
        sa.Ensemble(members)


def test_members_of_other_classes_are_refused():
    with pytest.raises(ValueError, match=r"the members of an ensemble must have the same classes; they have \[2, 3\]"):
        FMN(2)(sa.Ensemble([FIRST, lambda x: tf.pad(SECOND(x), [[0, 0], [0, 1]])]), FIRST.images, FIRST.labels)


class TestNames:
    def test_plus_joins_networks_each_behind_its_defences(self):
        ensemble = models.load("c4+bilateral+c4_adversarial")
        assert isinstance(ensemble, sa.Ensemble)
        first, second = ensemble.members
        images = np.random.default_rng(0).uniform(size=(2, 28, 28, 1)).astype(np.float32)
        np.testing.assert_allclose(first(images), models.load("c4")(images), atol=1e-5)
        np.testing.assert_allclose(second(images), models.load("bilateral+c4_adversarial")(images), atol=1e-5)
        assert models.fingerprint(ensemble) not in (None, models.fingerprint(models.load("c4")))

    def test_a_defence_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match=r"a network must follow the defence bilateral; received .c4\+bilateral."):
            models.load("c4+bilateral")
