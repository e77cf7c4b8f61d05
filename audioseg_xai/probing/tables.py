"""What a probe shows, as tables for people."""

from __future__ import annotations

import math

from audioseg_xai.probing.probe import Probed, Quality
from audioseg_xai.sheets import Sheet

_SHOWN = 5  # components of a label


def sheets(found: Probed) -> list[Sheet]:
    """Return the tables of a probe: how good it is, its confusions, what it rests on."""
    return [_quality(found), _confusion(found), _components(found)]


def _quality(found: Probed) -> Sheet:
    tested = int(found.confusion.sum())
    folds = f"{len(found.folds)} folds" if len(found.folds) > 1 else "one split"
    caption = (
        f"Linear probe of {len(found.labels)} labels, {tested} examples tested in {folds}; chance "
        "is the most frequent label."
    )
    header = ["%", "accuracy", "macro F1", "UAR"]
    rows = [["probe", *_percents(found.quality)], ["chance", *_percents(found.chance)]]
    return Sheet(caption, header, rows, names=1)


def _percents(quality: Quality) -> list[str]:
    return [f"{100 * value:.1f}" for value in (quality.accuracy, quality.macro_f1, quality.uar)]


def _confusion(found: Probed) -> Sheet:
    rows = [
        [label, *map(str, counts)]
        for label, counts in zip(found.labels, found.confusion.tolist(), strict=True)
    ]
    caption = "Examples by label (row) and answer (column)."
    return Sheet(caption, ["label", *found.labels], rows, names=1)


def _components(found: Probed) -> Sheet:
    caption = (
        "Components that speak most for each label, with their centre: relevance (coefficient of "
        "the probe times difference, in logits), and difference that the label makes (in standard "
        "deviations; negative: the component is weaker there)."
    )
    rows = [
        [label, str(k), *_component_cells(found, row, k)]
        for row, label in enumerate(found.labels)
        for k in found.top(label, _SHOWN)
    ]
    header = ["label", "component", "Hz", "relevance", "difference"]
    return Sheet(caption, header, rows, names=1)


def _component_cells(found: Probed, row: int, k: int) -> list[str]:
    centre = found.frequencies[k]
    hertz = "-" if math.isnan(centre) else f"{centre:.0f}"
    return [hertz, f"{found.relevance[row, k]:.2f}", f"{found.differences[row, k]:+.2f}"]
