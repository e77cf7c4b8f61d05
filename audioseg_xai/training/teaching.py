"""What students imitate: the posteriors of one teacher, or the mean of several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import logsigmoid

from audioseg_xai.errors import ModelError
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Student, StudentConfig, StudentOutput, Teacher
from audioseg_xai.training.corpora import listens_to_features
from audioseg_xai.training.data import Batch
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.trainer import Precision


class Teachers:
    """Networks whose mean posteriors are imitated; nothing of them is trained.

    Parameters
    ----------
    networks : sequence of nn.Module
        Teachers, or students that teach; one at least. Each hears what it listens to.
    listener : Listener
        Gives them that.
    precision : {'32-true', 'bf16-mixed'}
        In which they compute.
    """

    def __init__(
        self, networks: Sequence[Teacher | Student], listener: Listener, precision: Precision
    ) -> None:
        self.networks = [network.eval().requires_grad_(False) for network in networks]
        self._listener = listener
        self._precision = precision

    @torch.no_grad()
    def logits(
        self, batch: Batch, normalised: torch.Tensor, student: StudentConfig
    ) -> torch.Tensor:
        """Return the logits (B, T, C) of the mean posteriors.

        Parameters
        ----------
        batch : Batch
            The crops.
        normalised : torch.Tensor, shape (B, T, F)
            Their spectrograms as the student hears them, computed once for all who hear the same.
        student : StudentConfig
            Of that student.
        """
        heard = [self._logits(each, batch, normalised, student) for each in self.networks]
        return heard[0] if len(heard) == 1 else pooled_logits(torch.stack(heard))

    def _logits(
        self,
        teacher: Teacher | Student,
        batch: Batch,
        normalised: torch.Tensor,
        student: StudentConfig,
    ) -> torch.Tensor:
        teacher.to(normalised.device)
        config = teacher.config
        same = config.level == student.level and not listens_to_features(config)
        inputs = normalised if same else self._listener.inputs(teacher, batch)
        mixed = self._precision == "bf16-mixed"
        with torch.autocast(normalised.device.type, torch.bfloat16, enabled=mixed):
            output = teacher(inputs)
        logits = output.logits if isinstance(output, StudentOutput) else output
        return logits.float()


def pooled_logits(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits of the mean of the probabilities that `logits` (n, ...) stand for.

    An ensemble is distilled by the mean of its posteriors (Hinton et al., 2015). With l_i the
    logits, logit(mean p) = logsumexp(log sigmoid(l_i)) - logsumexp(log sigmoid(-l_i)), which keeps
    its precision where all are certain.
    """
    return logsigmoid(logits).logsumexp(0) - logsigmoid(-logits).logsumexp(0)


def check_teachers(teachers: Sequence[Model], student: StudentConfig) -> None:
    """Check that teachers decide what a student decides, from spectrograms of the same size.

    Raises
    ------
    ModelError
        If one does not, or if they disagree about which classes they were trained to decide.
    """
    for teacher in teachers:
        if teacher.classes != student.classes:
            raise ModelError(
                f"{_named(teacher)} decides {', '.join(teacher.classes)}, "
                f"the student {', '.join(student.classes)}: they must be the same"
            )
        if teacher.config.decoding.keys() != teachers[0].config.decoding.keys():
            raise ModelError(
                f"{_named(teacher)} was taught {', '.join(teacher.config.decoding)}, "
                f"{_named(teachers[0])} {', '.join(teachers[0].config.decoding)}: only teachers "
                "of the same classes have posteriors whose mean means something"
            )
        _check_spectrogram(teacher, student)


def _check_spectrogram(teacher: Model, student: StudentConfig) -> None:
    if listens_to_features(teacher.config.network):
        return
    found, expected = teacher.config.network.spectrogram.fft_size, student.spectrogram.fft_size
    if found != expected:
        raise ModelError(
            f"the spectrograms of {_named(teacher)} have an FFT size of {found}, the student's "
            f"{expected}: they must be the same"
        )


def _named(teacher: Model) -> str:
    return f"the teacher {teacher.folder}" if teacher.folder else "the teacher"
