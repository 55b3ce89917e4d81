"""The report as text, and in a real browser."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import html.parser
import http.server
import io
import json
import pathlib
import re
import shutil
import threading
import urllib.parse

import numpy as np
import PIL.Image
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.many_runs import here
from tf_smoothadv import metrics
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import classes, decoding
from tf_smoothadv.evaluation.rendering import gallery, page_tables, pictures, published, report, terminal

HOSTILE = """</script><script>hacked=1</script>"'><img src=x onerror=hacked=1>{{ 7*7 }}$\\$_<!--"""


def finished_run(
    folder: pathlib.Path,
    originals: np.ndarray,
    *,
    model: str = "c4",
    dataset: str = "mnist",
    attacks: tuple[str, ...] = ("cw", "scw"),
    names: list[str] | None = None,
    seed: int = 0,
) -> pathlib.Path:
    """A folder as `eval.white_box` leaves it; image i is moved by up to i + 1 grey levels, every fifth attack fails.

    originals: [N, H, W, C] uint8.
    """
    rng = np.random.default_rng(seed)
    names = names or [f"{position:05d}" for position in range(len(originals))]
    settings = {"images": names, "data": "somewhere", "attacks": {name: {"attack": name} for name in attacks}}
    writer = records.Results(folder, settings, metrics.Record)
    for position, (name, original) in enumerate(zip(names, originals)):
        save(folder, records.ORIGINAL, name, original)
        for number, attack in enumerate(attacks):
            change = rng.integers(-1 - position % 9, 2 + position % 9, original.shape)
            adversarial = np.clip(original + change, 0, 255).astype(np.uint8)
            save(folder, attack, name, adversarial)
            distortion = float(np.linalg.norm((adversarial.astype(float) - original) / 255))
            computed, delivered = (position + number) % 5 > 0, (position + number) % 5 > 1
            energy = float(rng.uniform(0, 1)) if position else float("nan")
            class_, taken = position % 10, (position + 3) % 10
            scores = (
                metrics.Score(computed, distortion, energy, taken),
                metrics.Score(delivered, distortion, energy, taken if delivered else class_),
            )
            trace = ((3, 2 * distortion), (40 + position % 60, distortion)) if computed else ()
            record = metrics.Record(position, attack, class_, *scores, 100 + number, 0.25, trace)
            writer.append([record])
    writer.close()
    summary = {"model": model, "dataset": dataset, "settings": "tuned", "levels": None}
    summary |= {"num_images": len(names) + 1, "num_correct": len(names)}
    (folder / records.SUMMARY).write_text(json.dumps(summary))
    return folder


def save(folder: pathlib.Path, attack: str, name: str, pixels: np.ndarray) -> None:
    path = folder / records.IMAGES / attack / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    PIL.Image.fromarray(shown).save(path, compress_level=1)


def natural(count: int, side: int) -> np.ndarray:
    """Images as rough as photographs, [N, side, side, 3] uint8: natural ones have amplitudes of 1 / frequency."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = 1 / np.maximum(frequency, 1 / side)
    images = []
    for _ in range(count):
        waves = spectrum * np.exp(2j * np.pi * rng.uniform(size=(3, *frequency.shape)))
        planes = np.fft.irfft2(waves, s=(side, side)).transpose(1, 2, 0)
        images.append(np.clip(128 + 50 * planes / planes.std(), 0, 255).astype(np.uint8))
    return np.stack(images)


def hostile_run(folder: pathlib.Path, originals: np.ndarray) -> pathlib.Path:
    names = [HOSTILE, "b"]
    return finished_run(folder, originals[:2], model=HOSTILE, attacks=("cw", HOSTILE), names=names)


def read(*folders: pathlib.Path) -> dict[str, records.Finished]:
    return records.named([records.read(folder) for folder in folders])


def embedded(page: str) -> dict:
    """The data that the page hands to its script."""
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


def pixels(url: str) -> np.ndarray:
    encoded = base64.b64decode(url.removeprefix("data:image/webp;base64,"))
    return np.array(PIL.Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.fixture(scope="module")
def originals() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (12, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, originals) -> pathlib.Path:
    return finished_run(tmp_path_factory.mktemp("run"), originals)


@pytest.fixture(scope="module")
def other(tmp_path_factory, originals) -> pathlib.Path:
    attacks = ("fgsm", "scw")
    return finished_run(tmp_path_factory.mktemp("other"), originals, model="c4_adversarial", attacks=attacks, seed=1)


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The shares p at which p - 1.96 or p + 1.96 standard deviations of a share of `count` trials is what was found."""
    z, share = 1.959964, successes / count
    middle, wide = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - wide) / (1 + z**2 / count), (middle + wide) / (1 + z**2 / count)


