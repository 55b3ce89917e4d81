"""The report as text, and in a real browser."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import pathlib
import re
import shutil

import numpy as np
import PIL.Image
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.many_runs import here
from tf_smoothadv import metrics
from tf_smoothadv.evaluation import records
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import gallery, pictures, published, report, terminal

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
        (table,) = report.white_box_tables(read(folder, other))
        rows = [json.loads(line) for line in (folder / records.RECORDS).read_text().splitlines()]
        rows = [row for row in rows if row["attack"] == "scw"]
        successes = [row for row in rows if row["computed"]["success"]]
        delivered = [row for row in rows if row["delivered"]["success"]]
        cells, _ = table.rows["scw"]
        assert list(table.rows) == ["cw", "scw", "fgsm"]
        assert cells[0] == f"{len(successes) / len(rows):.3f}"
        assert cells[1] == f"{np.mean([row['computed']['distortion'] for row in successes]):.2f}"
        assert cells[3] == f"{len(delivered) / len(rows):.3f}"
        assert cells[4] == f"{np.mean([row['delivered']['distortion'] for row in delivered]):.2f}"
        assert cells[6:8] == ["101", "250"]

    def test_networks_of_one_dataset_stand_side_by_side_with_the_papers_numbers(self, folder, other):
        (table,) = report.white_box_tables(read(folder, other))
        assert [group.heading for group in table.groups] == ["c4", "c4_adversarial"]
        for row in table.rows.values():
            for group, cells in zip(table.groups, row, strict=True):
                assert len(cells) == sum(map(len, group.parts.values()))
        first, second = table.rows["scw"]
        assert (first[8:], second[8:]) == (["1.00", "1.97"], ["0.99", "2.39"])
        assert set(table.rows["fgsm"][0][:8]) == {terminal.NONE}

    def test_other_datasets_have_tables_of_their_own(self, folder, tmp_path, originals):
        photographs = finished_run(tmp_path, originals, model="net.keras", dataset="nips2017")
        first, second = report.white_box_tables(read(folder, photographs))
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
        (table,) = report.transfer_tables(records.read_transfer(transferred))
        assert table.caption == "Attacks on inception_v3, judged by each network: 8 of 10 images of nips2017"
        assert [group.note for group in table.groups] == ["accuracy 0.800", "accuracy 0.700", "accuracy 0.900"]
        assert ["paper" in group.parts for group in table.groups] == [False, True, True]
        own, filtered, adversarial = table.rows["cw"]
        assert own == ["0.250", "5.12", "0.500"]
        assert filtered == [*own, "0.82", "4.75"]
        assert adversarial == [*own, "0.02", "10.21"]
        assert table.rows["own"][1] == ["0.000", *4 * [terminal.NONE]]

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

    def test_one_image_in_two_runs_is_one(self, folder, other):
        made = gallery.gallery(read(folder, other))
        assert (made["num_images"], made["num_shown"], len(made["cards"])) == (12, 12, 48)
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
        assert gallery.gallery(read(folder), num_images=3)["num_shown"] == 3
        whole = gallery.gallery(read(folder))
        monkeypatch.setattr(gallery, "BUDGET", sum(map(len, whole["pictures"])) // 2)
        half = gallery.gallery(read(folder))
        assert 3 <= half["num_shown"] <= 6
        assert sum(map(len, half["pictures"])) <= gallery.BUDGET
        monkeypatch.setattr(gallery, "BUDGET", 1)
        assert gallery.gallery(read(folder))["num_shown"] == 1

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
    def test_two_hundred_photographs_under_six_attacks_stay_under_20_mb(self, tmp_path):
        rng = np.random.default_rng(0)
        frequency = np.hypot(np.fft.fftfreq(299)[:, None], np.fft.rfftfreq(299))
        spectrum = 1 / np.maximum(frequency, 1 / 299)  # natural images have amplitudes of 1 / frequency

        def photograph() -> np.ndarray:
            waves = spectrum * np.exp(2j * np.pi * rng.uniform(size=(3, *frequency.shape)))
            planes = np.fft.irfft2(waves, s=(299, 299)).transpose(1, 2, 0)
            return np.clip(128 + 50 * planes / planes.std(), 0, 255).astype(np.uint8)

        photographs = np.stack([photograph() for _ in range(200)])
        attacks = ("fgsm", "ifgsm", "pgd2", "cw", "spgd2", "scw")
        page = report.page(read(finished_run(tmp_path, photographs, attacks=attacks, dataset="nips2017")))
        assert 15e6 < len(page.encode()) < 20e6
        assert len({card["name"] for card in embedded(page)["cards"]}) >= 3


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
        assert len(images) == 2 * 2 + 2 * 48  # two figures a run, two pictures a card
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


def relative_luminance(color: str) -> float:
    """Of "#rrggbb", as WCAG 2 defines it."""
    channels = [int(color.strip()[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_the_binary_writes_the_file_and_names_it(folder, other, tmp_path):
    finished = here("eval.report", folder, other, "--num_images=2", f"--output={tmp_path / 'page.html'}")
    assert finished.status == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_help_teaches():
    finished = here("eval.report", "--helpshort")
    assert "python -m eval.report results/c4 results/c4_adversarial" in finished.stdout
    assert "--num_images: At most so many images" in finished.stdout
