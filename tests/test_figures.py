"""Figures: what is drawn, by what matplotlib was told to draw; and the binaries that draw."""

from __future__ import annotations

import pathlib

import numpy as np
import PIL.Image
import pytest

from tests.many_runs import here
from tests.test_report import finished_run
from tf_smoothadv.evaluation import presets, records
from tf_smoothadv.evaluation.data import decoding
from tf_smoothadv.evaluation.rendering import pictures, plots, sheets


@pytest.fixture(scope="module")
def originals() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = PIL.Image.fromarray(rng.integers(0, 256, (10 * 4, 4), np.uint8)).resize((28, 280), PIL.Image.BICUBIC)
    return np.array(smooth).reshape(10, 28, 28, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, originals) -> pathlib.Path:
    return finished_run(tmp_path_factory.mktemp("run"), originals, attacks=("fgsm", "cw", "scw"))


@pytest.fixture(scope="module")
def other(tmp_path_factory, originals) -> pathlib.Path:
    path = tmp_path_factory.mktemp("other")
    return finished_run(path, originals, attacks=("cw", "own"), model="c4_adversarial", seed=1)


def run_of(folder: pathlib.Path):
    return records.read(folder).run


class TestPlots:
    def test_characteristic_draws_p_of_d(self, folder):
        run = run_of(folder)
        (axes,) = plots.characteristic({"c4": run}).axes
        lines = {line.get_label(): line for line in axes.lines}
        for name in run.attacks:
            distortion, share = lines[plots.label(name)].get_data()
            np.testing.assert_array_equal(share, run.outcome(name).characteristic(distortion))
        assert len(axes.lines) == 6  # as computed and, thin, as delivered

    def test_networks_differ_by_line_and_attacks_by_colour_and_marker(self, folder, other):
        (axes,) = plots.characteristic({"a": run_of(folder), "b": run_of(other)}).axes
        look = {line.get_label(): (line.get_linestyle(), line.get_color(), line.get_marker()) for line in axes.lines}
        assert list(look) == ["FGSM, a", "C&W, a", "sC&W, a", "C&W, b", "own, b"]
        assert [line for line, _, _ in look.values()] == ["-", "-", "-", ":", ":"]
        assert look["C&W, a"][1:] == look["C&W, b"][1:]
        assert len({tuple(rest) for _, *rest in look.values()}) == 4

    def test_attacks_of_unknown_names_differ_too(self, tmp_path, originals):
        attacks = ("cw", *(f"own {number}" for number in range(6)))
        run = run_of(finished_run(tmp_path / "run", originals[:3], attacks=attacks))
        for figure in (plots.characteristic({"c4": run}), plots.plane({"c4": run})):
            (axes,) = figure.axes
            looks = {(line.get_color(), line.get_marker()) for line in axes.lines if line.get_marker() != "None"}
            assert len(looks) == len(attacks)

    def test_plane_has_each_attack_as_computed_and_delivered(self, folder):
        run = run_of(folder)
        (axes,) = plots.plane({"c4": run}).axes
        found = [line.get_data() for line in axes.lines if len(line.get_xdata()) == 1]
        expected = []
        for name in run.attacks:
            for delivered in (False, True):
                outcome = run.outcome(name, delivered=delivered)
                expected.append((outcome.mean_distortion, outcome.mean_smoothness_energy))
        np.testing.assert_allclose(np.squeeze(found), expected)

    def test_budget_draws_success_and_distortion_by_gradients(self, folder, other):
        runs = {"c4": run_of(folder), "other": run_of(other)}
        panels = iter(plots.budget(runs, [1.5], [0.5, 2.0]).axes)
        for run in runs.values():
            success, within, distortion = (dict(zip(run.attacks, next(panels).lines)) for _ in range(3))
            robust = [(epsilon, dict(zip(run.attacks, next(panels).lines))) for epsilon in (0.5, 2.0)]
            for name in run.attacks:
                progress = run.progress(name)
                gradients, share = success[name].get_data()
                assert (gradients[0], gradients[-1]) == (1, max(run.outcome(name).gradients))
                np.testing.assert_array_equal(share, progress.p_suc(gradients))
                np.testing.assert_array_equal(within[name].get_ydata(), progress.p_suc(gradients, 1.5))
                for epsilon, lines in robust:
                    taken = [run.robust_accuracy(name, epsilon, int(k)).value for k in gradients]
                    np.testing.assert_allclose(lines[name].get_ydata(), taken)
                known, median = distortion[name].get_data()
                np.testing.assert_array_equal(median, progress.median_distortion(known))
                assert known.tolist() == [k for k in gradients if np.isfinite(progress.median_distortion(k))]
        assert not list(panels)

    def test_sheet_shows_every_pixel_and_tells_success_by_colour(self, rng):
        grey, colour = rng.integers(0, 256, (5, 4, 1), np.uint8), rng.random((3, 3, 3))
        rows = [
            [pictures.Panel(grey, "a $ name", True), pictures.Panel(None)],
            [pictures.Panel(colour, "b", False, True)],
        ]
        first, second, third, fourth = plots.sheet(rows).axes
        np.testing.assert_array_equal(first.images[0].get_array(), grey[..., 0])
        np.testing.assert_array_equal(third.images[0].get_array(), colour)
        assert [len(axes.images) for axes in (first, second, third, fourth)] == [1, 0, 1, 0]
        assert (first.title.get_color(), third.title.get_color()) == (plots.SUCCESS, plots.FAILURE)
        assert (first.title.get_weight(), third.title.get_weight()) == ("normal", "bold")

    @pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
    def test_an_attack_without_success_is_no_error(self, tmp_path, originals, kind):
        path = finished_run(tmp_path / "run", originals[:1], attacks=("cw",))
        run = run_of(path)
        assert run.p_suc == {"cw": 0.0}
        plots.save(plots.characteristic({"$c4_": run}), tmp_path / f"c.{kind}")
        plots.save(plots.plane({"$c4_": run}), tmp_path / f"p.{kind}")
        plots.save(plots.budget({"$c4_": run}), tmp_path / f"b.{kind}")
        assert all((tmp_path / f"{name}.{kind}").stat().st_size > 1000 for name in "cpb")