class Tags(html.parser.HTMLParser):
    """The elements of a page as a browser would see them, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


class TestTables:
    def test_numbers_are_those_of_the_records(self, folder, other):
        (table,) = page_tables.white_box(read(folder, other))
        rows = [json.loads(line) for line in (folder / records.RECORDS).read_text().splitlines()]
        rows = [row for row in rows if row["attack"] == "scw"]
        successes = [row for row in rows if row["computed"]["success"]]
        delivered = [row for row in rows if row["delivered"]["success"]]
        cells, _ = table.rows["scw"]
        assert list(table.rows) == ["cw", "scw", "fgsm"]
        assert cells[0] == f"{len(successes) / len(rows):.3f}"
        assert cells[2] == f"{np.mean([row['computed']['distortion'] for row in successes]):.2f}"
        assert cells[4] == f"{len(delivered) / len(rows):.3f}"
        assert cells[6] == f"{np.mean([row['delivered']['distortion'] for row in delivered]):.2f}"
        assert cells[8:10] == ["101", "250"]
        for count, cell in ((len(successes), cells[1]), (len(delivered), cells[5])):
            low, high = wilson(count, len(rows))
            assert cell == f"{low:.3f}{terminal.NONE}{high:.3f}"

    def test_networks_of_one_dataset_stand_side_by_side_with_the_papers_numbers(self, folder, other):
        (table,) = page_tables.white_box(read(folder, other))
        assert [group.heading for group in table.groups] == ["c4", "c4_adversarial"]
        for row in table.rows.values():
            for group, cells in zip(table.groups, row, strict=True):
                assert len(cells) == sum(map(len, group.parts.values()))
        first, second = table.rows["scw"]
        assert (first[12:], second[12:]) == (["1.00", "1.97"], ["0.99", "2.39"])
        assert set(table.rows["fgsm"][0][:12]) == {terminal.NONE}

    def test_other_datasets_have_tables_of_their_own(self, folder, tmp_path, originals):
        photographs = finished_run(tmp_path, originals, model="net.keras", dataset="nips2017")
        first, second = page_tables.white_box(read(folder, photographs))
        assert "mnist" in first.caption
        assert "nips2017" in second.caption
        assert "paper" not in second.groups[0].parts

    def test_a_model_that_comes_twice_is_named_with_its_folder(self, folder, tmp_path, originals):
        again = finished_run(tmp_path, originals)
        assert list(read(folder, again)) == [f"c4 ({folder})", f"c4 ({again})"]

    @pytest.mark.parametrize(
        ("dataset", "model", "scw"),
        [
            ("mnist", "c4", (1.00, 1.97)),
            ("nips2017", "resnet_v2_50", (0.98, 5.99)),
            ("nips2017", "slim:adv_inception_v3:some/model.ckpt", (0.75, 6.22)),
            ("nips2017", "inception_v3:random", None),
            ("folder", "inception_v3", None),
            ("mnist", "net.keras", None),
        ],
    )
    def test_published_numbers_are_of_the_papers_networks_on_its_images(self, dataset, model, scw):
        assert published.on(dataset, model).get("scw") == scw


@pytest.fixture(scope="module")
def transferred(tmp_path_factory) -> pathlib.Path:
    """A folder as `eval.transfer` leaves it."""
    folder = tmp_path_factory.mktemp("transfer")
    networks = {"inception_v3": 0.8, "bilateral+inception_v3": 0.7, "slim:adv_inception_v3:x.ckpt": 0.9}
    none = {"num_images": 8, "p_suc": 0.0, "mean_distortion": None, "num_images_correct": 0, "p_suc_correct": None}
    one = {"num_images": 8, "p_suc": 0.25, "mean_distortion": 5.125, "num_images_correct": 4, "p_suc_correct": 0.5}
    by_attack = {"cw": dict.fromkeys(networks, one), "own": dict.fromkeys(networks, none)}
    summary = {"dataset": "nips2017", "num_images": 10, "num_correct": {"inception_v3": 8}, "attacks": {}}
    summary |= {"accuracy": networks, "transfer": {"inception_v3": by_attack}}
    (folder / records.TRANSFER).write_text(json.dumps(summary))
    return folder


class TestTransferTables:
    def test_numbers_stand_beside_the_papers(self, transferred):
        (table,) = page_tables.transfer(records.read_transfer(transferred))
        assert table.caption == "Attacks on inception_v3, judged by each network: 8 of 10 images of nips2017"
        assert [group.note for group in table.groups] == ["accuracy 0.800", "accuracy 0.700", "accuracy 0.900"]
        assert ["paper" in group.parts for group in table.groups] == [False, True, True]
        own, filtered, adversarial = table.rows["cw"]
        low, high = wilson(2, 8)
        assert own == ["0.250", f"{low:.3f}{terminal.NONE}{high:.3f}", "5.12", "0.500"]
        assert filtered == [*own, "0.82", "4.75"]
        assert adversarial == [*own, "0.02", "10.21"]
        low, high = wilson(0, 8)
        assert table.rows["own"][1] == ["0.000", f"{low:.3f}{terminal.NONE}{high:.3f}", *4 * [terminal.NONE]]

    @pytest.mark.slow
    def test_the_page_has_them_with_and_without_other_runs(self, folder, transferred):
        summary = records.read_transfer(transferred)
        for runs in ({}, read(folder)):
            text = Tags(report.page(runs, transfers=[summary])).text
            assert "Attacks on inception_v3, judged by each network" in text
        assert "White-box attacks on mnist" in text

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"dataset": "x"}'])
    def test_a_damaged_folder_is_refused(self, tmp_path, text):
        (tmp_path / records.TRANSFER).write_text(text)
        with pytest.raises(ValueError, match=r"does not hold results as eval\.transfer writes them"):
            records.read_transfer(tmp_path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('"p_suc": 0.25', '"p_suc": 7.5', r"p_suc must be a share of 8 images; received 7\.5"),
            ('"inception_v3": 8}', '"inception_v3": 11}', "it tells of 11 of 10 images"),
        ],
    )
    def test_shares_that_cannot_be_are_refused(self, transferred, tmp_path, old, new, message):
        text = (transferred / records.TRANSFER).read_text()
        assert old in text
        (tmp_path / records.TRANSFER).write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=message):
            records.read_transfer(tmp_path)


class TestGallery:
    def test_pictures_are_the_files_pixel_by_pixel(self, folder):
        made = gallery.gallery(read(folder))
        assert len(made["cards"]) == 24
        for card in made["cards"]:
            for attack, position in zip((records.ORIGINAL, card["attack"]), card["views"]["image"]):
                file = folder / records.IMAGES / attack / f"{card['name']}.png"
                np.testing.assert_array_equal(
                    pixels(made["pictures"][position]), np.array(PIL.Image.open(file).convert("RGB"))
                )

    def test_magnified_pictures_of_one_image_share_a_range(self, folder):
        finished = records.read(folder)
        made = gallery.gallery({"c4": finished})
        cards = [card for card in made["cards"] if card["index"] == 3]
        files = [finished.picture(3), *(finished.picture(3, card["attack"]) for card in cards)]
        expected = pictures.magnified([decoding.read(file) for file in files])
        originals = {card["views"]["magnified"][0] for card in cards}
        assert len(originals) == 1
        places = [originals.pop(), *(card["views"]["magnified"][1] for card in cards)]
        for place, picture in zip(places, expected):
            found = pixels(made["pictures"][place]).astype(int)
            assert np.abs(found - picture).mean() < 4  # the WebP of a magnified picture is not lossless

    def test_classes_have_the_names_that_are_known(self, folder):
        finished = records.read(folder)
        assert finished.class_names == {}
        cards = gallery.gallery({"c4": finished._replace(class_names={0: "zebra"})}, 1)["cards"]
        records_ = {(record.index, record.attack): record for record in finished.run.records}
        for card in cards:
            record = records_[card["index"], card["attack"]]
            for shown, number in ((card["label"], record.label), (card["prediction"], record.delivered.prediction)):
                assert shown == ("zebra" if number == 0 else f"class {number}")

    def test_folders_of_classes_name_them(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "run")
        settings = json.loads((tmp_path / "run" / records.SETTINGS).read_text())
        settings["images"] = [f"kind {place % 10}/{name}" for place, name in enumerate(settings["images"])]
        (tmp_path / "run" / records.SETTINGS).write_text(json.dumps(settings))
        assert records.read(tmp_path / "run").class_names == {number: f"kind {number}" for number in range(10)}

    def test_nips2017_has_imagenets_names_if_keras_has_its_list(self, tmp_path, originals, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr(classes, "ELSEWHERE", str(tmp_path / "elsewhere"))
        monkeypatch.setattr(classes.keras.utils, "get_file", None)  # nothing is downloaded
        run = finished_run(tmp_path / "run", originals, dataset="nips2017")
        digits = finished_run(tmp_path / "digits", originals)
        assert classes.known(records.read(run)).class_names == {}
        (tmp_path / "elsewhere" / "models").mkdir(parents=True)
        listed = tmp_path / "elsewhere" / "models" / "imagenet_class_index.json"
        for damaged in ("", "[]", '{"0": 1}', '{"x": ["n0", "tench"]}', '{"0": ["n0", null]}'):
            listed.write_text(damaged)
            assert classes.known(records.read(run)).class_names == {}
        listed.write_text('{"0": ["n01440764", "tench"], "3": ["n01491361", "tiger_shark"]}')
        assert classes.known(records.read(run)).class_names == {0: "tench", 3: "tiger shark"}
        assert classes.known(records.read(digits)).class_names == {}
        made = here("eval.report", run)
        assert made.status == 0, made.stderr
        assert {"tench", "tiger shark", "class 1"} <= {
            card["label"] for card in embedded((run / "report.html").read_text())["cards"]
        }
        settings = json.loads((run / records.SETTINGS).read_text())
        (run / records.SETTINGS).write_text(json.dumps({**settings, "labels": "predicted"}))
        assert classes.known(records.read(run)).class_names == {}

    @pytest.mark.slow
    def test_one_image_in_two_runs_is_one(self, folder, other):
        made = gallery.gallery(read(folder, other))
        assert (made["num_images"], made["num_whole"], len(made["cards"])) == (12, 12, 48)
        assert len({card["views"]["image"][0] for card in made["cards"]}) == 12

    def test_the_worst_case_of_each_attack_comes_first(self, folder):
        entries = gallery.entries(read(folder))
        by_subject = {}
        for entry in entries:
            by_subject.setdefault(entry.subject, []).append(entry)
        ranked = gallery.ranked(by_subject)
        assert sorted(ranked) == sorted(by_subject)
        for attack in ("cw", "scw"):
            successes = [entry for entry in entries if entry.record.attack == attack and entry.record.delivered.success]
            assert max(successes, key=lambda entry: entry.record.delivered.distortion).subject in ranked[:2]

    def test_budget_and_number_bound_it(self, folder, monkeypatch):
        assert gallery.gallery(read(folder), num_images=3)["num_whole"] == 3
        whole = gallery.gallery(read(folder))
        assert (whole["num_whole"], whole["num_previews"]) == (12, 0)
        size = sum(map(len, whole["pictures"])) + len(json.dumps(whole["cards"]))
        monkeypatch.setattr(gallery, "BUDGET", size // 2)
        half = gallery.gallery(read(folder))
        assert 2 <= half["num_whole"] <= 6
        assert sum(map(len, half["pictures"])) + len(json.dumps(half["cards"])) <= gallery.BUDGET
        monkeypatch.setattr(gallery, "BUDGET", 1)
        least = gallery.gallery(read(folder))
        assert (least["num_images"], least["num_whole"], least["num_previews"]) == (12, 1, 0)

    def test_images_that_do_not_fit_have_a_preview_and_their_files(self, tmp_path):
        photographs = natural(3, 256)
        names = ["a", "kind #1/b%20 c", HOSTILE]
        run = finished_run(tmp_path / "run", photographs, names=names, attacks=("cw", HOSTILE))
        made = gallery.gallery(read(run), 1, tmp_path / "elsewhere")
        assert (made["num_whole"], made["num_previews"]) == (1, 2)
        previewed = [card for card in made["cards"] if card["files"]]
        assert len(previewed) == 4
        for card in previewed:
            assert card["views"] == {}
            original = photographs[card["index"]]
            preview = pixels(made["pictures"][card["preview"]])
            smaller = original.reshape(128, 2, 128, 2, 3).mean((1, 3))
            assert preview.shape == smaller.shape
            luminances = [np.ravel(one @ (0.299, 0.587, 0.114)) for one in (preview, smaller)]  # it thins out colours
            assert np.corrcoef(luminances)[0, 1] > 0.9
            paths = [tmp_path / "elsewhere" / urllib.parse.unquote(file) for file in card["files"]]
            for path, attack in zip(paths, (records.ORIGINAL, card["attack"])):
                file = run / records.IMAGES / attack / f"{names[card['index']]}.png"
                assert path.resolve() == file.resolve()
            assert card["change"] == np.abs(decoding.read(paths[1].resolve()).astype(int) - original).max()

    def test_the_margin_is_told_where_it_is_known(self, folder):
        finished = records.read(folder)
        record = finished.run.records[0]
        image = np.zeros([28, 28, 1], np.uint8)
        for margin, expected in ((-2.5, -2.5), (float("nan"), None)):
            known = dataclasses.replace(record, delivered=dataclasses.replace(record.delivered, margin=margin))
            assert gallery.card(gallery.Entry("a", finished, known), image, image, {})["margin"] == expected

    def test_outcomes_tell_what_rounding_undid(self, folder):
        cards = {(card["index"], card["attack"]): card for card in gallery.gallery(read(folder))["cards"]}
        assert [cards[position, "cw"]["outcome"] for position in range(3)] == [
            "failure",
            "undone by rounding",
            "success",
        ]
        assert cards[0, "cw"]["energy"] is None

    def test_a_run_without_images_says_how_to_get_them(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "run")
        shutil.rmtree(tmp_path / "run" / records.IMAGES)
        assert "--save_images" in Tags(report.page(read(tmp_path / "run"))).text


@pytest.mark.slow
def test_two_hundred_photographs_under_six_attacks_stay_under_20_mb_and_open_in_two_seconds(browser, tmp_path):
    photographs = natural(200, 299)
    attacks = ("fgsm", "ifgsm", "pgd2", "cw", "spgd2", "scw")
    page = report.page(read(finished_run(tmp_path, photographs, attacks=attacks, dataset="nips2017")))
    assert 15e6 < len(page.encode()) < 20e6
    cards = embedded(page)["cards"]
    assert len({(card["name"], card["attack"]) for card in cards}) == 200 * 6
    assert len({card["name"] for card in cards if card["views"]}) >= 3
    (tmp_path / "page.html").write_text(page)
    times = []
    for _ in range(3):  # the machine may be busy with something else
        browser.get("about:blank")
        browser.get((tmp_path / "page.html").as_uri())
        drawn = browser.execute_async_script(
            # A preview whose place its file takes in the meantime is not decoded.
            "const done = arguments[0]; Promise.allSettled([...document.images].map((image) => image.decode())).then("
            "() => requestAnimationFrame(() => done(performance.now())));"
        )
        assert len(captions(browser)) == min(48, len(embedded(page)["cards"]))
        times.append(drawn)
    assert min(times) < 2000


def test_names_from_files_are_text_and_nothing_else(tmp_path, originals):
    page = report.page(read(hostile_run(tmp_path, originals)))
    seen = Tags(page)
    assert [tag for tag, _ in seen.tags].count("script") == 2
    for tag, attributes in seen.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert tag not in ("img", "link") or attributes.get("src", "data:").startswith("data:")
    assert f"{HOSTILE} on mnist" in seen.text
    data = embedded(page)
    assert {card["name"] for card in data["cards"]} == {HOSTILE, "b"}
    assert {card["attack"] for card in data["cards"]} == {HOSTILE, "cw"}


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("records.jsonl", "holds no results of eval.white_box: records.jsonl is missing"),
        ("summary.json", "holds an unfinished run: summary.json is missing; give the command that began it once more"),
    ],
)
def test_a_folder_that_is_no_result_is_refused(folder, tmp_path, remove, message):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / remove).unlink()
    with pytest.raises(ValueError, match=message):
        records.read(tmp_path / "run")


@pytest.mark.parametrize("text", ["[]", '{"model": "c4"}', "null", '{"model'])
@pytest.mark.parametrize("name", ["summary.json", "settings.json", "records.jsonl"])
def test_a_damaged_folder_is_refused(folder, tmp_path, name, text):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / name).write_text(text)
    with pytest.raises(ValueError, match=r"does not hold results as eval\.white_box writes them"):
        records.read(tmp_path / "run")


@pytest.fixture(scope="module")
def written(folder, other) -> pathlib.Path:
    path = folder / "report.html"
    path.write_text(report.page(read(folder, other)))
    return path


@pytest.fixture
def opened(browser, written):
    browser.get(written.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def captions(page) -> list[str]:
    return page.execute_script("return [...document.querySelectorAll('#cards figcaption')].map((one) => one.innerText)")


def values(page, letter: str) -> list[float]:
    found = [re.search(rf"\b{letter} ([\d.]+)", caption) for caption in captions(page)]
    return [float(match[1]) for match in found if match]


def choose(page, name: str, value: str) -> None:
    Select(page.find_element(By.NAME, name)).select_by_value(value)


def shown(picture) -> list[str]:
    """What a person sees of the two images that lie on each other."""
    return [image.get_attribute("alt") for image in picture.find_elements(By.TAG_NAME, "img") if image.is_displayed()]


class TestInTheBrowser:
    def test_sorting(self, opened):
        by_image = [re.search(r"\d{5}", caption)[0] for caption in captions(opened)]
        assert by_image == sorted(by_image)
        for order, letter in (("distortion", "D"), ("energy", "E")):
            choose(opened, "order", order)
            assert values(opened, letter) == sorted(values(opened, letter))
            choose(opened, "order", f"-{order}")
            assert values(opened, letter) == sorted(values(opened, letter), reverse=True)
        assert all("E \u2013" in caption for caption in captions(opened)[-4:])

    def test_filters(self, opened):
        assert len(captions(opened)) == 48
        choose(opened, "attack", "cw")
        assert {caption.split("\n")[0].strip() for caption in captions(opened)} == {"C&W"}
        choose(opened, "attack", "scw")
        choose(opened, "network", "c4_adversarial")
        assert all("c4_adversarial" in caption for caption in captions(opened))
        assert opened.find_element(By.ID, "count").text == "12 attacks on 12 images"
        counts = []
        for outcome in ("success", "undone by rounding", "failure"):
            choose(opened, "outcome", outcome)
            counts.append(len(captions(opened)))
            assert all(outcome in caption for caption in captions(opened))
        assert sum(counts) == 12
        assert min(counts) > 0

    def test_mouse(self, opened):
        picture, other = opened.find_elements(By.CLASS_NAME, "picture")[:2]
        mouse = ActionChains(opened)
        adversarial, original = shown(picture), ["00000: original, class 0"]
        assert "adversarial" in adversarial[0]
        mouse.move_to_element(picture).perform()
        assert shown(picture) == original
        mouse.click().perform()
        assert shown(picture) == adversarial
        mouse.move_to_element(other).perform()
        assert shown(picture) == original
        assert picture.get_attribute("aria-pressed") == "true"

    def test_touch(self, opened):
        picture = opened.find_element(By.CLASS_NAME, "picture")
        finger = ActionChains(opened, devices=[PointerInput("touch", "finger")])
        for expected in ("original", "adversarial"):
            finger.w3c_actions.pointer_action.move_to(picture).pointer_down().pointer_up()
            finger.perform()
            assert expected in shown(picture)[0]

    def test_keyboard(self, opened):
        pictures = opened.find_elements(By.CLASS_NAME, "picture")
        tops = [picture.location["y"] for picture in pictures]
        columns = tops.count(tops[0])
        opened.execute_script("arguments[0].focus()", opened.find_element(By.ID, "swap"))
        at = 0
        for key, step in ((Keys.TAB, 0), (Keys.RIGHT, 1), (Keys.DOWN, columns), (Keys.LEFT, -1), (Keys.UP, -columns)):
            ActionChains(opened).send_keys(key).perform()
            at += step
            assert opened.switch_to.active_element == pictures[at]
        assert opened.switch_to.active_element.value_of_css_property("outline-style") == "solid"
        for key, expected in ((Keys.SPACE, "original"), (Keys.ENTER, "adversarial")):
            ActionChains(opened).send_keys(key).perform()
            assert expected in shown(pictures[0])[0]

    def test_one_button_swaps_all_and_views_change(self, opened):
        swap = opened.find_element(By.ID, "swap")
        swap.click()
        pictures = opened.find_elements(By.CLASS_NAME, "picture")
        assert all("original" in shown(picture)[0] for picture in pictures)
        swap.click()
        opened.find_element(By.CSS_SELECTOR, "[value=perturbation]").click()
        pictures = opened.find_elements(By.CLASS_NAME, "picture")
        assert all("perturbation" in shown(picture)[0] for picture in pictures)

    def test_search_by_file_or_class(self, opened):
        search = opened.find_element(By.NAME, "search")
        search.send_keys("00007")
        assert {re.search(r"\d{5}", caption)[0] for caption in captions(opened)} == {"00007"}
        assert opened.find_element(By.ID, "count").text == "4 attacks on 1 image"
        search.clear()
        search.send_keys("Class 9")
        found = captions(opened)
        assert 0 < len(found) < 48
        assert all("class 9" in caption for caption in found)
        search.send_keys("9")
        assert captions(opened) == []

    def test_the_browser_has_the_pixels_of_the_files(self, opened, folder):
        rgba = opened.execute_script(
            """const image = document.querySelector("img.attacked");
            const canvas = document.createElement("canvas");
            canvas.width = image.naturalWidth;
            canvas.height = image.naturalHeight;
            const context = canvas.getContext("2d");
            return image.decode().then(() => {
              context.drawImage(image, 0, 0);
              return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
            });"""
        )
        file = PIL.Image.open(folder / records.IMAGES / "cw" / "00000.png")
        np.testing.assert_array_equal(np.reshape(rgba, (28, 28, 4))[..., 0], np.array(file))

    def test_every_image_is_described(self, opened):
        images = opened.find_elements(By.TAG_NAME, "img")
        assert len(images) == 2 * 48
        assert all(image.get_attribute("alt") for image in images)

    @pytest.mark.parametrize("width", [320, 390, 1280])
    def test_no_width_makes_the_page_scroll_sideways(self, opened, width):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 1000}
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        finally:
            opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast(self, opened, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        luminance = {
            name: relative_luminance(
                opened.execute_script(
                    "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0])", f"--{name}"
                )
            )
            for name in ("text", "quiet", "accent", "success", "undone", "failure", "page", "panel")
        }
        assert (luminance["page"] > 0.5) == (scheme == "light")
        for background in ("page", "panel"):
            for name in luminance.keys() - {"page", "panel"}:
                low, high = sorted((luminance[background], luminance[name]))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, background)

    def test_hostile_names_do_nothing(self, opened, tmp_path, originals):
        run = finished_run(
            tmp_path / "run", originals[:2], model=HOSTILE, attacks=("cw", HOSTILE), names=[HOSTILE, "b"]
        )
        path = tmp_path / "page.html"
        path.write_text(report.page(read(run)))
        opened.get(path.as_uri())
        assert len(captions(opened)) == 4
        assert any(HOSTILE in caption for caption in captions(opened))
        Select(opened.find_element(By.NAME, "attack")).select_by_index(2)
        assert len(captions(opened)) == 2
        assert opened.execute_script("return typeof hacked") == "undefined"
        assert opened.find_elements(By.CSS_SELECTOR, "img[src='x']") == []

    def test_more_than_a_page_of_cards(self, opened, tmp_path, originals):
        run = finished_run(tmp_path / "run", np.tile(originals, (5, 1, 1, 1)))
        path = tmp_path / "page.html"
        path.write_text(report.page(read(run)))
        opened.get(path.as_uri())
        more = opened.find_element(By.ID, "more")
        for count in (48, 96, 120):
            assert len(captions(opened)) == count
            if count < 120:
                more.click()
        assert not more.is_displayed()


def sorted_by(page, heading: str) -> tuple[str, list[str]]:
    """How the first table is sorted by a column, and its cells there."""
    order, sorted_columns, cells = page.execute_script(
        """const table = document.querySelector("#tables table");
        const headings = [...table.querySelectorAll("th[aria-sort]")];
        const column = headings.findIndex((one) => one.innerText === arguments[0]);
        const order = (one) => one.getAttribute("aria-sort");
        return [order(headings[column]), headings.filter((one) => order(one) !== "none").length,
          [...table.tBodies[0].rows].map((row) => row.children[column].textContent)];""",
        heading,
    )
    assert sorted_columns == (order != "none")
    return order, cells


def test_tables_are_sorted_by_any_column(opened):
    """By keyboard: upwards, downwards, and as they were; what is not known comes last."""
    for heading in ("attack", "ms", "gradients", "D"):
        before = opened.execute_script(
            "return [...document.querySelectorAll('#tables tbody tr')].map((r) => r.innerText)"
        )
        found = {}
        opened.execute_script(
            "[...document.querySelectorAll('th button')].find((one) => one.innerText === arguments[0]).focus()", heading
        )
        for _ in range(3):
            ActionChains(opened).send_keys(Keys.ENTER).perform()
            order, cells = sorted_by(opened, heading)
            found[order] = cells
        assert list(found) == ["ascending", "descending", "none"]
        again = opened.execute_script(
            "return [...document.querySelectorAll('#tables tbody tr')].map((r) => r.innerText)"
        )
        assert again == before
        for order, cells in found.items():
            known = [cell for cell in cells if cell != terminal.NONE]
            assert cells[: len(known)] == known
            if order != "none":
                key = str if heading == "attack" else float
                assert known == sorted(known, key=key, reverse=order == "descending")


def test_dashes_come_last(opened):
    column = (
        "const cells = [...document.querySelectorAll('#tables tbody tr')].map((row) => row.children[1].textContent);"
    )
    for _ in range(2):
        opened.find_elements(By.CSS_SELECTOR, "th[aria-sort] button")[1].click()
        assert opened.execute_script(f"{column} return cells")[-1] == terminal.NONE


class TestCharts:
    def told(self, page, chart) -> tuple[str, dict[str, list[str]]]:
        """Where the slider is, and what the legend tells."""
        rows = chart.find_elements(By.CSS_SELECTOR, "tbody tr")
        cells = [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]
        return chart.find_element(By.TAG_NAME, "output").text, {name: numbers for name, *numbers in cells}

    def test_the_legend_tells_the_numbers_at_what_is_pointed_at(self, opened, folder):
        """By mouse, by touch and by keyboard; P(D) as computed and as delivered are those of the records."""
        run = records.read(folder).run
        chart = opened.find_element(By.CLASS_NAME, "chart")
        area, slider = chart.find_element(By.CLASS_NAME, "area"), chart.find_element(By.TAG_NAME, "input")
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)

        def check() -> float:
            text, legend = self.told(opened, chart)
            distortion = float(text)
            for attack, label in (("cw", "C&W"), ("scw", "sC&W")):
                near = []
                for shift in (-5e-4, 0, 5e-4):  # the text has four digits
                    both = (run.outcome(attack, delivered=delivered) for delivered in (False, True))
                    near.append([f"{one.characteristic(distortion * (1 + shift)):.3f}" for one in both])
                assert legend[label] in near
                assert f"{label} {' '.join(legend[label])}" in slider.get_attribute("aria-valuetext")
            return distortion

        last = check()
        ActionChains(opened).move_to_element(area).perform()
        middle = check()
        assert middle == pytest.approx(last / 2, rel=0.02)
        finger = ActionChains(opened, devices=[PointerInput("touch", "finger")])
        width = area.size["width"]
        finger.w3c_actions.pointer_action.move_to(area, x=round(width / 4)).pointer_down().pointer_up()
        finger.perform()
        assert check() == pytest.approx(0.75 * last, rel=0.02)
        opened.execute_script("arguments[0].focus()", slider)
        ActionChains(opened).send_keys(Keys.HOME, *[Keys.RIGHT] * 3).perform()
        assert check() == pytest.approx(0.015 * last, rel=0.01)

    def test_pointing_at_the_legend_brings_out_a_line(self, opened):
        chart = opened.find_element(By.CLASS_NAME, "chart")
        row = chart.find_elements(By.CSS_SELECTOR, "tbody tr")[1]
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", row)
        ActionChains(opened).move_to_element(row).perform()
        opacities = [line.value_of_css_property("opacity") for line in chart.find_elements(By.CSS_SELECTOR, "g")]
        assert opacities == ["0.15", "1", "0.15", "1"]

    def test_text_is_of_normal_size_at_any_width(self, opened):
        for width in (420, 1100):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 1000}
            opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            try:
                sizes = opened.execute_script(
                    "return [...document.querySelectorAll('.chart :is(span, td, th, b, figcaption)')].map("
                    "(one) => [parseFloat(getComputedStyle(one).fontSize), one.getBoundingClientRect().right])"
                )
            finally:
                opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            assert min(pixels_ for pixels_, _ in sizes) >= 14
            assert max(right for _, right in sizes) <= width


@pytest.fixture
def compared(opened, written):
    """Opens the page at an address."""

    def open_at(address: str):
        opened.get("about:blank")
        opened.get(f"{written.as_uri()}{address}")
        return opened

    return open_at


def side_by_side(page, count: int) -> None:
    """Waits until so many pictures are side by side, which the page draws once its address has changed."""
    WebDriverWait(page, 10).until(lambda page: len(windows(page)) == count)


def windows(page) -> list[tuple[str, dict[str, str]]]:
    """What is side by side: the picture's description and where it lies."""
    return page.execute_script(
        """return [...document.querySelectorAll("#panels img")].map((image) => {
          const { width, left, top } = image.style;
          return [image.alt, { width, left, top }];
        });"""
    )


