"""A comparison of systems as tables, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from audioseg_xai.comparison import (
    FEW,
    METRICS,
    Bootstrap,
    Comparison,
    Difference,
    Estimate,
    Fidelity,
    Interval,
)
from audioseg_xai.sheets import Sheet


def sheets(
    found: Comparison,
    bootstrap: Bootstrap,
    fidelity_to: str | None = None,
    fidelities: Mapping[str, Mapping[str, Fidelity]] | None = None,
) -> list[Sheet]:
    """Return the tables of a comparison.

    Parameters
    ----------
    found : Comparison
        What was measured.
    bootstrap : Bootstrap
        How intervals were made.
    fidelity_to : str, optional
        The system that the others are to stand for.
    fidelities : mapping of str to mapping of str to Fidelity, optional
        Of each of the others, by class.
    """
    parts = {"": found} | found.groups
    tables = [_f1(parts, bootstrap), _details(parts)]
    if found.differences:
        tables.append(_differences(parts))
    if fidelity_to is not None:
        tables.append(_fidelities(fidelity_to, fidelities or {}))
    return tables


def _f1(parts: Mapping[str, Comparison], bootstrap: Bootstrap) -> Sheet:
    whole = parts[""]
    count = whole.recordings
    sure = (
        f"in brackets the {bootstrap.confidence:g} % interval of {bootstrap.resamples} bootstrap "
        "resamples of the recordings"
    )
    if count == 1:
        sure = "one recording, so no interval can be given"
    elif count < FEW:
        sure += f", which is too narrow with fewer than {FEW} recordings"
    caption = f"F1 in %, pooled over {_recordings(count)}; {sure}."
    rows = [
        [*_group(parts, group), name, *(_with_interval(e, "f1") for e in by_class.values())]
        for group, part in parts.items()
        for name, by_class in part.systems.items()
    ]
    classes = next(iter(whole.systems.values()))
    header = [*_group_header(parts), "F1 %", *classes]
    return Sheet(caption, header, rows, names=len(header) - len(classes))


def _details(parts: Mapping[str, Comparison]) -> Sheet:
    ratios = [f"{metric} %" for metric in METRICS[:2]]
    header = [*_group_header(parts), "system", "class", *ratios, "reference s", "hypothesis s"]
    rows = [
        [*_group(parts, group), name, label, *_detail_cells(estimate)]
        for group, part in parts.items()
        for name, by_class in part.systems.items()
        for label, estimate in by_class.items()
    ]
    return Sheet("Precision and recall in %, and seconds.", header, rows, names=len(header) - 4)


def _detail_cells(estimate: Estimate) -> list[str]:
    seconds = (estimate.counts.reference, estimate.counts.hypothesis)
    ratios = (_with_interval(estimate, metric) for metric in METRICS[:2])
    return [*ratios, *(f"{value:.1f}" for value in seconds)]


def _differences(parts: Mapping[str, Comparison]) -> Sheet:
    caption = (
        "Differences in F1, in points, on the same resamples; how many of them have another sign, "
        "and p of no difference (two-sided, not corrected for the number of comparisons)."
    )
    header = [*_group_header(parts), "difference", "class", "F1 points", "other sign %", "p"]
    rows = [
        [*_group(parts, group), f"{d.second} - {d.first}", d.label, *_difference_cells(d)]
        for group, part in parts.items()
        for d in part.differences
        if part.systems[d.first][d.label].counts.reference
    ]
    return Sheet(caption, header, rows, names=len(header) - 3)


def _difference_cells(difference: Difference) -> Iterator[str]:
    yield f"{100 * difference.f1:+.1f}" + _brackets(difference.interval, "+.1f")
    yield "-" if difference.flips is None else f"{100 * difference.flips:.1f}"
    yield "-" if difference.p_value is None else f"{difference.p_value:.2g}"


def _fidelities(model: str, fidelities: Mapping[str, Mapping[str, Fidelity]]) -> Sheet:
    caption = (
        f"Fidelity to {model}: its output as the reference, and the share of the time in which "
        "both decide alike."
    )
    rows = [
        [name, label, f"{100 * found.counts.f1:.1f}", f"{100 * found.agreement:.1f}"]
        for name, by_class in fidelities.items()
        for label, found in by_class.items()
    ]
    return Sheet(caption, ["system", "class", "F1 %", "alike %"], rows, names=2)


def _group_header(parts: Mapping[str, Comparison]) -> list[str]:
    return ["recordings"] if len(parts) > 1 else []


def _group(parts: Mapping[str, Comparison], group: str) -> list[str]:
    return [f"{group or 'all'} ({parts[group].recordings})"] if len(parts) > 1 else []


def _with_interval(estimate: Estimate, metric: str) -> str:
    if not estimate.counts.reference:
        return "-"  # the ratios of nothing are 1 by convention, and would look like a success
    value = f"{100 * getattr(estimate.counts, metric):.1f}"
    return value + _brackets(estimate.intervals.get(metric), ".1f")


def _brackets(interval: Interval | None, form: str) -> str:
    if interval is None:
        return ""
    low, high = (format(100 * bound, form) for bound in interval)
    return f" [{low}, {high}]"


def _recordings(count: int) -> str:
    return f"{count} recording{'s' * (count != 1)}"
