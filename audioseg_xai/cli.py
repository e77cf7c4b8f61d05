"""What all commands share: the lazy `xai-segment` group, exit codes, options.

Imports here stay light, because `xai-segment --help` and shell completion pay for them.

Exit codes: 0 done, 1 failed, 2 usage, 3 some items failed and the others are done,
130 interrupted. Data goes to stdout; logs and progress bars go to stderr.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import click.shell_completion

from audioseg_xai.console import (
    EXIT_CODE_KEY,
    FAILED,
    INTERRUPTED,
    PARTLY,
    PROGRAM,
    USAGE,
    Outcome,
    configure_logging,
    describe_error,
    log,
    progress,
    progress_bar,
    run_items,
)
from audioseg_xai.errors import UsageError
from audioseg_xai.version import __version__

__all__ = [
    "COMMANDS",
    "FAILED",
    "INTERRUPTED",
    "PARTLY",
    "PROGRAM",
    "USAGE",
    "Outcome",
    "command",
    "configure_logging",
    "describe_error",
    "device_option",
    "log",
    "main",
    "module_name",
    "named_paths",
    "num_workers_option",
    "overwrite_option",
    "progress",
    "progress_bar",
    "run_items",
    "seed_option",
]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

PRECISIONS = ("32-true", "bf16-mixed")
"""Of trainings, as lightning-fabric names them."""


class Entry(NamedTuple):
    """A line of the table of commands: the module is imported only when the command runs."""

    section: str
    help: str


COMMANDS: dict[str, Entry] = {
    "segment": Entry("Commands", "Say when there is speech, music, noise and overlap: RTTM."),
    "explain": Entry("Commands", "Segment, and show which frequencies each decision rests on."),
    "join": Entry("Commands", "Put the outputs of segment or explain --job together."),
    "report": Entry("Commands", "Make a page of each explained recording, to open in a browser."),
    "score": Entry("Commands", "Compare a hypothesis with a reference: precision, recall, F1."),
    "compare": Entry("Commands", "Compare systems: F1 with intervals, and which differences hold."),
    "export-onnx": Entry("Commands", "Write a model as an ONNX graph, to run without PyTorch."),
    "models": Entry("Commands", "List, describe and check models."),
    "doctor": Entry("Commands", "Say what is installed, what works and what is missing for what."),
    "prepare": Entry("Recipe steps", "Turn a corpus on disk into a data directory."),
    "datadir": Entry("Recipe steps", "Validate and fix data directories."),
    "simulate": Entry("Recipe steps", "Mix broadcast-like recordings with exact labels."),
    "cache-features": Entry("Recipe steps", "Compute spectrograms and features into HDF5."),
    "learn-dictionary": Entry("Recipe steps", "Learn the dictionary of spectra (sparse NMF)."),
    "train-teacher": Entry("Recipe steps", "Train the teacher on labelled features."),
    "distill": Entry("Recipe steps", "Train the explainable student from the teacher."),
    "tune": Entry("Recipe steps", "Choose the thresholds of a model on validation data."),
    "prototypes": Entry("Recipe steps", "Average the explanations of a set into prototypes."),
    "probe": Entry("Recipe steps", "Say what else the activations know: linear probes."),
    "faithfulness": Entry("Recipe steps", "Measure how faithful the explanations are."),
}


def module_name(command_name: str) -> str:
    """Return the module that defines a command, whose attribute `cli` it is."""
    return f"audioseg_xai.bin.{command_name.replace('-', '_')}"


class _Guarded:
    """Mixin that turns what goes wrong inside a command into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            super().invoke(ctx)  # type: ignore[misc]
            sys.stdout.flush()  # here, where a closed pipe can still be told from a failure
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except KeyboardInterrupt:
            ctx.exit(_complain("interrupted", INTERRUPTED))
        except BrokenPipeError:
            _discard_stdout()
            ctx.exit(FAILED)
        except Exception as error:
            code = USAGE if isinstance(error, UsageError) else FAILED
            ctx.exit(_complain(describe_error(error), code))
        ctx.exit(ctx.meta.get(EXIT_CODE_KEY, 0))


def _complain(message: str, code: int) -> int:
    if not log.handlers:  # it went wrong before a command had its options
        configure_logging()
    log.error(message, exc_info=log.isEnabledFor(logging.DEBUG))
    return code


def _discard_stdout() -> None:
    # Python flushes stdout once more when it ends; the reader is gone, so let it flush nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Command(_Guarded, click.Command):
    """A command whose errors are one line on stderr."""