def settled(page) -> str:
    """The page's address, once it tells what is seen."""
    return page.execute_async_script("setTimeout(() => arguments[0](location.hash), 400)")


class TestComparison:
    ADDRESS = "#image=00003&with=original&with=cw+on+c4&with=scw+on+c4_adversarial&as=image&zoom=30&x=7&y=9"

    def test_a_link_opens_the_image_attacks_and_zoom(self, compared):
        page = compared(self.ADDRESS)
        (first, place), *others = windows(page)
        assert first == "00003: original, class 3"
        assert [alt.split(":")[0] for alt, _ in others] == ["00003, C&W on c4", "00003, sC&W on c4_adversarial"]
        assert {tuple(other.items()) for _, other in others} == {tuple(place.items())}
        assert place["width"] == f"{28 * 30}px"
        window = page.find_element(By.CLASS_NAME, "window").size
        assert float(place["left"][:-2]) == pytest.approx(window["width"] / 2 - 7 * 30, abs=1)
        before = windows(page)
        assert windows(compared(settled(page))) == before

    def test_the_gallery_leads_there_and_back(self, compared):
        page = compared("#search=00003&view=perturbation")
        link = page.find_element(By.CSS_SELECTOR, "#cards .compare")
        page.execute_script("arguments[0].focus()", link)
        ActionChains(page).send_keys(Keys.ENTER).perform()
        side_by_side(page, 2)
        assert [alt.split(": ")[1].split(",")[0] for alt, _ in windows(page)] == ["original", "perturbation"]
        assert page.switch_to.active_element.get_attribute("id") == "panels"
        ActionChains(page).send_keys(Keys.ESCAPE).perform()
        assert page.switch_to.active_element == link
        assert settled(page) == "#view=perturbation&search=00003"
        assert len(captions(page)) == 4

    def test_keyboard(self, compared):
        page = compared("#image=00003&with=original&with=cw+on+c4")
        whole = windows(page)[0][1]
        ActionChains(page).send_keys("+", "+", "+").perform()
        assert float(windows(page)[0][1]["width"][:-2]) == pytest.approx(1.25**3 * float(whole["width"][:-2]), abs=0.1)
        before = windows(page)
        ActionChains(page).send_keys(Keys.RIGHT, Keys.DOWN, Keys.DOWN).perform()
        after = windows(page)
        assert before[0][1]["left"] != after[0][1]["left"]
        assert after[0][1] == after[1][1]
        assert "column 15, row 16: " in page.find_element(By.CSS_SELECTOR, "#panels .value").text
        ActionChains(page).send_keys("0").perform()
        assert windows(page)[0][1] == whole

    def test_the_marked_pixels_are_those_of_the_files(self, compared, folder):
        page = compared("#image=00004&with=original&with=cw+on+c4&with=scw+on+c4&zoom=40&x=11.5&y=20.5")
        told = [one.text for one in page.find_elements(By.CSS_SELECTOR, "#panels .value")]
        files = (records.read(folder).picture(4, attack) for attack in (records.ORIGINAL, "cw", "scw"))
        assert told == [f"column 11, row 20: {decoding.read(file)[20, 11, 0]}" for file in files]

    def test_wheel_and_drag(self, compared):
        page = compared("#image=00003&with=original&with=cw+on+c4")
        first, second = page.find_elements(By.CLASS_NAME, "window")
        origin = ScrollOrigin.from_element(first, -40, -40)
        under = "const {left, top, width} = document.querySelector('#panels img').getBoundingClientRect();"
        point = [first.rect["x"] + first.rect["width"] / 2 - 40, first.rect["y"] + first.rect["height"] / 2 - 40]
        share = f"{under} return [({point[0]} - left) / width, ({point[1]} - top) / width]"
        before = page.execute_script(share)
        ActionChains(page).scroll_from_origin(origin, 0, -300).perform()
        assert windows(page)[0][1] == windows(page)[1][1]
        assert page.execute_script(share) == pytest.approx(before, abs=0.01)  # what lies under the pointer stays there
        left = float(windows(page)[0][1]["left"][:-2])
        ActionChains(page).click_and_hold(second).move_by_offset(25, 0).release().perform()
        assert float(windows(page)[0][1]["left"][:-2]) == pytest.approx(left + 25, abs=1)

    def test_two_fingers_pinch(self, compared):
        page = compared("#image=00003&with=original&with=cw+on+c4")
        whole = float(windows(page)[0][1]["width"][:-2])
        window = page.find_element(By.CLASS_NAME, "window")
        x, y = (window.rect[a] + window.rect[b] / 2 for a, b in (("x", "width"), ("y", "height")))
        page.execute_cdp_cmd("Input.dispatchTouchEvent", touches("touchStart", x, y, 20))
        for apart in (30, 40, 60):
            page.execute_cdp_cmd("Input.dispatchTouchEvent", touches("touchMove", x, y, apart))
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert float(windows(page)[1][1]["width"][:-2]) == pytest.approx(3 * whole, rel=0.02)

    def test_attacks_and_images_are_chosen(self, compared):
        page = compared("#image=00003&with=original&with=cw+on+c4")
        page.find_element(By.CSS_SELECTOR, "#beside [value='scw on c4']").click()
        side_by_side(page, 3)
        assert page.switch_to.active_element.get_attribute("value") == "scw on c4"
        page.find_element(By.CSS_SELECTOR, "[name=as][value=magnified]").click()
        assert windows(page)[2][0] == "00003, sC&W on c4: magnified"
        page.find_element(By.ID, "next").click()
        assert page.find_element(By.ID, "compared").text == "00004"
        assert "image=00004" in settled(page)

    @pytest.mark.parametrize(
        "address", ["#image=nothing&with=cw", "#zoom=x&image=00003&as=no", "#view=no&order=no", "#="]
    )
    def test_an_address_of_something_else_shows_what_there_is(self, compared, address):
        page = compared(address)
        assert len(captions(page)) == 48
        assert len(page.find_elements(By.CSS_SELECTOR, "dialog[open]")) == ("image=00003" in address)

    def test_hostile_names_do_nothing_here_either(self, compared, tmp_path, originals):
        path = tmp_path / "page.html"
        path.write_text(report.page(read(hostile_run(tmp_path / "run", originals))))
        page = compared("")
        page.get(path.as_uri())
        page.execute_script("document.querySelector('#cards .compare').click()")
        side_by_side(page, 2)
        assert page.find_element(By.ID, "compared").text == HOSTILE


