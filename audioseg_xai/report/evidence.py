"""What each decision rests on, as a page takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.characteristics import component_bands, describe
from audioseg_xai.contrast import segment_frames
from audioseg_xai.explain import Explanation, Prototypes, Readout, select
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.report.packing import encode, pack, rounded

Floats = NDArray[np.floating]

CELLS = 6_000_000
"""Numbers that the relevance maps of a recording may take together."""

_FEWEST, _MOST = 8, 64  # columns of a map


def readout_json(readout: Readout) -> dict[str, Any]:
    """Return W (a row a component), its bands in Hz, and the bias of each class."""
    centre, bandwidth = component_bands(readout.dictionary, readout.frequencies)
    return {
        "frequencies": rounded(readout.frequencies, 2),
        "dictionary": pack(readout.dictionary.T, "int16"),
        "centres": rounded(centre, 0),
        "bandwidths": rounded(bandwidth, 0),
        "bias": rounded(readout.bias, 6),
    }


def segments_json(archive: ExplanationArchive, explanation: Explanation) -> dict[str, Any]:
    """Return the segments of a recording, a list a property, and what they rest on.

    ``relevance`` has a row a segment. ``selected`` lists the components above tau, the most
    relevant first, those of segment s from ``first[s]`` on. ``maps`` holds their activations over
    the segment, ``columns[s]`` numbers a component: times relevance over mean activation, projected
    with W, that is the relevance of each frequency at each time.
    """
    segments = explanation.segments
    flips = archive.flips(explanation.uri)
    kept = select(explanation.relevance, explanation.threshold)
    return {
        "label": [segment.label for segment in segments],
        "onset": [round(segment.onset, 6) for segment in segments],
        "offset": [round(segment.offset, 6) for segment in segments],
        "confidence": [segment.confidence for segment in segments],
        "logit": rounded(explanation.mean_logit, 5),
        "flip": None if flips is None else flips.tolist(),
        "relevance": pack(explanation.relevance, "int16"),
        "tau": explanation.threshold,
        **_maps(archive, explanation, kept),
    }


def _maps(archive: ExplanationArchive, explanation: Explanation, kept: Floats) -> dict[str, Any]:
    most = int(np.clip(CELLS // max(int(np.count_nonzero(kept)), 1), _FEWEST, _MOST))
    orders = [_strongest_first(row) for row in kept]
    maps = [
        _activation_map(archive, explanation, row, components, most)
        for row, components in enumerate(orders)
    ]
    return {
        "selected": [int(k) for components in orders for k in components],
        "first": np.cumsum([0, *map(len, orders)]).tolist(),
        "columns": [part.shape[1] for part in maps],
        "maps": encode(b"".join(part.tobytes() for part in maps)),
    }


def _strongest_first(kept: Floats) -> NDArray[np.intp]:
    order = np.argsort(-kept, kind="stable")
    return order[kept[order] > 0]


def _activation_map(
    archive: ExplanationArchive,
    explanation: Explanation,
    row: int,
    components: NDArray[np.intp],
    most: int,
) -> NDArray[np.uint8]:
    """Return the activations of some components over a segment, 255 for the largest of each."""
    frames = segment_frames(explanation.segments[row], explanation.num_frames)
    rows = archive.activations(explanation.uri, frames)[:, components].astype(np.float32)
    columns = min(most, len(rows))
    edges = np.linspace(0, len(rows), columns, endpoint=False).astype(int)
    sums = np.add.reduceat(rows, edges, axis=0)
    means = sums / np.diff(np.append(edges, len(rows)))[:, None]
    largest = means.max(axis=0, initial=0)
    parts = np.divide(means, largest, out=np.zeros_like(means), where=largest > 0)
    return np.rint(255 * parts.T).astype(np.uint8)


def prototypes_json(prototypes: Prototypes, readout: Readout, source: str) -> dict[str, Any]:
    """Return what marks each class: spectra of the prototypes, components, similarities.

    Parameters
    ----------
    prototypes : Prototypes
        Of a set of recordings.
    readout : Readout
        Of the student that they were made with.
    source : str
        What they were averaged over, for people.
    """
    found = describe(prototypes, readout)
    return {
        "source": source,
        "counts": prototypes.counts.tolist(),
        "spectra": [rounded(spectrum, 5) for spectrum in prototypes.spectra],
        "components": [found.most_characteristic(label).tolist() for label in readout.classes],
        "similarity": [rounded(row, 3) for row in found.similarity],
    }
