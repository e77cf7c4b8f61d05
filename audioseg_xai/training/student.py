"""The training of a student from teachers, labels and a dictionary."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioseg_xai.config import Config
from audioseg_xai.errors import ModelError, TrainingError
from audioseg_xai.losses import (
    LossConfig,
    distillation_loss,
    reconstruction_loss,
    sparsity_loss,
)
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import (
    NetworkConfig,
    Student,
    StudentConfig,
    Teacher,
)
from audioseg_xai.nmf import Dictionary, encode
from audioseg_xai.training.corpora import Corpora, listens_to_features
from audioseg_xai.training.data import Batch, CropDataset
from audioseg_xai.training.fitting import Recipe, crop_source, fit, run_settings
from audioseg_xai.training.identity import dictionary_digest, model_digest
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.masking import Masker, masking_loss
from audioseg_xai.training.parallel import joint_sum, shared_label_loss
from audioseg_xai.training.sampling import known_classes
from audioseg_xai.training.teaching import Teachers, check_teachers
from audioseg_xai.training.trainer import Precision, TrainingConfig


class StudentRun(Config):
    """What a student configuration file holds."""

    network: StudentConfig = StudentConfig()
    training: TrainingConfig = TrainingConfig()
    loss: LossConfig = LossConfig()


def distill(
    corpora: Corpora,
    run: StudentRun,
    dictionary: Dictionary | None,
    folder: str | Path,
    *,
    teachers: Sequence[Model] = (),
    start: Model | None = None,
    upstream_checkpoint: str | None = None,
    device: str = "auto",
    num_workers: int = 1,
) -> Model:
    """Train a student; see `teacher.train_teacher` for what they have in common.

    It decides what the teacher decides, and what its labels are about.

    Parameters
    ----------
    corpora : Corpora
        Recordings; their labels count as much as ``loss.delta`` says.
    run : StudentRun
        Network, schedule and weights of the loss.
    dictionary : Dictionary or None
        W, and the mean activations that H begins at. None for W of `start`.
    folder : str or Path
        Receives checkpoints and TensorBoard files.
    teachers : sequence of Model, optional
        Whose mean posteriors are imitated; needed when ``loss.alpha`` is not 0.
    start : Model, optional
        A student of the same network to go on from; else H begins at the activations of the NMF.
    upstream_checkpoint : str, optional
        Where the weights of the upstream model lie, if not where they lay before.
    device : str, optional
        As lightning-fabric names accelerators.
    num_workers : int, optional
        Processes that prepare batches.

    Raises
    ------
    ModelError
        If a teacher is needed and missing, or one decides other classes, or `start` is of another
        network or dictionary, or there is neither a start nor a dictionary.
    ArchiveError, ConfigError
        If an archive was made with another FFT size or upstream than a network's.
    TrainingError
        If nothing teaches the classes, or the checkpoint in `folder` belongs to another run.
    """
    if start is not None:
        _check_branches(start, run.network)
    digests = _digests(teachers, start, dictionary)
    dictionary = dictionary or _dictionary_of(start)
    _check(run, dictionary, teachers)
    taught = _taught_classes(run, teachers)
    decided = _decided_classes(corpora, run, taught)
    listener = Listener(device, upstream_checkpoint)
    heard = [each.network.config for each in teachers] if run.loss.alpha else []
    source = crop_source(corpora, run.training.data, run.network, heard)
    for config in heard:
        listener.settle(config, corpora.train)
    network = listener.settle(run.network, [*corpora.train, *corpora.valid])
    torch.manual_seed(run.training.seed)
    student = Student(network, dictionary.atoms)
    if start is None:
        first = CropDataset(source, seed=run.training.seed, first=0, steps=1)[0]
        warm_start(student, first, dictionary)
    else:
        _go_on_from(start, student, dictionary)
    losses = StudentLosses(
        student,
        run.loss,
        [each.network for each in teachers],
        listener=listener,
        taught=taught,
        precision=run.training.precision,
    )
    recipe = Recipe(
        corpora,
        run.training,
        run_settings(run, network),
        folder,
        listener,
        decided,
        inputs=digests,
        device=device,
        num_workers=num_workers,
    )
    return fit(student, losses, source, recipe, functools.partial(_project, bound=run.loss.bound))


def _digests(
    teachers: Sequence[Model], start: Model | None, dictionary: Dictionary | None
) -> dict[str, str]:
    digests = {"dictionary": dictionary_digest(dictionary)} if dictionary else {}
    if teachers:
        digests["teacher"] = " ".join(model_digest(each) for each in teachers)
    return digests if start is None else digests | {"start": _start_digest(start)}


def _start_digest(start: Model) -> str:
    """Return the digest of a student to go on from, or those that it was joined of just now."""
    if not start.digest and "parts" in start.config.provenance:
        return " ".join(start.config.provenance["inputs"].values())
    return model_digest(start)


class StudentLosses:
    """L = alpha L_KD + beta L_NMF + gamma ||H||_1 + delta L_label + epsilon L_mask, and its terms.

    The first three are Mariotte et al., ICASSP 2024; the labels are the by-design training of its
    follow-up, Interspeech 2024; the last is that of `masking`. What is reconstructed is the
    normalised spectrogram.

    Parameters
    ----------
    student : Student
        Gives W and the normalisation.
    config : LossConfig
        The weights.
    teachers : sequence of nn.Module, optional
        Give the posteriors to imitate: their mean.
    listener : Listener, optional
        Gives networks what they listen to.
    taught : tuple of str, optional
        The classes that the teachers decide, all by default: of the others they know nothing that
        could be imitated.
    precision : {'32-true', 'bf16-mixed'}, optional
        In which the teachers compute: that of the training, whose precision covers the student.
    """

    def __init__(
        self,
        student: Student,
        config: LossConfig,
        teachers: Sequence[Teacher | Student] = (),
        *,
        listener: Listener | None = None,
        taught: tuple[str, ...] | None = None,
        precision: Precision = "32-true",
    ) -> None:
        self.student, self.config = student, config
        self.listener = listener or Listener("cpu")
        self.teachers = Teachers(teachers, self.listener, precision) if teachers else None
        classes = student.config.classes
        self.taught = [classes.index(name) for name in (classes if taught is None else taught)]
        self.masker = (
            Masker(student, config.masked, config.removal_weights) if config.epsilon else None
        )
        wanted = [config.class_weights.get(name, 1.0) for name in classes]
        self.class_weights = torch.tensor(wanted) if config.class_weights else None

    def __call__(self, forward: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the total and the terms for a batch; `forward` is the student to call."""
        target = self.student.level_norm(batch.spectrogram)
        listens = listens_to_features(self.student.config)
        output = forward(self.listener.inputs(self.student, batch) if listens else target)
        terms = {
            "reconstruction": reconstruction_loss(
                target, self.student.reconstruct(output.activations)
            ),
            "sparsity": sparsity_loss(output.activations),
            "label": shared_label_loss(
                output.logits, batch.labels, self._weights(batch), parts=batch.parts
            ),
        }
        if self.config.alpha:
            logits, taught = output.logits[..., self.taught], self._taught(batch, target)
            terms["distillation"] = distillation_loss(logits, taught, self.config.temperature)
        if self.masker is not None:
            terms["masking"] = self._masking(forward, batch, output.activations)
        weights = {
            "distillation": self.config.alpha,
            "reconstruction": self.config.beta,
            "sparsity": self.config.gamma,
            "label": self.config.delta,
            "masking": self.config.epsilon,
        }
        total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        return {"total": total, **terms}

    def _masking(self, forward: nn.Module, batch: Batch, activations: torch.Tensor) -> torch.Tensor:
        assert self.masker is not None
        masked = self.masker(batch, activations)
        crops = activations.new_tensor(len(masked.labels))
        # All processes hear something again or none does: in between they wait for each other.
        if not joint_sum(crops, batch.parts):
            return activations.new_zeros(())
        output = forward(self.student.level_norm(masked.spectrogram))
        return masking_loss(output.logits, masked, self._weights(batch), parts=batch.parts)

    def _weights(self, batch: Batch) -> torch.Tensor | None:
        weights = self.class_weights
        return None if weights is None else weights.to(batch.labels.device)

    def _taught(self, batch: Batch, normalised: torch.Tensor) -> torch.Tensor:
        assert self.teachers is not None
        logits = self.teachers.logits(batch, normalised, self.student.config)
        return logits[..., self.taught]


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
    h = encode(x, dictionary.atoms, dictionary.sparsity, loss=dictionary.loss)
    mean_x, mean_h = x.mean(0), h.mean(0)
    centred = x - mean_x
    scatter = centred.T @ centred
    ridge = 0.01 * scatter.diagonal().mean() * torch.eye(x.shape[1])
    solution = torch.linalg.solve(scatter + ridge, centred.T @ (h - mean_h))
    student.analysis.weight.copy_(solution.T)
    student.to_activations.bias.copy_(mean_h - mean_x @ solution)


