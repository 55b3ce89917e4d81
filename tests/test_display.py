"""What results and figures show of themselves."""

from __future__ import annotations

import base64
import html.parser
import re

import numpy as np
import pytest
import tensorflow as tf

import tf_smoothadv as sa
from tests.test_attacks import Linear
from tf_smoothadv import display
from tf_smoothadv.attacks import FMN

MODEL = Linear(3, (8, 8, 3))


class Balanced(html.parser.HTMLParser):
    """Fails on a tag that is closed before those inside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells = 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.cells += tag == "td"
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def pixels(text: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [tf.io.decode_png(base64.b64decode(one)).numpy() for one in found]


def test_a_result_tells_successes_and_shows_its_images():
    result = FMN(10)(MODEL, MODEL.images, MODEL.labels)
    mean = np.mean(result.distortion)
    assert repr(result) == f"AttackResult(3 of 3 succeeded, mean distortion {mean:.3g}, 10 gradients an image)"
    text = result._repr_html_()
    assert Balanced(text).cells == 3 * 4
    for shown, image in zip(pixels(text), result.adversarial.numpy(), strict=True):
        np.testing.assert_array_equal(shown, np.round(255 * image))


def test_a_result_without_values_tells_that_it_is_one():
    told = []

    @tf.function
    def attacked(images):
        result = FMN(2)(MODEL, images, MODEL.labels)
        told.append((repr(result), result._repr_html_()))
        return result.distortion

    attacked(MODEL.images)
    ((text, page),) = told
    assert text.startswith("AttackResult(adversarial=<tf.Tensor")
    assert page is None


def test_a_run_is_a_small_table():
    run = sa.evaluate(MODEL, [(MODEL.images, MODEL.labels)], {"<fmn>": FMN(10), "weak": FMN(1)})
    head, headings, *rows = repr(run).splitlines()
    assert head == "Run: accuracy 1.000, 3 of 3 images attacked"
    assert headings.split() == ["attack", "P", "D", "E", "P8", "D8", "E8"]
    outcome = run.outcome("<fmn>")
    assert rows[0].split()[:3] == ["<fmn>", f"{outcome.p_suc:.3f}", f"{outcome.mean_distortion:.3f}"]
    text = run._repr_html_()
    assert Balanced(text).cells == 2 * 7
    assert "&lt;fmn&gt;" in text


def test_a_front_is_a_small_table_with_pictures():
    front = sa.front(MODEL, MODEL.images, MODEL.labels, {"fmn": FMN(10), "weak": FMN(1)})
    head, headings, first, _ = repr(front).splitlines()
    assert head == "Front of 3 images"
    assert headings.split() == ["attack", "P", "D", "E", "on", "the", "front"]
    assert first.split()[-1] == str(np.sum(front.undominated()[0]))
    shown = pixels(front._repr_html_())
    assert len(shown) == 2 * 3
    np.testing.assert_array_equal(shown[0], np.round(255 * front.delivered[0, 0]))
    numbers = sa.Front(front.attacks, front.indices, front.success, front.distortion, front.smoothness_energy)
    assert Balanced(numbers._repr_html_()).cells == 2 * 5


def test_a_figure_is_a_picture():
    pytest.importorskip("matplotlib")
    run = sa.evaluate(MODEL, [(MODEL.images, MODEL.labels)], {"fmn": FMN(10)})
    shown = tf.io.decode_png(sa.plots.characteristic({"linear": run})._repr_png_()).numpy()
    assert shown.std() > 0


def test_columns_stand_under_one_another():
    lines = display.lines(["a", "bb"], [["long", "1"], ["x", "12345"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