class TestSheets:
    def test_worst_case_is_the_largest_success_as_delivered(self, folder):
        finished = records.read(folder)
        rows = sheets.worst(finished)
        starred = {}
        for above, below in zip(rows[::2], rows[1::2]):
            assert [panel.success for panel in above] == [panel.success for panel in below]
            for panel in above[1:]:
                assert panel.bold == panel.title.endswith("*")
                if panel.bold:
                    starred[panel.title[:-1]] = above[0].title
        for attack in finished.run.attacks:
            successes = [one for one in finished.run.records if one.attack == attack and one.delivered.success]
            worst = max(successes, key=lambda record: record.delivered.distortion)
            assert starred[presets.label(attack)] == finished.images[worst.index]

    def test_below_each_image_stands_what_was_added(self, folder):
        finished = records.read(folder)
        above, below = sheets.worst(finished)[:2]
        position = finished.images.index(above[0].title)
        original = decoding.read(finished.picture(position))
        np.testing.assert_array_equal(above[0].picture, original)
        for image, added in zip(above[1:], below[1:]):
            np.testing.assert_array_equal(added.picture, pictures.perturbation(original, image.picture))

    def test_magnified_sheet_goes_from_the_weakest_to_the_strongest(self, folder):
        finished = records.read(folder)
        rows = sheets.magnified(finished, 3)
        distortions = {
            finished.images[record.index]: record.delivered.distortion
            for record in finished.run.records
            if record.attack == "scw"
        }
        shown = [distortions[row[0].title] for row in rows]
        assert shown == sorted(shown)
        assert (shown[0], shown[-1]) == (min(distortions.values()), max(distortions.values()))
        for row in rows:
            assert [panel.title for panel in row[1:2]] == ["magnified"]
            assert len(row) == 2 + 3

    @pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (9, [0, 1, 2, 3, 4])])
    def test_spread(self, count, expected):
        assert sheets.spread(range(5), count) == expected


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/x.png"], ["x"]),
        (["a/x.png", "a/y.jpg"], ["x", "y"]),
        (["a/original/x.png", "a/cw/x.png"], ["original_x", "cw_x"]),
    ],
)
def test_magnified_files_get_names_of_their_own(files, names):
    assert pictures.distinct_names([pathlib.Path(file) for file in files], "side_by_side") == names


@pytest.mark.parametrize("files", [["a/x.png", "a/x.jpg"], ["a/side_by_side.png"]])
def test_two_pictures_for_one_file_are_refused(files):
    with pytest.raises(ValueError, match=r"two pictures would be written to .*\.png"):
        pictures.distinct_names([pathlib.Path(file) for file in files], "side_by_side")


@pytest.mark.slow
def test_figures_of_two_runs(folder, other, tmp_path):
    done = here("eval.figures", folder, other, f"--output={tmp_path}", "--formats=png,pdf")
    assert done.status == 0, done.stderr
    names = [
        "characteristic",
        "plane",
        "budget",
        *(f"{kind}_{model}" for model in ("c4", "c4_adversarial") for kind in ("worst", "magnified")),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("png", "pdf")
    )


def test_magnify_writes_every_image_and_the_sheet(folder, tmp_path, originals):
    files = [folder / "images" / attack / "00003.png" for attack in ("original", "cw")]
    done = here("eval.magnify", *files, f"--output={tmp_path}")
    assert done.status == 0, done.stderr
    assert done.stdout.endswith(f"original_00003.png, cw_00003.png and side_by_side.png are in {tmp_path}\n")
    expected = pictures.magnified([decoding.read(file) for file in files])
    for name, picture in zip(("original", "cw"), expected):
        np.testing.assert_array_equal(decoding.read(tmp_path / f"{name}_00003.png"), picture)
