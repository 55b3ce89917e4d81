"""The blind test: its statistics against closed forms, its page in a browser, its answers from page to report."""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import time

import numpy as np
import pytest
from scipy import stats
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.many_runs import here
from tests.test_detection import natural
from tests.test_report import HOSTILE, Tags, finished_run, hostile_run, relative_luminance, save
from tf_smoothadv import blind
from tf_smoothadv.evaluation import blind as evaluation
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import blind_page, blind_tables, pictures, report, terminal

SEES = 4  # levels of noise that the simulated observer sees


def trial(truth: str, answer: str, attack: str = "cw", image: str = "a", catch: bool = False) -> blind.Trial:
    return blind.Trial(attack, image, catch, truth, answer, 1000.0)


def pairs(right: np.ndarray) -> list[blind.Trial]:
    return [trial("left", "left" if one else "right") for one in right]


class TestStatistics:
    @pytest.mark.parametrize(("hits", "changed", "false_alarms", "unchanged"), [(8, 10, 3, 10), (20, 20, 0, 30)])
    def test_d_prime_is_the_difference_of_normal_quantiles(self, hits, changed, false_alarms, unchanged):
        shares = (hits + 0.5) / (changed + 1), (false_alarms + 0.5) / (unchanged + 1)
        expected = stats.norm.ppf(shares[0]) - stats.norm.ppf(shares[1])
        assert blind.d_prime(hits, changed, false_alarms, unchanged) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize(("right", "count"), [(0, 7), (5, 9), (9, 9)])
    def test_d_prime_of_pairs_is_that_of_the_share(self, right, count):
        expected = np.sqrt(2) * stats.norm.ppf((right + 0.5) / (count + 1))
        assert blind.d_prime_pair(right, count) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
    def test_d_prime_is_found_by_observers_who_have_it(self, rng, distance):
        """What is seen is normal with unit variance, and more by the distance where there is a change."""
        with_it, without, other = rng.normal([[distance], [0], [0]], 1, [3, 100_000])
        right = int(np.sum(with_it > without))
        assert blind.d_prime_pair(right, 100_000) == pytest.approx(distance, abs=0.03)
        hits, false_alarms = int(np.sum(with_it > 0.7)), int(np.sum(other > 0.7))
        assert blind.d_prime(hits, 100_000, false_alarms, 100_000) == pytest.approx(distance, abs=0.03)

    @pytest.mark.parametrize(("right", "count"), [(0, 12), (1, 1), (15, 20), (20, 20)])
    def test_clopper_pearson_is_of_quantiles_of_beta(self, right, count):
        found = blind.clopper_pearson(right, count)
        low = stats.beta.ppf(0.025, right, count - right + 1) if right else 0
        high = stats.beta.ppf(0.975, right + 1, count - right) if right < count else 1
        assert (found.value, found.low, found.high) == pytest.approx((right / count, low, high), abs=1e-6)

    def test_the_p_value_is_the_sum_of_the_binomial_distribution(self):
        assert blind.above_chance(9, 12) == pytest.approx((220 + 66 + 12 + 1) / 2**12, abs=1e-12)
        assert blind.above_chance(0, 12) == 1

    def test_holm_by_hand(self):
        assert blind.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert blind.holm([0.9, 0.6]) == [1, 1]
        assert blind.holm([]) == []

    @pytest.mark.parametrize(("right", "count"), [(-1, 3), (4, 3), (0, 0), (1.5, 3)])
    def test_impossible_counts_are_refused(self, right, count):
        for function in (blind.clopper_pearson, blind.above_chance):
            with pytest.raises(ValueError, match="must be"):
                function(right, count)

    def test_sights_tell_single_images_from_pairs(self):
        single = [trial("changed", "changed")] * 8 + [trial("changed", "unchanged")] * 2
        single += [trial("unchanged", "changed")] * 3 + [trial("unchanged", "unchanged")] * 7
        both = [trial("left", "left")] * 15 + [trial("right", "left")] * 5
        found = blind.sights({"single": single, "pair": both})
        assert {name: (one.right, one.answers) for name, one in found.items()} == {"single": (15, 20), "pair": (15, 20)}
        assert found["single"].d_prime == blind.d_prime(8, 10, 3, 10)
        assert found["pair"].d_prime == blind.d_prime_pair(15, 20)
        assert found["pair"].p_holm == 2 * found["pair"].p_value == 2 * blind.above_chance(15, 20)
        assert found["pair"].verdict == "seen"
        assert blind.sights({"a": both[3:]})["a"].verdict == "chance not excluded"  # 12 of 17, p 0.07

    @pytest.mark.parametrize("says_yes", [None, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.5, 0.9))])
    def test_guessers_of_five_attacks_see_one_no_more_often_than_the_test_says(self, says_yes):
        """1,000 answers at chance, of pairs or of single images by who likes to say yes, under 200 seeds."""
        alarms = 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            if says_yes is None:
                groups = {attack: pairs(rng.random(200) < 0.5) for attack in range(5)}
            else:
                said = np.where(rng.random((5, 200)) < says_yes, "changed", "unchanged")
                truths = ("changed", "unchanged")
                groups = {
                    attack: [trial(truths[i % 2], str(one)) for i, one in enumerate(said[attack])]
                    for attack in range(5)
                }
            alarms += any(one.verdict == "seen" for one in blind.sights(groups).values())
        assert alarms / 200 <= 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 200)

    def test_intervals_hold_chance_as_often_as_they_say_and_a_d_prime_of_1_is_seen(self):
        held = 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            share = blind.clopper_pearson(int(np.sum(rng.random(1000) < 0.5)), 1000)
            held += share.low <= 0.5 <= share.high
            seen = blind.sights({"cw": pairs(rng.random(1000) < stats.norm.cdf(1 / np.sqrt(2)))})["cw"]
            assert seen.verdict == "seen"
            assert seen.d_prime == pytest.approx(1, abs=0.3)
        assert held / 200 >= 0.95 - 3.5 * np.sqrt(0.05 * 0.95 / 200)


