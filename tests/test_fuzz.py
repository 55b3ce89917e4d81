"""Parsers on whatever bytes and values: they return what they promise or raise ValueError, of one line."""

from __future__ import annotations

import csv
import io
import json
import operator
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_smoothadv import metrics, transfer
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import formats
from tf_smoothadv.evaluation.rendering import page_tables

T = TypeVar("T")
# The same examples each time, however long one takes.
fast = hypothesis.settings(max_examples=200, deadline=None, derandomize=True, database=None)
slow = hypothesis.settings(fast, max_examples=60)

MODEL = {"model": "c4", "dataset": "mnist", "settings": "tuned", "levels": None, "num_images": 3, "num_correct": 2}
MADE_WITH = {"images": ["a", "b", "c"], "data": "somewhere", "attacks": {"cw": {"attack": "C&W"}, "fgsm": {}}}
SCORES = {"num_images": 2, "p_suc": 0.5, "mean_distortion": None, "num_images_correct": 1, "p_suc_correct": 1.0}
TRANSFERRED = {
    "dataset": "mnist",
    "num_images": 3,
    "num_correct": {"c4": 2},
    "accuracy": {"c4": 0.7, "other": 0.5},
    "attacks": {"cw": {}},
    "transfer": {"c4": {"cw": {"c4": SCORES, "other": SCORES}}},
}
names = st.text(max_size=5) | st.sampled_from(["a", "b", "../a", "/a", "..", "C:a", "a\\b"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
numbers = st.floats(allow_infinity=False)
classes = st.integers(0, 9)
scores = st.builds(metrics.Score, st.booleans(), numbers, numbers, classes)
computed = {
    "index": st.integers(0, 2),
    "attack": st.sampled_from(["cw", "fgsm"]),
    "label": classes,
    "computed": scores,
    "delivered": scores,
    "gradients": st.integers(100, 1000),
    "seconds": numbers,
    "trace": st.builds(
        lambda taken, found: tuple(zip(sorted(taken), sorted(found, reverse=True))),
        st.sets(st.integers(0, 100), max_size=4),
        st.sets(st.floats(0, 1e9), max_size=4),
    ),
}
TRANSFER_KEY = ("source", "attack", "index")
judged = st.dictionaries(names, classes, max_size=3)
computed_records = st.builds(metrics.Record, **computed)
transfer_records = st.builds(transfer.Record, **computed, source=names, clean=judged, predictions=judged)
SCORE = {"success": True, "distortion": 1, "smoothness_energy": 1, "prediction": 1}
RECORD = {
    **dict.fromkeys(computed, 1),
    "attack": "cw",
    "computed": SCORE,
    "delivered": {**SCORE, "success": False},
    "trace": [[0, 1.5]],
}


def several(made: st.SearchStrategy, key: Sequence[str]) -> st.SearchStrategy:
    """Records with different keys."""
    return st.lists(made, max_size=4, unique_by=operator.attrgetter(*key))


@st.composite
def changed(draw: st.DrawFn, values: dict[str, Any]) -> dict[str, Any]:
    """The values, of which one at some depth is another one or missing."""
    values = json.loads(json.dumps(values))
    place, name = values, draw(st.sampled_from(sorted(values)))
    while isinstance(place[name], dict) and place[name] and draw(st.booleans()):
        place = place[name]
        name = draw(st.sampled_from(sorted(place)))
    if draw(st.booleans()):
        place[name] = draw(plain)
    else:
        del place[name]
    return values


def returned(call: Callable[[], T]) -> T | None:
    """What a call returns; None if it raises ValueError, of one line."""
    try:
        return call()
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return None


def encoded(content: Any) -> bytes:
    """Bytes as they are, values as JSON."""
    return content if isinstance(content, bytes) else json.dumps(content).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "images").mkdir()
    for name in "ab":
        (folder / "images" / f"{name}.png").write_bytes(b"")
    return folder


class TestTable:
    def check(self, folder: pathlib.Path, content: bytes) -> None:
        (folder / "images.csv").write_bytes(content)
        source = returned(lambda: formats.nips2017(str(folder)))
        if source:
            assert all(name in ("a", "b") and 0 <= label < 1000 for name, label in source.listing)
            assert len(dict(source.listing)) == len(list(source.listing)) == len(source.images)

    @fast
    @given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda rest: b"ImageId,TrueLabel\n" + rest))
    def test_bytes(self, folder, content):
        self.check(folder, content)

    @fast
    @given(
        st.permutations(["ImageId", "TrueLabel", "URL"]).flatmap(lambda some: st.just(some) | st.just(some[:2])),
        st.lists(st.lists(names | st.integers(-1, 1001).map(str), max_size=4), max_size=4),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    )
    def test_rows(self, folder, header, rows, end, encoding):
        text = io.StringIO()
        csv.writer(text, lineterminator=end).writerows([header, *rows])
        self.check(folder, text.getvalue().encode(encoding))

    @fast
    @given(st.permutations([("a", 1), ("b", 1000), ("missing", 7)]), st.sampled_from(["\n", "\r\n", "\r"]))
    def test_what_is_right_is_read(self, folder, rows, end):
        text = io.StringIO()
        csv.writer(text, lineterminator=end).writerows([("ImageId", "TrueLabel"), *rows])
        (folder / "images.csv").write_text(text.getvalue(), encoding="utf-8-sig", newline="")
        listing = formats.nips2017(str(folder)).listing
        assert listing == [(name, label - 1) for name, label in rows if name != "missing"]


