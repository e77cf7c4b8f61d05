"""The training of a student from a teacher, labels and a dictionary."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from audioseg_xai.archive import Archive
from audioseg_xai.config import Config
from audioseg_xai.errors import ModelError
from audioseg_xai.losses import (
    LossConfig,
    distillation_loss,
    label_loss,
    reconstruction_loss,
    sparsity_loss,
)
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Student, StudentConfig, StudentOutput, Teacher
from audioseg_xai.nmf import Dictionary, encode
from audioseg_xai.training.data import Batch, CropDataset, check_bins
from audioseg_xai.training.fitting import fit, listens_to_features, network_inputs
from audioseg_xai.training.identity import dictionary_digest, model_digest
from audioseg_xai.training.trainer import TrainingConfig


class StudentRun(Config):
    """What a student configuration file holds."""

    network: StudentConfig = StudentConfig()
    training: TrainingConfig = TrainingConfig()
    loss: LossConfig = LossConfig()


def distill(
    train: Archive,
    valid: Archive,
    run: StudentRun,
    dictionary: Dictionary,
    folder: str | Path,
    *,
    teacher: Model | None = None,
    start: Model | None = None,
    device: str = "auto",
    num_workers: int = 1,
) -> Model:
    """Train a student; see `teacher.train_teacher` for what they have in common.

    Parameters
    ----------
    train, valid : Archive
        Recordings; their labels count as much as ``loss.delta`` says.
    run : StudentRun
        Network, schedule and weights of the loss.
    dictionary : Dictionary
        W, and the mean activations that H begins at.
    folder : str or Path
        Receives checkpoints and TensorBoard files.
    teacher : Model, optional
        Needed when ``loss.alpha`` is not 0.
    start : Model, optional
        A student of the same network to go on from; else H begins at the activations of the NMF.
    device : str, optional
        As lightning-fabric names accelerators.
    num_workers : int, optional
        Processes that prepare batches.

    Raises
    ------
    ModelError
        If a teacher is needed and missing, or decides other classes, or `start` is of another
        network or dictionary.
    ArchiveError
        If an archive was made with another FFT size than a network's.
    """
    _check(run, dictionary, teacher)
    check_bins(train, run.network.spectrogram.num_bins)
    torch.manual_seed(run.training.seed)
    student = Student(run.network, dictionary.atoms)
    if start is None:
        warm_start(student, _first_batch(train, run), dictionary)
    else:
        _go_on_from(start, student, dictionary)
    losses = StudentLosses(student, run.loss, teacher.network if teacher else None)
    needed = {"teacher": teacher, "start": start}
    given = {name: model_digest(model) for name, model in needed.items() if model is not None}
    return fit(
        student,
        losses,
        train,
        valid,
        run.training,
        run.model_dump(mode="json"),
        folder,
        inputs={"dictionary": dictionary_digest(dictionary), **given},
        features=teacher is not None and listens_to_features(teacher.config.network),
        constrain=_project if run.network.trainable_dictionary else None,
        device=device,
        num_workers=num_workers,
    )


class StudentLosses:
    """L = alpha L_KD + beta L_NMF + gamma ||H||_1 + delta L_label, and its terms.

    The first three are Mariotte et al., ICASSP 2024; the labels are the by-design training of its
    follow-up, Interspeech 2024. What is reconstructed is the normalised spectrogram.

    Parameters
    ----------
    student : Student
        Gives W and the normalisation.
    config : LossConfig
        The weights.
    teacher : nn.Module, optional
        Gives the posteriors to imitate.
    """

    def __init__(
        self, student: Student, config: LossConfig, teacher: Teacher | Student | None
    ) -> None:
        self.student, self.config = student, config
        self.teacher = teacher.eval().requires_grad_(False) if teacher is not None else None

    def __call__(self, forward: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the total and the terms for a batch; `forward` is the student to call."""
        target = self.student.level_norm(batch.spectrogram)
        output = forward(batch.features if listens_to_features(self.student.config) else target)
        terms = {
            "reconstruction": reconstruction_loss(
                target, self.student.reconstruct(output.activations)
            ),
            "sparsity": sparsity_loss(output.activations),
            "label": label_loss(output.logits, batch.labels),
        }
        if self.config.alpha:
            taught = self._taught(batch, target)
            temperature = self.config.temperature
            terms["distillation"] = distillation_loss(output.logits, taught, temperature)
        weights = {
            "distillation": self.config.alpha,
            "reconstruction": self.config.beta,
            "sparsity": self.config.gamma,
            "label": self.config.delta,
        }
        total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        return {"total": total, **terms}

    @torch.no_grad()
    def _taught(self, batch: Batch, normalised: torch.Tensor) -> torch.Tensor:
        assert self.teacher is not None
        self.teacher.to(normalised.device)
        config = self.teacher.config
        same = config.level == self.student.config.level and not listens_to_features(config)
        output = self.teacher(normalised if same else network_inputs(self.teacher, batch))
        return output.logits if isinstance(output, StudentOutput) else output