def test_a_page_without_images_or_without_runs_works_too(opened, folder, transferred, tmp_path):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns(records.IMAGES, "*.html"))
    path = tmp_path / "page.html"
    for runs, charts in ((read(tmp_path / "run"), 4), ({}, 0)):
        path.write_text(report.page(runs, transfers=[records.read_transfer(transferred)]))
        opened.get(path.as_uri())
        assert len(opened.find_elements(By.CLASS_NAME, "chart")) == charts
        opened.find_element(By.CSS_SELECTOR, "th button").click()
        assert opened.find_element(By.CSS_SELECTOR, "th").get_attribute("aria-sort") == "ascending"


def tab_to(page, selector: str) -> None:
    """Presses tab until an element of the selector has the focus, which must be seen on the screen."""
    for _ in range(200):
        ActionChains(page).send_keys(Keys.TAB).perform()
        if page.execute_script("return document.activeElement.matches(arguments[0])", selector):
            inside, outline = page.execute_script(
                """const {top, bottom} = document.activeElement.getBoundingClientRect();
                return [bottom > 0 && top < innerHeight, getComputedStyle(document.activeElement).outlineStyle];"""
            )
            assert (inside, outline) == (True, "solid")
            return
    raise AssertionError(f"no {selector} comes with the tab key")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (420, "light"),
        (1100, "dark"),
        pytest.param(420, "dark", marks=pytest.mark.slow),
        pytest.param(1100, "light", marks=pytest.mark.slow),
    ],
)
def test_all_of_it_by_keyboard_alone(opened, width, scheme):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 1000}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def press(*keys: str) -> None:
        ActionChains(opened).send_keys(*keys).perform()

    try:
        tab_to(opened, "#tables th button")
        press(Keys.ENTER)
        assert opened.execute_script("return document.activeElement.parentElement.ariaSort") == "ascending"
        tab_to(opened, ".slider input")
        press(Keys.HOME)
        assert opened.find_element(By.CSS_SELECTOR, ".slider output").text == "0"
        tab_to(opened, "[name=search]")
        press("00005")
        assert opened.find_element(By.ID, "count").text == "4 attacks on 1 image"
        tab_to(opened, "#cards .picture")
        press(Keys.SPACE)
        tab_to(opened, "#cards .compare")
        press(Keys.ENTER)
        side_by_side(opened, 2)
        before = windows(opened)
        press("+", Keys.RIGHT)
        assert windows(opened) != before
        tab_to(opened, "#beside input:not(:checked)")
        press(Keys.SPACE)
        side_by_side(opened, 3)
        tab_to(opened, "#close")
        press(Keys.ENTER)
        assert not opened.find_elements(By.CSS_SELECTOR, "dialog[open]")
        assert opened.execute_script("return document.activeElement.className") == "compare"
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def touches(kind: str, x: float, y: float, apart: float) -> dict:
    """Two fingers, so many pixels to the left and to the right of a point."""
    return {"type": kind, "touchPoints": [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]}