def _project(network: nn.Module, bound: float | None) -> None:
    assert isinstance(network, Student)
    if network.config.trainable_dictionary:
        network.constrain_dictionary()
    if bound is not None:
        network.bound_weights(bound)


def _dictionary_of(start: Model | None) -> Dictionary:
    """Return W of a student; what H began at does not matter to one that goes on."""
    if start is None:
        raise ModelError("a student needs a dictionary: give one, or a student to go on from")
    if not isinstance(start.network, Student):
        raise ModelError(f"{start.folder}: is no student to go on from: it has no dictionary")
    atoms = start.network.dictionary.detach().clone()
    return Dictionary(atoms, torch.zeros(atoms.shape[1]), relative_error=float("nan"))


def _check_branches(start: Model, network: StudentConfig) -> None:
    found = start.config.network
    if isinstance(found, StudentConfig) and found.branches != network.branches:
        raise ModelError(
            f"{start.folder or 'the start'}: has {found.branches} branches, the student that is "
            f"configured {network.branches}: set network.branches: {found.branches} and "
            f"network.components: {found.components}"
        )


def _go_on_from(start: Model, student: Student, dictionary: Dictionary) -> None:
    if _architecture(start.config.network) != _architecture(student.config):
        raise ModelError(
            f"{start.folder or 'start'}: is of another network than the one configured: start from "
            "a student with the same 'network' settings"
        )
    weights = start.network.state_dict()
    fixed = not student.config.trainable_dictionary
    if fixed and not torch.equal(weights["dictionary"].cpu(), dictionary.atoms):
        raise ModelError(
            f"{start.folder or 'start'}: has another dictionary than the one given, and it is "
            "fixed: give the dictionary that the start was trained with"
        )
    student.load_state_dict(weights)