class TestResults:
    def check(
        self, folder: pathlib.Path, *, summary: Any = MODEL, settings: Any = MADE_WITH, rows: Any = RECORD
    ) -> None:
        contents = {records.SUMMARY: summary, records.SETTINGS: settings, records.RECORDS: rows}
        for name, content in contents.items():
            (folder / name).write_bytes(encoded(content))
        finished = returned(lambda: records.read(folder))
        if finished:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # sums of the largest floats
                page_tables.white_box({"run": finished})

    def test_what_is_right_is_read(self, folder):
        self.check(folder)
        assert len(records.read(folder).run.records) == 1

    @fast
    @given(st.binary(max_size=60) | plain | changed(RECORD))
    def test_records(self, folder, rows):
        self.check(folder, rows=rows)

    @fast
    @given(st.binary(max_size=60) | plain | changed(MODEL))
    def test_summary(self, folder, summary):
        self.check(folder, summary=summary)

    @fast
    @given(st.binary(max_size=60) | plain | changed(MADE_WITH))
    def test_settings(self, folder, settings):
        self.check(folder, settings=settings)
        assert isinstance(returned(lambda: records.settings_of(folder)), dict | None)

    @fast
    @given(st.binary(max_size=60) | plain | changed(TRANSFERRED))
    def test_transfer(self, folder, summary):
        (folder / records.TRANSFER).write_bytes(encoded(summary))
        read = returned(lambda: records.read_transfer(folder))
        if read:
            page_tables.transfer(read)


@pytest.mark.parametrize(
    ("kind", "lists", "key"),
    [
        (metrics.Record, several(computed_records, records.KEY), records.KEY),
        (transfer.Record, several(transfer_records, TRANSFER_KEY), TRANSFER_KEY),
    ],
    ids=["white-box", "transfer"],
)
class TestRoundTrip:
    @slow
    @given(data=st.data())
    def test_records_come_back_as_they_were(self, kind, lists, key, data):
        given_records = data.draw(lists)
        with tempfile.TemporaryDirectory() as folder:
            for step in ("written", "read"):
                found = records.Results(pathlib.Path(folder), {"model": "a"}, kind, key)
                if step == "written":
                    found.append(given_records)
                found.close()
            assert repr(found.records) == repr(given_records)  # to the last bit, and NaN is NaN

    @slow
    @given(data=st.data(), cut=st.integers(0, 2000))
    def test_a_file_cut_anywhere_keeps_its_whole_lines(self, kind, lists, key, data, cut):
        given_records = data.draw(lists)
        with tempfile.TemporaryDirectory() as folder:
            found = records.Results(pathlib.Path(folder), {"model": "a"}, kind, key)
            found.append(given_records)
            found.close()
            path = pathlib.Path(folder, records.RECORDS)
            content = path.read_bytes()[:cut]
            path.write_bytes(content)
            found = records.Results(pathlib.Path(folder), {"model": "a"}, kind, key)
            found.close()
            assert repr(found.records) == repr(given_records[: content.count(b"\n")])
            assert path.read_bytes() == content[: content.rfind(b"\n") + 1]