def noisy(originals: np.ndarray, levels: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 2, originals.shape) * 2 - 1
    return np.clip(originals + levels * noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def originals() -> np.ndarray:
    return np.clip(natural(np.random.default_rng(0), 20, 32), 30, 220)


@pytest.fixture(scope="module")
def run(tmp_path_factory, originals) -> pathlib.Path:
    """Two attacks on 20 images, successful on 12: noise of 1 level by cw, of 12 by scw."""
    folder = finished_run(tmp_path_factory.mktemp("run"), originals)
    for attack, levels in (("cw", 1), ("scw", 12)):
        for place, changed in enumerate(noisy(originals, levels, seed=levels)):
            save(folder, attack, f"{place:05d}", changed)
    return folder


@pytest.fixture
def folder(run, tmp_path) -> pathlib.Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def experiment(folder: pathlib.Path) -> records.Experiment:
    return records.read_experiment(folder / evaluation.PAGE)


def embedded(folder: pathlib.Path) -> list[np.ndarray]:
    """The pictures of a page."""
    page = (folder / evaluation.PAGE).read_text()
    urls = json.loads(page.split('id="pictures">')[1].split("</script>")[0])
    return [decoding.decode(base64.b64decode(url.removeprefix("data:image/png;base64,")), url[:20]) for url in urls]


class TestPage:
    def test_shows_successes_pixel_by_pixel_and_each_picture_once(self, folder):
        line = evaluation.make(folder)
        finished, shown, found = records.read(folder), embedded(folder), experiment(folder)
        assert len({picture.tobytes() for picture in shown}) == len(shown)
        names = {name: place for place, name in enumerate(finished.images)}
        asked = [one for one in found.trials if not one["catch"]]
        for one in asked:
            image = names[one["image"]]
            for kind, attack in (("original", records.ORIGINAL), ("changed", one["attack"])):
                np.testing.assert_array_equal(shown[one[kind]], decoding.read(finished.picture(image, attack)))
        expected = {(attack, image) for attack, images in finished.successes().items() for image in images}
        assert {(one["attack"], names[one["image"]]) for one in asked} == expected
        assert len(asked) == len(expected) == 24
        assert "cw 12 of 12, scw 12 of 12; 27 trials, 3 of them catch trials" in line

    def test_flags_choose_attacks_and_how_many_images(self, folder):
        evaluation.make(folder, attacks=["scw"], num_images=5, catch=0)
        found = experiment(folder)
        assert [one["attack"] for one in found.trials] == ["scw"] * 5
        assert [one["image"] for one in found.trials] == [
            f"{image:05d}" for image in records.read(folder).successes()["scw"][:5]
        ]
        assert len(found.training) == 2

    def test_magnified_images_are_those_of_the_library(self, folder):
        evaluation.make(folder, magnified=True)
        finished, shown = records.read(folder), embedded(folder)
        images = {
            image: [attack for attack, own in finished.successes().items() if image in own] for image in range(20)
        }
        image, attacks = next((image, attacks) for image, attacks in images.items() if len(attacks) == 2)
        files = [finished.picture(image), *(finished.picture(image, attack) for attack in attacks)]
        expected = pictures.magnified([decoding.read(file) for file in files])
        ones = [one for one in experiment(folder).trials if one["image"] == finished.images[image] and not one["catch"]]
        for one, picture in zip(ones, expected[1:]):
            np.testing.assert_array_equal(shown[one["original"]], expected[0])
            np.testing.assert_array_equal(shown[one["changed"]], picture)

    @pytest.mark.parametrize("level", [0, 100, 127, 128, 255])
    @pytest.mark.parametrize("shape", [(28, 28, 1), (5, 9, 3)])
    def test_nobody_overlooks_a_catch_trial(self, level, shape):
        picture = np.full(shape, level, np.uint8)
        change = blind_page.obvious(picture).astype(int) - picture
        assert set(np.abs(change).ravel()) == {0, 48}
        assert 0.05 < np.mean(change != 0) < 0.5

    def test_the_identity_is_of_all_that_is_shown(self, folder, originals):
        def identity(**flags) -> str:
            evaluation.make(folder, **flags)
            return experiment(folder).identity

        ways = [{}, {"design": "single"}, {"seconds": 0}, {"zoom": 2}, {"magnified": True}, {"catch": 0.2}]
        identities = [identity(**way) for way in [*ways, {"num_images": 3}, {"attacks": ["cw"]}]]
        assert len(set(identities)) == len(identities)
        assert identity() == identities[0]
        image = records.read(folder).successes()["cw"][0]
        save(folder, "cw", f"{image:05d}", noisy(originals[image], 2, seed=9))
        assert identity() != identities[0]

    def test_a_reader_of_the_page_sees_neither_names_nor_attacks(self, folder):
        evaluation.make(folder)
        text = (folder / evaluation.PAGE).read_text()
        encoded = text.split('id="experiment">')[1].split("</script>")[0]
        rest = text.replace(encoded, "")
        assert '"scw"' in base64.b64decode(encoded).decode()
        for name in ("scw", "00002", "adversarial"):
            assert name not in rest

    def test_names_from_files_are_text_and_nothing_else(self, tmp_path, originals):
        run = hostile_run(tmp_path / "run", originals)
        (run / records.RECORDS).write_text(
            (run / records.RECORDS).read_text().replace('"success": false', '"success": true')
        )
        evaluation.make(run)
        seen = Tags((run / evaluation.PAGE).read_text())
        assert [tag for tag, _ in seen.tags].count("script") == 3
        assert {one["image"] for one in experiment(run).trials} == {HOSTILE, "b"}
        assert HOSTILE in {one["attack"] for one in experiment(run).trials}

    def test_what_cannot_be_shown_is_refused(self, folder):
        with pytest.raises(ValueError, match="attack must be one of 'cw', 'scw'; received 'fgsm'"):
            evaluation.make(folder, attacks=["fgsm"])
        for flags in ({"seconds": float("nan")}, {"catch": 0.6}, {"zoom": 1.5}, {"num_images": 0}, {"design": "three"}):
            with pytest.raises(ValueError, match=f"{next(iter(flags))} must be"):
                evaluation.make(folder, **flags)
        image = records.read(folder).successes()["cw"][0]
        save(folder, "cw", f"{image:05d}", np.zeros((8, 8, 1), np.uint8))
        with pytest.raises(
            ValueError, match=r"must be of the shape \(32, 32, 1\), like its original; received \(8, 8, 1\)"
        ):
            evaluation.make(folder)
        records.read(folder).picture(image).unlink()
        with pytest.raises(ValueError, match=r"\.png or its original is missing, .* --save_images"):
            evaluation.make(folder)
        lines = (folder / records.RECORDS).read_text().replace('"success": true', '"success": false')
        (folder / records.RECORDS).write_text(lines)
        with pytest.raises(ValueError, match=r"needs an attack that succeeds; in .* cw, scw never did"):
            evaluation.make(folder)


def answered(folder: pathlib.Path, name: str, right, seed: str = "", **changes: object) -> pathlib.Path:
    """A file as the page saves it, of an observer who is right where `right` of a trial says so."""
    page = experiment(folder)
    choices = blind.DESIGNS[page.design]
    trials = []
    for place, one in enumerate(page.trials):
        for truth in [choices[place % 2]] if page.design == "pair" else choices:
            answer = truth if right(one, place) else choices[1 - choices.index(truth)]
            asked = {key: one[key] for key in ("attack", "image", "catch")}
            trials.append({**asked, "truth": truth, "answer": answer, "ms": 900 + place})
    values = {key: getattr(page, key) for key in ("version", "identity", "design", "seconds", "zoom", "magnified")}
    values |= {"pseudonym": name, "seed": seed or name, "device_pixel_ratio": 1.25, "screen": [1920, 1080]}
    path = folder / f"answers-{seed or name}.json"
    path.write_text(json.dumps(values | {"planned": len(trials), "trials": trials} | changes))
    return path


def sees_scw(one: dict, place: int) -> bool:
    return one["catch"] or one["attack"] == "scw" or place % 4 < 2


class TestScore:
    @pytest.mark.parametrize("design", list(blind.DESIGNS))
    def test_numbers_are_those_of_the_answers_and_the_report_has_them(self, folder, capsys, monkeypatch, design):
        monkeypatch.setenv("COLUMNS", "80")
        evaluation.make(folder, design=design, seconds=2)
        files = [answered(folder, name, sees_scw) for name in ("ann", "bob")]
        found = evaluation.score(folder, files)
        count = 24 if design == "pair" else 48
        half = sum(place % 4 < 2 for place, one in enumerate(experiment(folder).trials) if one["attack"] == "cw")
        assert found.attacks["scw"].right == found.attacks["scw"].answers == count
        assert (found.attacks["cw"].right, found.attacks["cw"].answers) == (half * count // 12, count)
        assert [one.verdict for one in found.attacks.values()] == ["chance not excluded", "seen"]
        assert found.observers["ann"] == found.observers["bob"]
        assert found.observers["ann"].answers == count
        assert {len(images) for images in found.images.values()} == {12}
        assert {one.answers for images in found.images.values() for one in images.values()} == {count // 12}
        finished = records.read(folder)
        assert records.read_blind(finished) == found
        printed = capsys.readouterr().out
        assert "…" not in printed
        rows = [line.split() for line in printed.splitlines()]
        page = report.page({"c4": finished}, 1)
        for name, sight in found.attacks.items():
            cells = blind_tables.cells(sight)
            assert [name, *cells[:5]] in [row[:6] for row in rows]
            assert "".join(f"<td>{cell}</td>" for cell in cells[1:]) in page.replace("&#39;", "'")
        assert ["scw", "00001", *blind_tables.cells(found.images["scw"]["00001"])[:3]] in rows
        assert f"Seen by persons on mnist: {blind_tables.told(found)}" in Tags(page).text
        assert "2 observers" in Tags(page).text

    def test_who_overlooks_catch_trials_is_left_out_and_named(self, folder, capsys):
        evaluation.make(folder)
        good = answered(folder, "ann", sees_scw)
        alone = evaluation.score(folder, [good])
        sleeper = answered(folder, "[b]zoe", lambda one, _: not one["catch"])
        found = evaluation.score(folder, [good, sleeper])
        assert found.left_out == ["[b]zoe"]
        assert found.catches == {"ann": [3, 3], "[b]zoe": [0, 3]}
        assert (found.attacks, found.images, found.observers) == (alone.attacks, alone.images, alone.observers)
        told = " ".join(capsys.readouterr().out.split())
        assert "left out, less than 0.75 of the catch trials right: [b]zoe (0 of 3)" in told
        assert "1 observer, left out [b]zoe" in Tags(report.page({"c4": records.read(folder)}, 1)).text
        with pytest.raises(ValueError, match=r"no answers are left; less than 0\.75 .* had \[b\]zoe \(0 of 3\)"):
            evaluation.score(folder, [sleeper])
        assert evaluation.score(folder, [good, sleeper], catch_least=0).left_out == []

    def test_answers_of_who_stopped_count_and_two_visits_of_one_observer_are_one(self, folder):
        evaluation.make(folder)
        whole = answered(folder, "ann", sees_scw, seed="1")
        trials = json.loads(whole.read_text())["trials"]
        part = answered(folder, "ann", sees_scw, seed="2", trials=trials[:5])
        found = evaluation.score(folder, [whole, part])
        assert list(found.observers) == ["ann"]
        assert found.observers["ann"].answers == 24 + 5

    def test_a_report_without_it_does_not_speak_of_it(self, folder):
        assert "Seen by persons" not in report.page({"c4": records.read(folder)}, 1)

    def test_an_attack_that_nobody_was_asked_about_has_dashes(self, folder):
        evaluation.make(folder, attacks=["cw"])
        evaluation.score(folder, [answered(folder, "ann", sees_scw)])
        assert f'<th scope="row">sC&amp;W</th>\n{dashes(6)}' in report.page({"c4": records.read(folder)}, 1)

    def test_what_other_programs_wrote_is_refused(self, folder):
        evaluation.make(folder)
        evaluation.score(folder, [answered(folder, "ann", sees_scw)])
        path, finished = folder / records.BLIND, records.read(folder)
        values = json.loads(path.read_text())
        for changes, message in (
            ({"attacks": {"other": values["attacks"]["cw"]}}, "tells of 'other', settings.json of cw, scw"),
            ({"attacks": {"cw": {}}}, "it lacks answers"),
            ({"design": 3}, "design must be of the type str"),
        ):
            path.write_text(json.dumps(values | changes))
            with pytest.raises(ValueError, match=f"{message}.*; python -m eval.blind --score .* makes it anew"):
                records.read_blind(finished)


def dashes(count: int) -> str:
    return f'<td class="starts">{terminal.NONE}</td>' + (count - 1) * f"<td>{terminal.NONE}</td>"


class TestAnswers:
    @pytest.fixture
    def asked(self, folder) -> pathlib.Path:
        evaluation.make(folder)
        return folder

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"identity": "0"},
                "answers.json holds answers to another page than .*: name theirs by --output, or leave",
            ),
            ({"version": 2}, "its version is 2, this program reads 1"),
            ({"seconds": 4}, "seconds is 4, the page's is 5"),
            ({"design": "single"}, "design is 'single', the page's is 'pair'"),
            ({"seed": 5}, "seed must be of the type str"),
            ({"screen": [1]}, "screen must be of the type"),
            ({"pseudonym": "a\x1b[1m"}, r"pseudonym must be printable"),
            ({"trials": []}, "it holds no answers"),
            ({"trials": 3}, "trials must be of the type"),
            ({"trials": [{}]}, "it lacks attack"),
        ],
    )
    def test_files_of_another_kind_are_refused(self, asked, changes, message):
        path = answered(asked, "ann", sees_scw, **changes).rename(asked / "answers.json")
        with pytest.raises(ValueError, match=message):
            records.read_answers([path], asked / evaluation.PAGE)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"attack": "other"}, "does not ask so often about 'other' on"),
            ({"image": "00000"}, "does not ask so often about 'scw' on '00000'"),
            ({"truth": "changed"}, "an answer must be one of left, right; received changed"),
            ({"answer": "up"}, "an answer must be one of left, right"),
            ({"ms": -1}, "ms must be at least 0; received -1"),
            ({"ms": None}, "ms must be at least 0; received nan"),
            ({"catch": True}, "does not ask so often about 'scw'"),
        ],
    )
    def test_trials_that_the_page_does_not_have_are_refused(self, asked, changes, message):
        path = answered(asked, "ann", sees_scw)
        values = json.loads(path.read_text())
        values["trials"][0] |= changes
        path.write_text(json.dumps(values))
        with pytest.raises(ValueError, match=f"is not what the page saved; ask its observer .*: .*{message}"):
            records.read_answers([path], asked / evaluation.PAGE)

    def test_a_trial_that_comes_twice_is_refused(self, asked):
        path = answered(asked, "ann", sees_scw)
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | {"trials": [*values["trials"], values["trials"][0]]}))
        with pytest.raises(ValueError, match="the page does not ask so often about"):
            records.read_answers([path], asked / evaluation.PAGE)

    def test_a_file_that_is_cut_off_or_twice_there_is_refused(self, asked):
        path = answered(asked, "ann", sees_scw)
        shutil.copy(path, asked / "again.json")
        with pytest.raises(ValueError, match=r"ann\.json and .*again\.json hold the same answers, of 'ann'"):
            records.read_answers([path, asked / "again.json"], asked / evaluation.PAGE)
        path.write_text(path.read_text()[:200])
        with pytest.raises(ValueError, match="is not what the page saved"):
            records.read_answers([path], asked / evaluation.PAGE)
        with pytest.raises(ValueError, match=r"cannot read .*nowhere\.json: No such file"):
            records.read_answers([asked / "nowhere.json"], asked / evaluation.PAGE)

    @pytest.mark.parametrize("text", ["", "<p>", '<script type="text/plain" id="experiment">e30=</script>'])
    def test_what_is_no_page_is_refused(self, asked, text):
        (asked / evaluation.PAGE).write_text(text)
        with pytest.raises(ValueError, match=r"blind\.html is no page of eval\.blind: it"):
            experiment(asked)
        (asked / evaluation.PAGE).unlink()
        with pytest.raises(ValueError, match=r"cannot read .*blind\.html: No such file .*; --output names the page"):
            experiment(asked)