def _architecture(config: NetworkConfig) -> dict[str, Any]:
    # Where the weights of the upstream lie is no part of it.
    return config.model_dump(exclude={"front_end": {"upstream": {"checkpoint"}}})


def _taught_classes(run: StudentRun, teachers: Sequence[Model]) -> tuple[str, ...]:
    if not (teachers and run.loss.alpha):
        return ()
    return tuple(name for name in run.network.classes if name in teachers[0].config.decoding)


def _decided_classes(corpora: Corpora, run: StudentRun, taught: tuple[str, ...]) -> tuple[str, ...]:
    classes = run.network.classes
    labelled = known_classes(corpora.train, classes) if run.loss.delta else ()
    decided = tuple(name for name in classes if name in taught or name in labelled)
    if not decided:
        raise TrainingError(
            "nothing teaches the classes: set loss.alpha and give a teacher, or set loss.delta "
            "and train on labelled recordings"
        )
    return decided


def _check(run: StudentRun, dictionary: Dictionary, teachers: Sequence[Model]) -> None:
    expected = (run.network.spectrogram.num_bins, run.network.components)
    found = tuple(dictionary.atoms.shape)
    if found != expected:
        remedy = "learn one with the student's settings"
        if run.network.branches > 1:
            remedy += ", or leave it out to go on with that of the start"
        raise ModelError(
            f"the dictionary has {found[0]} bins and {found[1]} components, the student "
            f"{expected[0]} and {expected[1]}: {remedy}"
        )
    if run.loss.alpha and not teachers:
        raise ModelError("distillation needs a teacher: give one, or set loss.alpha to 0")
    check_teachers(teachers, run.network)
    if run.loss.epsilon and listens_to_features(run.network):
        raise ModelError(
            "loss.epsilon masks the spectrogram that the student listens to, and this one listens "
            "to upstream features: set it to 0, or use the spectrogram front end"
        )
