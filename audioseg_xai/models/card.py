"""The model card: what a model is, what it was made of, how good it is, where it fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from audioseg_xai.labels import CLASSES

if TYPE_CHECKING:
    from audioseg_xai.models.configs import StudentConfig
    from audioseg_xai.models.stored import ModelConfig


def render_card(config: ModelConfig) -> str:
    """Return the card of a model in Markdown, made of nothing but its ``config.json``."""
    parts = [
        _head(config),
        _metrics(config),
        _decoding(config),
        _training(config.provenance),
        _data(config.data),
        _licence(config.licence),
        _mistakes(config),
        _limits(config),
        _provenance(config.provenance),
    ]
    return "\n".join(part for part in parts if part)


def training_sources(manifest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each source of a pool that was trained on, for `ModelConfig.data`.

    Parameters
    ----------
    manifest : list of dict
        What ``manifest.json`` of a source pool holds.
    """
    rows = []
    for source in manifest:
        hours = {
            part["kind"]: round(part["hours"], 2)
            for part in source["parts"]
            if part["split"] == "train"
        }
        if hours:
            package = source.get("package") or {}
            row = {"source": source["source"], "version": package.get("version", "")}
            row |= {"licence": source["licence"], "attribution": source.get("attribution", "")}
            rows.append(row | {"hours": ", ".join(f"{k} {v}" for k, v in hours.items())})
    return rows


def _head(config: ModelConfig) -> str:
    network = config.network
    what = (
        f"Explainable student: {_components(network)} "
        f"({'trained along' if network.trainable_dictionary else 'fixed'})"
        if network.kind == "student"
        else "Teacher (black box)"
    )
    return (
        f"# audioseg_xai {network.kind}\n\n{what}. Decides {', '.join(config.decoding)}, "
        "several at once, every 20 ms, on 16 kHz audio. "
        f"{network.spectrogram.num_bins} frequency bins, TCN of {network.tcn.channels} channels, "
        f"{2 * network.receptive_field + 1} frames of context.\n"
    )


def _components(network: StudentConfig) -> str:
    if network.branches == 1:
        return f"{network.components} components of an NMF dictionary"
    each = network.components // network.branches
    return f"{network.branches} branches with {each} components of an NMF dictionary each"


def _metrics(config: ModelConfig) -> str:
    lines = ["## How good it is\n"]
    for dataset, by_class in config.metrics.items():
        names = list(dict.fromkeys(name for values in by_class.values() for name in values))
        lines.append(f"{dataset}:\n")
        rows = [
            [c, *(f"{values.get(n, float('nan')):.3f}" for n in names)]
            for c, values in by_class.items()
        ]
        lines += [*_table(["class", *names], rows), ""]
    return "\n".join(lines)


def _decoding(config: ModelConfig) -> str:
    rows = [
        [name, f"{d.onset:.3f}", f"{d.offset:.3f}", f"{d.min_duration:.2f}", f"{d.min_gap:.2f}"]
        for name, d in config.decoding.items()
    ]
    header = ["class", "onset", "offset", "min duration (s)", "min gap (s)"]
    return "\n".join(["## How it decides\n", *_table(header, rows), ""])


def _training(origin: dict[str, Any]) -> str:
    parts = origin.get("parts", [])
    lines = _ways(parts or [origin])
    if not lines:
        return ""
    if parts:
        joined = f"{len(parts)} students side by side, trained apart:\n"
        lines = [joined, *(f"{number}. {line}" for number, line in enumerate(lines, start=1))]
    return "\n".join(["## How it was trained\n", *lines, ""])


def _ways(origins: list[dict[str, Any]]) -> list[str]:
    """Return how each of several networks was trained, nothing where it is known of none."""
    ways = [_way(origin) for origin in origins]
    return [way or "Not known." for way in ways] if any(ways) else []


_COMBINED = {
    "averaged": "The mean of the weights of {} networks",
    "parts": "{} students side by side",
}
"""Under what name a provenance has those of several networks, and what was made of them."""


def _way(origin: dict[str, Any]) -> str:
    """Return how a network was trained, empty where nothing is known."""
    for name, what in _COMBINED.items():
        if states := _ways(origin.get(name, [])):
            numbered = (f"({number}) {way}" for number, way in enumerate(states, start=1))
            return f"{what.format(len(states))}: {' '.join(numbered)}"
    loss = origin.get("config", {}).get("loss")
    if not loss:
        return ""
    weights = ", ".join(f"{name} {value:g}" for name, value in loss.items() if _counts(value))
    inputs = origin.get("inputs", {})
    how = _taught(inputs) if loss["alpha"] else "by design, from labels alone"
    start = inputs.get("start", "").split()
    whom = "another student" if len(start) == 1 else f"{len(start)} students side by side"
    began = f" It went on from {whom} (weights {_short(start)})." if start else ""
    return f"{how.capitalize()}.{began} Weights of the loss: {weights}."


def _taught(inputs: dict[str, str]) -> str:
    digests = inputs.get("teacher", "").split()
    if len(digests) < 2:
        return "distilled from a teacher"
    return f"distilled from the mean of {len(digests)} teachers (weights {_short(digests)})"


def _short(digests: list[str]) -> str:
    return ", ".join(digest[:12] for digest in digests)


def _data(data: list[dict[str, Any]]) -> str:
    if not data:
        return ""
    header = list(dict.fromkeys(name for source in data for name in source))
    rows = [[str(source.get(name, "")) for name in header] for source in data]
    return "\n".join(["## What it was trained on\n", *_table(header, rows), ""])


def _licence(licence: str) -> str:
    return f"## Licence\n\n{licence}\n" if licence else ""


def _mistakes(config: ModelConfig) -> str:
    if not config.mistakes:
        return ""
    lines = ["## Where it goes wrong\n", "Share of the time in which it decides each class.\n"]
    for what, by_row in config.mistakes.items():
        classes = [name for name in config.network.classes if name in config.decoding]
        rows = [
            [key, f"{row['seconds'] / 60:.1f}"]
            + [f"{100 * row[name]:.0f} %" if name in row else "" for name in classes]
            for key, row in by_row.items()
        ]
        lines += [f"{what}:\n", *_table(["what sounds", "minutes", *classes], rows), ""]
    return "\n".join(lines)


def _limits(config: ModelConfig) -> str:
    decided, classes = config.decoding, config.network.classes
    untaught = [name for name in classes if name not in decided]
    lines = ["## What it cannot do\n"]
    if untaught:
        lines.append(
            f"- It does not decide {', '.join(untaught)}: never annotated in what it was taught "
            "with."
        )
    absent = [name for name in CLASSES if name not in classes]
    if absent:
        lines.append(f"- It has no output for {', '.join(absent)}.")
    lines += [
        "- Overlapped speech is the hardest class: look at its F1 above before trusting it.",
        "- Trained on mixtures of recordings; voices, music and noises far from its sources "
        "may be taken for one another.",
        "- The explanation tells what the decision is computed from, not why the world is so.",
    ]
    return "\n".join([*lines, ""])


def _provenance(provenance: dict[str, Any]) -> str:
    tool = provenance.get("tool", "")
    libraries = ", ".join(f"{k} {v}" for k, v in provenance.get("libraries", {}).items())
    return f"## Provenance\n\n{tool}; {libraries}; {provenance.get('created', '')}.\n"


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def _counts(value: Any) -> bool:
    return isinstance(value, int | float) and value != 0