# A page whose timers run fast, with an order and sides that are the same each time.
FAST = "{ const wait = window.setTimeout; window.setTimeout = (call, time) => wait(call, time / 50); }"
SEEDED = "crypto.getRandomValues = (array) => array.fill(7);"
PIXELS = """
const shown = [...document.querySelectorAll("#stage img")];
return shown.map((image) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, place) => place % 4 === 0);
});
"""


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page at a size, with scripts before its own; it must neither complain nor ask for anything."""
    made = []

    def open_page(path: pathlib.Path, *scripts: str, width: int = 1100, ratio: float = 1):
        size = {"width": width, "height": 900, "deviceScaleFactor": ratio, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
        source = {"source": "\n".join(scripts)}
        made.append(browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)["identifier"])
        browser.get(path.as_uri())
        return browser

    yield open_page
    browser.execute_script("removeEventListener('beforeunload', keep)")
    for identifier in made:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identifier})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}


def press(page, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def wait(page, condition: str) -> None:
    WebDriverWait(page, 20, poll_frequency=0.02).until(lambda one: one.execute_script(f"return {condition}"))


AWAITED = "give !== null && document.getElementById('onward').hidden"


def begin(page, name: str = "ann") -> None:
    """From the welcome through practice to the first question, by keyboard."""
    while page.switch_to.active_element.get_attribute("id") != "pseudonym":
        press(page, Keys.TAB)
    press(page, name, Keys.ENTER)
    for _ in range(2):
        wait(page, AWAITED)
        press(page, Keys.LEFT)
        wait(page, "document.activeElement.id === 'onward'")
        press(page, Keys.ENTER)


def roughness(pixels: list[int]) -> float:
    """Of an image of 32 x 32: how much neighbours differ."""
    return float(np.mean(np.abs(np.diff(np.reshape(pixels, (32, 32)), axis=1))))


def answer_all(page, decide) -> int:
    """Answers every question with the key that `decide` makes of what is shown; the number of breaks."""
    breaks = 0
    while True:
        wait(page, f"({AWAITED}) || !element('rest').hidden || !element('end').hidden")
        if page.execute_script("return !element('end').hidden"):
            return breaks
        if page.execute_script("return !element('rest').hidden"):
            breaks += 1
            press(page, Keys.TAB, Keys.ENTER)
            continue
        key = decide(page.execute_script(PIXELS))
        before = page.execute_script("return answers.length")
        press(page, key)
        wait(page, f"answers.length > {before}")


def saved(folder: pathlib.Path, name: str) -> pathlib.Path:
    path = folder / f"answers-{name}.json"
    for _ in range(200):
        if path.exists() and path.stat().st_size:
            return path
        time.sleep(0.05)
    raise AssertionError(f"{path.name} was not saved; there are {list(folder.iterdir())}")


class TestInTheBrowser:
    def test_an_observer_with_a_threshold_sees_the_strong_attack_and_not_the_weak_one(self, folder, opened, tmp_path):
        """By keyboard alone: the rougher of two images was changed, as far as the difference is seen, or else F."""
        evaluation.make(folder)

        def decide(shown: list[list[int]]) -> str:
            left, right = map(roughness, shown)
            if abs(left - right) < SEES:
                return "f"
            return Keys.LEFT if left > right else "j"

        page = opened(folder / evaluation.PAGE, FAST, SEEDED)
        begin(page)
        assert answer_all(page, decide) == 1
        path = saved(tmp_path, "ann")
        answers = json.loads(path.read_text())
        assert answers["seed"] == "0000000700000007"
        assert len(answers["trials"]) == answers["planned"] == 27
        assert {one["truth"] for one in answers["trials"]} == {"left", "right"}
        assert [one["image"] for one in answers["trials"]] != [one["image"] for one in experiment(folder).trials]
        outcome = here("eval.blind", "--score", folder, path)
        assert outcome.status == 0, outcome.stderr
        found = records.read_blind(records.read(folder))
        assert found.attacks["scw"].right == found.attacks["scw"].answers == 12
        assert [one.verdict for one in found.attacks.values()] == ["chance not excluded", "seen"]
        assert found.catches == {"ann": [3, 3]}

    def test_single_images(self, folder, opened, tmp_path):
        """Who knows the originals by heart is right in every trial, half of them unchanged."""
        evaluation.make(folder, design="single", num_images=4)
        known = {decoding.read(file).tobytes() for file in (folder / records.IMAGES / records.ORIGINAL).iterdir()}

        def decide(shown: list[list[int]]) -> str:
            (pixels,) = shown
            return Keys.RIGHT if np.array(pixels, np.uint8).tobytes() in known else Keys.LEFT

        page = opened(folder / evaluation.PAGE, FAST)
        begin(page, "bob/../x")
        answer_all(page, decide)
        path = saved(tmp_path, "bob_x")
        found = evaluation.score(folder, [path])
        assert {(one.right, one.answers) for one in found.attacks.values()} == {(8, 8)}
        assert list(found.observers) == ["bob/../x"]

    def test_images_disappear_after_their_time_and_the_answer_is_awaited(self, folder, opened):
        evaluation.make(folder, seconds=0.3)
        page = opened(folder / evaluation.PAGE)
        begin(page)
        wait(page, AWAITED)
        image = page.find_element(By.ID, "first")
        assert page.find_element(By.ID, "stage").get_attribute("class") == "shown"
        wait(page, "!stage.classList.contains('shown')")
        assert image.value_of_css_property("visibility") == "hidden"
        assert page.execute_script(f"return {AWAITED}")
        press(page, "j")
        wait(page, "answers.length === 1")
        assert page.execute_script("return answers[0].ms") >= 300

    def test_stopping_saves_what_there_is_and_nothing_where_there_is_nothing(self, folder, opened, tmp_path):
        evaluation.make(folder)
        for count in (2, 0):
            page = opened(folder / evaluation.PAGE, FAST)
            begin(page, f"stopper{count}")
            for place in range(count):
                wait(page, AWAITED)
                press(page, "f")
                wait(page, f"answers.length === {place + 1}")
            wait(page, AWAITED)
            while page.switch_to.active_element.get_attribute("id") != "stop":
                press(page, Keys.TAB)
            press(page, Keys.SPACE)
            wait(page, "!element('end').hidden")
            assert ("Nothing was answered" in page.find_element(By.ID, "end").text) is (count == 0)
        assert len(json.loads(saved(tmp_path, "stopper2").read_text())["trials"]) == 2
        assert not (tmp_path / "answers-stopper0.json").exists()

    def test_every_load_has_an_order_and_sides_of_its_own(self, folder, opened):
        evaluation.make(folder)
        orders = []
        for _ in range(2):
            page = opened(folder / evaluation.PAGE)
            script = "return JSON.stringify(questions(experiment.trials).map((one) => [one.trial.image, one.truth]))"
            orders.append((page.execute_script("return seed"), page.execute_script(script)))
        assert orders[0][0] != orders[1][0]
        assert orders[0][1] != orders[1][1]

    @pytest.mark.parametrize(("ratio", "zoom"), [(1, 1), (2, 1), (1.25, 3)])
    def test_a_pixel_of_an_image_is_whole_pixels_of_the_screen(self, folder, opened, ratio, zoom):
        evaluation.make(folder, zoom=zoom)
        page = opened(folder / evaluation.PAGE, FAST, ratio=ratio)
        begin(page)
        wait(page, AWAITED)
        box = page.execute_script("const box = images[0].getBoundingClientRect(); return [box.width, box.height]")
        assert np.multiply(box, ratio) == pytest.approx([32 * zoom] * 2, abs=0.05)
        assert page.find_element(By.ID, "first").value_of_css_property("image-rendering") == "pixelated"

    @pytest.mark.parametrize("zoom", [1, 8, 20])
    @pytest.mark.parametrize("width", [420, 1100])
    def test_no_width_makes_the_page_scroll_sideways(self, folder, opened, width, zoom):
        evaluation.make(folder, zoom=zoom)
        page = opened(folder / evaluation.PAGE, FAST, width=width)
        for step in (lambda: None, lambda: (begin(page), wait(page, AWAITED))):
            step()
            assert page.execute_script("return document.documentElement.scrollWidth") <= width
        upper = page.find_element(By.ID, "yes").text.startswith("Upper")
        assert upper is (2 * 32 * zoom + 24 > page.execute_script("return stage.clientWidth"))

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast_and_a_field_of_middle_grey(self, folder, opened, scheme):
        evaluation.make(folder)
        page = opened(folder / evaluation.PAGE, FAST)
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        begin(page)
        assert page.find_element(By.ID, "stage").value_of_css_property("background-color") == "rgba(128, 128, 128, 1)"
        for selector in ("h1", "#progress", "#yes", "#stop", "#onward", "#told"):
            text, behind = page.execute_script(
                """const style = getComputedStyle(document.querySelector(arguments[0]));
                const body = getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
                const hex = (color) => "#" + color.match(/\\d+/g).slice(0, 3)
                  .map((one) => Number(one).toString(16).padStart(2, "0")).join("");
                const own = style.backgroundColor;
                return [hex(style.color), own === "rgba(0, 0, 0, 0)" ? body : hex(own)];""",
                selector,
            )
            low, high = sorted(map(relative_luminance, (text, behind)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (selector, text, behind)

    def test_focus_is_seen_and_progress_is_read_out(self, folder, opened):
        evaluation.make(folder)
        page = opened(folder / evaluation.PAGE, FAST)
        begin(page)
        wait(page, AWAITED)
        assert page.find_element(By.ID, "progress").get_attribute("aria-live") == "polite"
        assert page.find_element(By.ID, "progress").text == "Question 1 of 27"
        for name in ("stage", "yes", "no", "stop"):
            press(page, Keys.TAB)
            assert page.switch_to.active_element.get_attribute("id") == name
            assert page.switch_to.active_element.value_of_css_property("outline-style") == "solid"
        assert [image.get_attribute("alt") for image in page.find_elements(By.CSS_SELECTOR, "#stage img")] == [
            "Left image",
            "Right image",
        ]

    def test_hostile_names_do_nothing(self, tmp_path, originals, opened):
        run = hostile_run(tmp_path / "run", originals)
        (run / records.RECORDS).write_text(
            (run / records.RECORDS).read_text().replace('"success": false', '"success": true')
        )
        evaluation.make(run)
        page = opened(run / evaluation.PAGE, FAST)
        begin(page, "x")
        answer_all(page, lambda _: "f")
        trials = json.loads(saved(tmp_path, "x").read_text())["trials"]
        assert {HOSTILE} < {one["attack"] for one in trials}
        assert page.execute_script("return typeof hacked") == "undefined"
        evaluation.score(run, [tmp_path / "answers-x.json"], catch_least=0)
        seen = Tags(report.page({"c4": records.read(run)}))
        assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)


def test_the_binary_makes_and_scores(folder):
    made = here("eval.blind", folder, "--num_images=2", f"--output={folder / 'page.html'}", "--magnified", "--zoom=2")
    assert made.status == 0, made.stderr
    assert made.stdout.startswith(f"{folder / 'page.html'}: images on which the attack succeeded, cw 2 of 12, scw 2 of")
    shutil.move(folder / "page.html", folder / evaluation.PAGE)
    file = answered(folder, "ann", sees_scw)
    scored = here("eval.blind", "--score", folder, file)
    assert scored.status == 0, scored.stderr
    assert "pairs, magnified, 5 s, zoom 2" in " ".join(scored.stdout.split())


def test_help_teaches():
    finished = here("eval.blind", "--helpshort")
    assert "python -m eval.blind --score results/c4 answers-*.json" in finished.stdout
