"""A report to look at: one HTML file of results, with everything in it, for any browser, offline."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tf_smoothadv import magnification
from tf_smoothadv.evaluation import presets
from tf_smoothadv.evaluation.records import Finished
from tf_smoothadv.evaluation.rendering import charts, offline, page_tables, pictures
from tf_smoothadv.evaluation.rendering.gallery import VIEWS, gallery
from tf_smoothadv.evaluation.rendering.terminal import compact
from tf_smoothadv.visibility import MEASURES

__all__ = ["page", "settings"]

PARTS = ("charts", "sorting", "gallery", "files", "compare", "address")


def page(
    runs: Mapping[str, Finished],
    num_images: int | None = None,
    transfers: Sequence[dict[str, Any]] = (),
    place: pathlib.Path | None = None,
) -> str:
    """The HTML file.

    Args:
        runs: by the name to show.
        num_images: as `gallery` takes it.
        transfers: what `eval.transfer` found.
        place: as `gallery` takes it.
    """
    drawn = {name: list(charts.charts(finished.run)) for name, finished in runs.items()}
    detection, blind = page_tables.detection(runs), page_tables.blind(runs)
    return offline.rendered(
        "report",
        PARTS,
        runs=runs,
        tables=[
            *page_tables.white_box(runs),
            *detection,
            *blind,
            *(table for summary in transfers for table in page_tables.transfer(summary)),
        ],
        transfers=transfers,
        detected=bool(detection),
        asked=bool(blind),
        charts=drawn,
        chart_data=[
            {"stops": chart.stops, "lines": [line.values for line in chart.lines]}
            for drawings in drawn.values()
            for chart in drawings
        ],
        measures=[
            MEASURES[name] for name in MEASURES if any(name in finished.run.measures for finished in runs.values())
        ],
        settings={name: settings(finished) for name, finished in runs.items()},
        gallery=gallery(runs, num_images, place),
        views=list(VIEWS),
        magnification=_magnification(),
        labels={name: entry.label for name, entry in presets.ENTRIES.items()},
    )


def _magnification() -> dict[str, float]:
    """What `pictures.magnified` is computed with, for a page that computes it itself."""
    setting = magnification.SETTINGS[pictures.SETTING]
    return {"beta": pictures.BETA, "radius": setting.radius, **setting._asdict()}


def settings(finished: Finished) -> dict[str, str]:
    """What the run was made with, as text by name."""
    common: dict[str, Any] = {
        "folder": finished.folder,
        "images": finished.data,
        "settings": finished.settings,
        "levels": finished.levels,
    }
    return {
        **{name: str(value) for name, value in common.items() if value is not None},
        **{presets.label(name): compact(values) for name, values in finished.attacks.items()},
    }
