"""Figures of merit of a network on an archive of labelled recordings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audioseg_xai.archive import Archive, full_labels
from audioseg_xai.errors import TrainingError
from audioseg_xai.models.networks import StudentOutput
from audioseg_xai.training.evaluation import FrameCounts


class ArchiveValidation:
    """Callable for `Trainer`: best F1 and average precision a class.

    ``score`` is the mean over classes of the mean of best F1 and average precision: F1 alone jumps
    with the threshold, average precision alone ignores where it would be put.

    Parameters
    ----------
    archive : Archive
        Labelled recordings.
    classes : tuple of str
        Axis C.
    features : bool
        Whether the network listens to upstream features.
    """

    def __init__(self, archive: Archive, classes: tuple[str, ...], *, features: bool) -> None:
        self.archive, self.classes, self.features = archive, classes, features

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return ``score``, and ``f1/<class>`` and ``ap/<class>`` of each class with labels.

        Raises
        ------
        TrainingError
            If no class has an active frame.
        """
        counts = FrameCounts(self.classes)
        for _, probabilities, labels in self.predict(network):
            counts.add(probabilities, labels)
        best, precision = counts.best(), counts.average_precision()
        if not best:
            raise TrainingError(f"{self.archive.folder}: no class is active in any recording")
        score = sum(best[name][0] + precision[name] for name in best) / (2 * len(best))
        figures = {"score": score}
        figures |= {f"f1/{name}": f1 for name, (f1, _) in best.items()}
        return figures | {f"ap/{name}": value for name, value in precision.items()}

    @torch.inference_mode()
    def predict(
        self, network: nn.Module
    ) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.int8]]]:
        """Yield uri, probabilities (T, C) and labels (T, C) of each recording."""
        device = next(network.parameters()).device
        for entry in self.archive.entries:
            spectrogram, labels, features = self.archive.read(entry, features=self.features)
            heard = spectrogram if features is None else features
            inputs = torch.from_numpy(heard).float().unsqueeze(0).to(device)
            if features is None:
                inputs = network.get_submodule("level_norm")(inputs)
            output = network(inputs)
            logits = output.logits if isinstance(output, StudentOutput) else output
            yield entry.uri, logits[0].sigmoid().cpu().numpy(), full_labels(labels, self.classes)