@torch.no_grad()
def warm_start(student: Student, batch: Batch, dictionary: Dictionary) -> None:
    """Begin the activations of a student at those of the NMF.

    The bias is the mean of each component; with an analysis path, its linear map is the ridge
    regression from spectrogram to NMF activations. So the reconstruction is good from the first
    step, and the classes are learned on components that already describe the sound.

    Parameters
    ----------
    student : Student
        Changed in place.
    batch : Batch
        Some recordings.
    dictionary : Dictionary
        W and its mean activations.
    """
    student.to_activations.bias.copy_(dictionary.mean_activations)
    # Activations are of the size of the spectrogram's norm: keep the first logits small.
    student.classifier.weight.mul_(0.1 / dictionary.mean_activations.mean().clamp_min(1e-3))
    if student.analysis is None:
        return
    x = student.level_norm(batch.spectrogram).flatten(0, 1)
    h = encode(x, dictionary.atoms, dictionary.sparsity)
    mean_x, mean_h = x.mean(0), h.mean(0)
    centred = x - mean_x
    scatter = centred.T @ centred
    ridge = 0.01 * scatter.diagonal().mean() * torch.eye(x.shape[1])
    solution = torch.linalg.solve(scatter + ridge, centred.T @ (h - mean_h))
    student.analysis.weight.copy_(solution.T)
    student.to_activations.bias.copy_(mean_h - mean_x @ solution)


def _project(network: nn.Module) -> None:
    assert isinstance(network, Student)
    network.constrain_dictionary()


def _go_on_from(start: Model, student: Student, dictionary: Dictionary) -> None:
    if start.config.network != student.config:
        raise ModelError(
            f"{start.folder}: is of another network than the one configured: start from a student "
            "with the same 'network' settings"
        )
    weights = start.network.state_dict()
    fixed = not student.config.trainable_dictionary
    if fixed and not torch.equal(weights["dictionary"].cpu(), dictionary.atoms):
        raise ModelError(
            f"{start.folder or 'start'}: has another dictionary than the one given, and it is "
            "fixed: give the dictionary that the start was trained with"
        )
    student.load_state_dict(weights)


def _first_batch(train: Archive, run: StudentRun) -> Batch:
    dataset = CropDataset(
        train,
        run.training.data,
        run.network.classes,
        seed=run.training.seed,
        first=0,
        steps=1,
    )
    return dataset[0]


def _check(run: StudentRun, dictionary: Dictionary, teacher: Model | None) -> None:
    expected = (run.network.spectrogram.num_bins, run.network.components)
    found = tuple(dictionary.atoms.shape)
    if found != expected:
        raise ModelError(
            f"the dictionary has {found[0]} bins and {found[1]} components, the student "
            f"{expected[0]} and {expected[1]}: learn one with the student's settings"
        )
    if run.loss.alpha and teacher is None:
        raise ModelError("distillation needs a teacher: give one, or set loss.alpha to 0")
    if teacher is not None and teacher.classes != run.network.classes:
        raise ModelError(
            f"the teacher decides {', '.join(teacher.classes)}, "
            f"the student {', '.join(run.network.classes)}: they must be the same"
        )
    _check_spectrogram(run, teacher)


def _check_spectrogram(run: StudentRun, teacher: Model | None) -> None:
    if teacher is None or listens_to_features(teacher.config.network):
        return
    found, expected = teacher.config.network.spectrogram.fft_size, run.network.spectrogram.fft_size
    if found != expected:
        raise ModelError(
            f"the teacher's spectrograms have an FFT size of {found}, the student's {expected}: "
            "they must be the same"
        )
