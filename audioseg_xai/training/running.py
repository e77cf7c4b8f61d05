"""What the training commands do around a training: processes, signals, the model directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from click.exceptions import Exit

from audioseg_xai.config import parse_config
from audioseg_xai.console import log
from audioseg_xai.training import preemption
from audioseg_xai.training.processes import PREEMPTED, processes, run_processes

if TYPE_CHECKING:  # whoever only starts processes need not wait for PyTorch
    from audioseg_xai.models.directory import Model
    from audioseg_xai.training.student import StudentRun
    from audioseg_xai.training.teacher import TeacherRun

    RunT = TypeVar("RunT", TeacherRun, StudentRun)


def run_training(
    train: Callable[[], Model], output: Path, *, devices: int | None, num_nodes: int | None
) -> None:
    """Train in as many processes as are asked for, and save the model.

    Parameters
    ----------
    train : callable
        Trains in one of them.
    output : Path
        The model directory; the first process writes it.
    devices, num_nodes : int or None
        As for `run_processes`.

    Raises
    ------
    click.exceptions.Exit
        With 75 if the training was told to stop and can go on; with the code of a process that
        failed.
    """
    code = run_processes(devices, num_nodes)
    if code is not None:
        raise Exit(code)
    with _told_to_stop():
        model = train()
    if processes().rank == 0:
        from audioseg_xai.models.directory import save_model

        save_model(model, output)


def with_precision(run: RunT, precision: str | None) -> RunT:
    """Return the settings of a run with another precision, if one is given."""
    if precision is None:
        return run
    values = run.model_dump(exclude_unset=True)
    values["training"] = {**values.get("training", {}), "precision": precision}
    return parse_config(values, type(run), "--precision")


@contextmanager
def _told_to_stop() -> Iterator[None]:
    with preemption.noticed():
        try:
            yield
        except preemption.PreemptedError as stopped:
            log.warning(str(stopped))
            raise Exit(PREEMPTED) from None