def relative_luminance(color: str) -> float:
    """Of "#rrggbb", as WCAG 2 defines it."""
    channels = [int(color.strip()[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.fixture(scope="module")
def previewed(tmp_path_factory) -> pathlib.Path:
    """A page, beside its images, with one image whole and previews of the other two."""
    photographs = natural(3, 256)
    names = ["one", "kind #1/b%20 c", "<i>"]
    run = finished_run(tmp_path_factory.mktemp("previewed"), photographs, names=names, dataset="nips2017")
    (run / "report.html").write_text(report.page(read(run), 1))
    return run


def in_files(page: pathlib.Path) -> list[dict]:
    return [card for card in embedded(page.read_text())["cards"] if card["files"]]


def natural_sizes(page) -> list[int]:
    """The widths of the images side by side, once they are there."""
    return page.execute_async_script(
        """const images = [...document.querySelectorAll("#panels img")];
        const replaced = (image) => new Promise((done) => { image.onload = done; });
        const settled = images.map((image) => image.decode().catch(() => replaced(image)));
        Promise.all(settled).then(() => arguments[0](images.map((image) => image.naturalWidth)));"""
    )


def badges(page) -> list[str]:
    """What the cards say that they show, all of them seen once and with time to open files."""
    return page.execute_async_script(
        """const [done] = arguments;
        const all = [...document.querySelectorAll(".picture")];
        all.forEach((picture, at) => setTimeout(() => picture.scrollIntoView({ block: "center" }), 150 * at));
        setTimeout(() => done(all.map((picture) => picture.dataset.badge)), 150 * all.length + 700);"""
    )


def panel_pixels(page) -> list[np.ndarray]:
    """The pixels of the pictures side by side, uint8 [H, W, 3], once they are no previews."""
    found = page.execute_async_script(
        """const [done] = arguments;
        const pixels = () => {
          const images = [...document.querySelectorAll("#panels img")];
          if (images.some((image) => image.className || !image.complete)) { setTimeout(pixels, 100); return; }
          done(images.map((image) => {
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.height, canvas.width, btoa(Array.from(rgba, (one) => String.fromCharCode(one)).join(""))];
          }));
        };
        pixels();"""
    )
    return [
        np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]
        for height, width, text in found
    ]


@contextlib.contextmanager
def served(folder: pathlib.Path):
    """The address of a server of the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestPreviews:
    def at(self, page, base: str, card: dict, view: str = "image"):
        page.get("about:blank")
        state = {"image": card["image"], "with": ["original", card["attack"]], "as": view}
        page.get(f"{base}/report.html#{urllib.parse.urlencode(state, doseq=True)}")

    def test_they_are_found_sorted_and_open_their_files(self, opened, previewed):
        opened.get((previewed / "report.html").as_uri())
        assert opened.find_element(By.ID, "count").text == "6 attacks on 3 images"
        assert badges(opened) == ["adversarial"] * 6
        choose(opened, "order", "distortion")
        assert values(opened, "D") == sorted(values(opened, "D"))
        name = "kind #1/b%20 c"
        assert name in {card["name"] for card in in_files(previewed / "report.html")}
        opened.find_element(By.NAME, "search").send_keys(name)
        assert [name in caption for caption in captions(opened)] == [True, True]
        picture = opened.find_element(By.CLASS_NAME, "picture")
        assert badges(opened) == ["adversarial"] * 2
        opened.execute_script("arguments[0].focus()", picture)
        ActionChains(opened).send_keys(Keys.SPACE).perform()
        assert "original" in shown(picture)[0]
        opened.find_element(By.CSS_SELECTOR, "[name=view][value=perturbation]").click()
        assert badges(opened) == ["preview of the original"] * 2  # browsers give the page no pixels of files
        picture = opened.find_element(By.CLASS_NAME, "picture")
        opened.execute_script("arguments[0].focus()", picture)
        ActionChains(opened).send_keys(Keys.ENTER).perform()
        side_by_side(opened, 2)
        ActionChains(opened).send_keys(Keys.ESCAPE).perform()
        assert opened.switch_to.active_element == picture

    def test_an_address_opens_the_files_as_they_are(self, opened, previewed):
        for card in in_files(previewed / "report.html"):
            self.at(opened, previewed.as_uri(), card)
            assert natural_sizes(opened) == [256, 256]
            sources = opened.execute_script(
                "return [...document.querySelectorAll('#panels img')].map((one) => one.src)"
            )
            files = [previewed / records.IMAGES / kind / f"{card['name']}.png" for kind in ("original", card["attack"])]
            assert [pathlib.Path(urllib.parse.unquote(urllib.parse.urlparse(one).path)) for one in sources] == files
            settled(opened)
            assert (
                "told once the folder of the run is opened"
                in opened.find_element(By.CSS_SELECTOR, "#panels .value").text
            )

    def test_a_server_lets_it_tell_the_values_too(self, browser, previewed):
        card = in_files(previewed / "report.html")[-1]
        with served(previewed) as base:
            self.at(browser, base, card)
            assert natural_sizes(browser) == [256, 256]
            settled(browser)
            told = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#panels .value")]
        files = [previewed / records.IMAGES / kind / f"{card['name']}.png" for kind in ("original", card["attack"])]
        expected = [", ".join(map(str, decoding.read(file)[128, 128])) for file in files]
        assert told == [f"column 128, row 128: {value}" for value in expected]
        assert browser.get_log("browser") == []
        browser.get_log("performance")

    @pytest.mark.parametrize("way", ["server", "folder"])
    def test_views_are_those_that_python_computes(self, browser, previewed, way):
        """From the files of a web server, or of a folder that the reader opens."""
        cards = in_files(previewed / "report.html")
        group = [card for card in cards if card["image"] == cards[0]["image"]]
        name, attacks = cards[0]["name"], [card["attack"] for card in group]
        files = [previewed / records.IMAGES / kind / f"{name}.png" for kind in ("original", *attacks)]
        original, *changed = [decoding.read(file) for file in files]
        magnified = pictures.magnified([original, *changed])
        expected = {
            "perturbation": [(original, pictures.perturbation(original, one)) for one in changed],
            "magnified": [(magnified[0], one) for one in magnified[1:]],
        }
        with served(previewed) as base:
            self.at(browser, base if way == "server" else previewed.as_uri(), cards[0], "perturbation")
            if way == "folder":
                settled(browser)
                told = browser.find_element(By.CSS_SELECTOR, "#panels .value").text
                assert told.startswith("Only a preview of the original: open the folder of the run")
                browser.find_element(By.CSS_SELECTOR, "dialog .folder input").send_keys(str(previewed))
            for view, pairs in expected.items():
                browser.find_element(By.CSS_SELECTOR, f"[name=as][value={view}]").click()
                for found, picture in zip(panel_pixels(browser), pairs[0], strict=True):
                    assert np.abs(found.astype(int) - picture).max() <= 1
            browser.find_element(By.ID, "close").click()
            browser.find_element(By.CSS_SELECTOR, "[name=view][value=perturbation]").click()
            assert badges(browser) == ["perturbation"] * 6
        browser.get_log("browser")
        browser.get_log("performance")

    def test_files_that_have_changed_are_not_shown_as_what_they_were(self, browser, previewed, tmp_path):
        shutil.copytree(previewed, tmp_path / "run")
        card = in_files(previewed / "report.html")[0]
        file = tmp_path / "run" / records.IMAGES / card["attack"] / f"{card['name']}.png"
        changed = decoding.read(file).copy()
        changed[0, 0, 0] ^= 1
        PIL.Image.fromarray(changed).save(file)
        with served(tmp_path / "run") as base:
            self.at(browser, base, card, "perturbation")
            assert natural_sizes(browser) == [128, 128]
            settled(browser)
            told = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#panels .value")]
        assert all("has changed since this report was made" in text for text in told)
        browser.get_log("browser")
        browser.get_log("performance")

    def test_grey_images_are_magnified_as_grey(self, browser, tmp_path, originals):
        run = finished_run(tmp_path, originals[:2])
        (run / "report.html").write_text(report.page(read(run), 1))
        card = in_files(run / "report.html")[0]
        kinds = ("original", *json.loads((run / records.SETTINGS).read_text())["attacks"])
        expected = pictures.magnified([decoding.read(records.read(run).picture(card["index"], kind)) for kind in kinds])
        with served(run) as base:
            self.at(browser, base, card, "magnified")
            for found, picture in zip(panel_pixels(browser), (expected[0], expected[kinds.index(card["attack"])])):
                assert np.abs(found.astype(int) - picture).max() <= 1
        browser.get_log("performance")

    def test_without_the_files_a_line_says_so(self, browser, previewed, tmp_path):
        shutil.copy(previewed / "report.html", tmp_path)
        card = in_files(previewed / "report.html")[0]
        self.at(browser, tmp_path.as_uri(), card)
        assert natural_sizes(browser) == [128, 128]
        settled(browser)
        told = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#panels .value")]
        assert told == [
            f"Only a preview of the original: cannot open {file} from where this page lies." for file in card["files"]
        ]
        assert badges(browser) == ["adversarial"] * 2 + ["preview of the original"] * 4
        assert all("ERR_FILE_NOT_FOUND" in entry["message"] for entry in browser.get_log("browser"))
        browser.get_log("performance")


def test_the_binary_writes_the_file_and_names_it(folder, other, tmp_path):
    finished = here("eval.report", folder, other, "--num_images=2", f"--output={tmp_path / 'page.html'}")
    assert finished.status == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_help_teaches():
    finished = here("eval.report", "--helpshort")
    assert "python -m eval.report results/c4 results/c4_adversarial" in finished.stdout
    assert "--num_images: At most so many images" in finished.stdout
