"""Figures of merit of a network on archives of labelled recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.archive import Archive, ArchiveEntry, full_labels
from audioseg_xai.errors import TrainingError
from audioseg_xai.inference import ContextStream
from audioseg_xai.models.networks import Student, StudentOutput, Teacher
from audioseg_xai.models.windows import WindowStream
from audioseg_xai.training.corpora import listens_to_features
from audioseg_xai.training.evaluation import FrameCounts
from audioseg_xai.training.listening import Listener

_CHUNK = 1000
"""Frames of features that go through a network at once."""


class ArchiveValidation:
    """Callable for `Trainer`: best F1 and average precision a class, pooled over all archives.

    ``score`` is the mean over classes of the mean of best F1 and average precision: F1 alone jumps
    with the threshold, average precision alone ignores where it would be put. The classes are those
    that are decided and active in any archive; labels that an archive lacks take no part.

    Parameters
    ----------
    archives : sequence of Archive
        Labelled recordings.
    classes : tuple of str
        Axis C.
    listener : Listener
        Gives the network what it listens to.
    decided : tuple of str, optional
        Classes that take part in the score; all by default.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        classes: tuple[str, ...],
        listener: Listener,
        decided: tuple[str, ...] | None = None,
    ) -> None:
        self.archives, self.classes, self.listener = archives, classes, listener
        self.decided = classes if decided is None else decided

    def __call__(self, network: Teacher | Student) -> dict[str, float]:
        """Return ``score``, and ``f1/<class>`` and ``ap/<class>`` of each class with labels.

        Raises
        ------
        TrainingError
            If no class that is decided has an active frame.
        """
        counts = FrameCounts(self.classes)
        for _, probabilities, labels in self.predict(network):
            counts.add(probabilities, labels)
        best = {name: f1 for name, (f1, _) in counts.best().items() if name in self.decided}
        precision = counts.average_precision()
        if not best:
            folders = ", ".join(str(archive.folder) for archive in self.archives)
            raise TrainingError(
                f"{folders}: no class is active in any recording that the network is taught "
                f"({', '.join(self.decided)}): validate on labels of these"
            )
        score = sum(best[name] + precision[name] for name in best) / (2 * len(best))
        figures = {"score": score}
        figures |= {f"f1/{name}": f1 for name, f1 in best.items()}
        return figures | {f"ap/{name}": precision[name] for name in best}

    def predict(
        self, network: Teacher | Student
    ) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.int8]]]:
        """Yield uri, probabilities (T, C) and labels (T, C) of each recording."""
        for archive in self.archives:
            for entry in archive.entries:
                logits = recording_logits(network, self.listener, archive, entry)
                labels = full_labels(archive.read(entry)[1], self.classes)
                yield entry.uri, logits.sigmoid().cpu().numpy(), labels


@torch.inference_mode()
def recording_logits(
    network: Teacher | Student, listener: Listener, archive: Archive, entry: ArchiveEntry
) -> torch.Tensor:
    """Return the logits (T, C) of a recording; of windows, where a network has any, the mean."""
    stream = _stream(network, entry)
    parts: list[torch.Tensor] = []
    for block in listener.recording(network, archive, entry):
        parts += (logits for (logits,) in stream.push(block))
    parts += (logits for (logits,) in stream.finish())
    return torch.cat(parts)


def _stream(network: Teacher | Student, entry: ArchiveEntry) -> ContextStream | WindowStream:
    def infer(frames: torch.Tensor) -> tuple[torch.Tensor]:
        output = network(frames.unsqueeze(0))
        return ((output.logits if isinstance(output, StudentOutput) else output)[0],)

    config = network.config
    if config.window is not None:
        return WindowStream(infer, config.window, config.window_step)
    chunk = _CHUNK if listens_to_features(config) else entry.num_frames
    return ContextStream(infer, config.context, chunk)
