"""The reference page, and the examples that it shows."""

from __future__ import annotations

import doctest
import pathlib

import pytest

from docs import reference

TESTS = pathlib.Path(__file__).parent
ITEMS = {name: item for name, item in reference.items().items() if callable(item)}
TESTED_ELSEWHERE = {  # a name without an example: why, and the test's file and text
    "tf_smoothadv.attacks.Attack": ("to derive from, as CONTRIBUTING.md does", "test_readme.py", "SteepestDescent"),
    "tf_smoothadv.evaluation.run.white_box": ("needs images in files", "test_evaluation.py", "run.white_box("),
    "tf_smoothadv.evaluation.referee.referee": ("needs images in files", "test_evaluation.py", "referee.referee("),
    "tf_smoothadv.load_results": ("needs folders of results", "test_load_results.py", "sa.load_results(results"),
    "tf_smoothadv.Jpeg": ("needs files", "test_jpeg.py", "sa.Jpeg(["),
    "tf_smoothadv.delivery.Delivery": ("to derive from", "test_delivery.py", "(Delivery)"),
    "models.inception_v3": ("24 million parameters", "test_imagenet.py", "models.inception_v3"),
    "models.resnet_v2_50": ("26 million parameters", "test_imagenet.py", "models.resnet_v2_50"),
    "models.import_module": ("needs a module of the user's", "test_models.py", "models.import_module("),
    "models.slim.load": ("needs a checkpoint of a whole network", "test_slim.py", "slim.load("),
}


def test_the_page_is_what_the_docstrings_make():
    assert reference.PAGE.read_text() == reference.page(), "run `make reference`"


@pytest.mark.parametrize("name", ITEMS)
def test_every_public_name_has_an_example_or_is_named_in_a_test(name):
    examples = doctest.DocTestParser().get_examples(ITEMS[name].__doc__)
    assert bool(examples) is (name not in TESTED_ELSEWHERE)
    assert all(example.want for example in examples[-1:]), "the last line of an example must show something"


@pytest.mark.parametrize(("reason", "file", "text"), TESTED_ELSEWHERE.values(), ids=TESTED_ELSEWHERE)
def test_what_has_no_example_is_named_in_its_test(reason, file, text):
    assert text in (TESTS / file).read_text()