class LazyGroup(_Guarded, click.Group):
    """A group that lists its commands from a table and imports the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`; None when the table does not know it."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(module_name(cmd_name)).cli
        if not isinstance(found, click.Command):
            raise TypeError(f"{module_name(cmd_name)}.cli is no click command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` name; for an unknown one, suggest the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(error.message + hint, ctx) from None

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete names of commands from the table, without importing any."""
        names = [
            click.shell_completion.CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands, a block a section, without importing any."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            rows = [(name, e.help) for name, e in COMMANDS.items() if e.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)


_SETTINGS: dict[str, Any] = {
    "show_default": True,
    "max_content_width": 100,
    "help_option_names": ["-h", "--help"],
}


@click.group(cls=LazyGroup, name=PROGRAM, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """Say when there is speech, music, noise and overlapped speech, and why.

    Data goes to stdout, logs to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 some items
    failed (the others are done).

    \b
    Shell completion, for bash (or zsh, fish):
      eval "$(_XAI_SEGMENT_COMPLETE=bash_source xai-segment)"
    """  # noqa: D301  (click wants the character backspace, and not a backslash)


def command(name: str | None = None, **attrs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command, with `-v/--verbose` and one-line errors.

    Parameters
    ----------
    name : str, optional
        Name of the command; by default that of the module, underscores as hyphens.
    **attrs
        What `click.command` takes as well.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        settings = _SETTINGS | attrs.pop("context_settings", {})
        make = click.command(
            name or _name_from(function), cls=Command, context_settings=settings, **attrs
        )
        return make(_verbose_option(function))

    return decorate


def _name_from(function: Callable[..., Any]) -> str:
    module = function.__module__
    if module == "__main__":
        module = Path(function.__code__.co_filename).stem
    return module.rpartition(".")[2].replace("_", "-")


# --- options that several commands have ---------------------------------------------------------


def _start_logging(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    configure_logging(f"{PROGRAM} {ctx.command.name}", value)
    return value


def _verbose_option(function: FunctionT) -> FunctionT:
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_start_logging,
        help="Log more, and show tracebacks.",
    )(function)


def _check_device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N")
    return value


def device_option(function: FunctionT) -> FunctionT:
    """Add `--device auto|cpu|cuda[:N]`, passed as `device`: a string."""
    return click.option(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        callback=_check_device,
        help="Where networks run; auto takes a GPU when there is one.",
    )(function)


def num_workers_option(function: FunctionT) -> FunctionT:
    """Add `--num-workers`, passed as `num_workers`: an int, 0 or more."""
    return click.option(
        "--num-workers",
        type=click.IntRange(min=0),
        default=1,
        help="How many work at once.",
    )(function)


def named_paths(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Path]:
    """Return the files of a repeatable option ``NAME=FILE`` by name; a callback of click."""
    found: dict[str, Path] = {}
    for value in values:
        name, _, path = value.partition("=")
        if not (name.strip() and path):
            metavar = getattr(parameter, "metavar", None) or "NAME=FILE"
            raise click.BadParameter(f"{value!r} is not {metavar}")
        if name in found:
            raise click.BadParameter(f"two are called {name!r}")
        found[name] = Path(path)
    return found


def seed_option(function: FunctionT) -> FunctionT:
    """Add `--seed`, passed as `seed`: an int, 0 or more."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers."
    )(function)


def upstream_checkpoint_option(function: FunctionT) -> FunctionT:
    """Add `--upstream-checkpoint`, passed as `upstream_checkpoint`: a string or None."""
    return click.option(
        "--upstream-checkpoint",
        metavar="FILE",
        help="Weights of the upstream model; else where they lay before.",
    )(function)


def training_options(function: FunctionT) -> FunctionT:
    """Add what every training takes: archives, configuration, output, device, workers."""
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    several: dict[str, Any] = folder | {"multiple": True}
    for option in (
        num_workers_option,
        device_option,
        click.option("--num-nodes", type=click.IntRange(1), help="Machines; else 1, or as srun."),
        click.option("--devices", type=click.IntRange(1), help="Processes of each; else 1."),
        click.option("--precision", type=click.Choice(PRECISIONS), help="Else that of --config."),
        click.option("--work", **folder, help="Checkpoints; OUTPUT/train by default."),
        click.option("--output", required=True, **folder, help="Model directory."),
        click.option("--config", type=Path, metavar="YAML", help="Network, schedule and loss."),
        upstream_checkpoint_option,
        click.option("--augment-with", **several, help="Archive to add sounds of (repeatable)."),
        click.option(
            "--valid", required=True, **several, help="Archive that stops it (repeatable)."
        ),
        click.option(
            "--train", required=True, **several, help="Archive to learn from (repeatable)."
        ),
    ):
        function = option(function)
    return function


def overwrite_option(function: FunctionT) -> FunctionT:
    """Add `--overwrite`, passed as `overwrite`: a bool."""
    return click.option("--overwrite", is_flag=True, help="Make again what is already there.")(
        function
    )
