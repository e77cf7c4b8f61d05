"""Which recordings a command is asked to process, and under which names."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from audioseg_xai.errors import AudioError, UsageError
from audioseg_xai.shards import Job, Shard

STDIN = "-"


@dataclass(frozen=True)
class Recording:
    """A recording to process.

    Attributes
    ----------
    uri : str
        Its name in all outputs.
    path : str
        Its file, or '-' for standard input.
    duration : float or None
        Its length in seconds, where a data directory tells.
    """

    uri: str
    path: str
    duration: float | None = None

    @property
    def source(self) -> str:
        """What messages call it."""
        return "standard input" if self.path == STDIN else self.path


def recording_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add AUDIO, `--list`, `--datadir` and `--uri`; passed as `recordings`, a list."""

    @click.argument("audio", nargs=-1)
    @click.option("--list", "list_file", metavar="FILE", help="Take paths from FILE, one a line.")
    @click.option("--datadir", metavar="DIR", help="Take the recordings of a data directory.")
    @click.option("--uri", help="Name of the recording, when there is one; else its file name.")
    @functools.wraps(function)
    def wrapped(
        *,
        audio: tuple[str, ...],
        list_file: str | None,
        datadir: str | None,
        uri: str | None,
        **others: Any,
    ) -> Any:
        recordings = collect(audio, list_file=list_file, datadir=datadir, uri=uri)
        return function(recordings=recordings, **others)

    return wrapped


def shard_of(
    recordings: list[Recording], job: Job | None, outputs: Iterable[Path | None]
) -> tuple[Shard | None, list[Recording]]:
    """Return the share of `recordings` that `job` does, balanced by duration where all have one.

    Parameters
    ----------
    recordings : list of Recording
        All of them.
    job : Job or None
        Which share of them; None is all, which is no shard.
    outputs : iterable of Path or None
        What it will make; their records from before are removed.

    Returns
    -------
    shard : Shard or None
        Writes the records in the end.
    mine : list of Recording
        What to process; may be empty.

    Raises
    ------
    UsageError
        If standard input is among them, or there is no file to write.
    """
    if job is None:
        return None, recordings
    if any(recording.path == STDIN for recording in recordings):
        raise UsageError("--job: - (standard input) cannot be shared")
    written = [output for output in outputs if output is not None]
    if not written:
        raise UsageError("--job: shares go to files, to be joined: say --rttm FILE")
    durations = [recording.duration for recording in recordings]
    known = [duration for duration in durations if duration is not None]
    uris = [recording.uri for recording in recordings]
    shard = Shard(uris, job, known if len(known) == len(durations) else ())
    shard.begin(written)
    return shard, [recordings[place] for place in shard.places]


def check_workers(recordings: Iterable[Recording], num_workers: int) -> None:
    """Refuse standard input where several workers would read it.

    Raises
    ------
    UsageError
        If it is among the recordings, and there is more than one worker.
    """
    if num_workers > 1 and any(recording.path == STDIN for recording in recordings):
        raise UsageError("- (standard input) cannot be shared: leave out --num-workers")


def processing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `pipeline.Settings` that are not about recordings or devices."""
    for option in (
        click.option("--allow-truncated", is_flag=True, help="Use what is left of damaged files."),
        click.option(
            "--upstream-checkpoint",
            metavar="FILE",
            help="Weights of the upstream that the model listens to; else where they lay.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=0),
            default=0,
            help="0: all cores, or OMP_NUM_THREADS.",
        ),
        click.option("--classes", help="Decide only these, such as speech,music."),
        click.option("--model", metavar="DIR", help="Model directory; else the one that ships."),
    ):
        function = option(function)
    return function


def collect(
    audio: Iterable[str],
    *,
    list_file: str | None = None,
    datadir: str | None = None,
    uri: str | None = None,
) -> list[Recording]:
    """Return the recordings that a command line names, in its order.

    Parameters
    ----------
    audio : iterable of str
        Paths, or '-' for standard input.
    list_file : str, optional
        File with a path a line.
    datadir : str, optional
        Data directory, whose uris name its recordings.
    uri : str, optional
        Name of the recording if there is only one.

    Raises
    ------
    UsageError
        If there is none, or two would have one name.
    """
    from audioseg_xai.annotation import check_uri

    paths = [*audio, *(_read_list(list_file) if list_file else [])]
    recordings = [Recording(_name(path), path) for path in paths]
    recordings += _read_datadir(datadir) if datadir else []
    if not recordings:
        raise UsageError("no recording named: give audio files, '-' for standard input, or --list")
    if uri is not None:
        if len(recordings) > 1:
            raise UsageError(f"--uri names one recording, but there are {len(recordings)}")
        recordings = [Recording(check_uri(uri), recordings[0].path)]
    _check_distinct(recordings)
    return recordings


def check_outputs(recordings: Iterable[Recording], outputs: Iterable[str | Path | None]) -> None:
    """Refuse to write over a recording, twice to one file, or where nothing can be written.

    Parameters
    ----------
    recordings : iterable of Recording
        What is read. Without any, names are compared and no folder is tried.
    outputs : iterable of path or None
        What will be written; missing folders are made.

    Raises
    ------
    UsageError
        If one of `outputs` is a recording, or another output, or cannot be written.
    """
    read, written = list(recordings), [Path(output) for output in outputs if output is not None]
    taken = {Path(r.path).resolve() for r in read if r.path != STDIN}
    for output in written:
        if output.resolve() in taken:
            raise UsageError(f"{output}: would be overwritten: write to another file")
        taken.add(output.resolve())
    for output in written if read else ():
        _check_writable(output)


def _check_writable(output: Path) -> None:
    if output.is_dir():
        raise UsageError(f"{output}: is a folder: name a file to write")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # As long a name as `files.atomic_path` will take.
        with tempfile.NamedTemporaryFile(
            dir=output.parent, prefix=f".{output.stem}.", suffix=f".tmp{output.suffix}"
        ):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{output}: cannot be written: {reason}: write elsewhere") from None


def _name(path: str) -> str:
    from audioseg_xai.annotation import safe_uri

    return "stdin" if path == STDIN else safe_uri(path)


def _read_list(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file: --list takes a file with a path a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AudioError(f"{path}: is no list of paths: {error}") from None
    return [line.strip() for line in lines if line.strip()]


def _read_datadir(path: str) -> list[Recording]:
    from audioseg_xai.datadir import DataDir

    data = DataDir.read(path)
    return [Recording(uri, str(data.wav[uri]), data.duration[uri]) for uri in data.uris]


def _check_distinct(recordings: list[Recording]) -> None:
    uri, count = Counter(recording.uri for recording in recordings).most_common(1)[0]
    if count > 1:
        paths = [recording.path for recording in recordings if recording.uri == uri]
        raise UsageError(
            f"{' and '.join(paths)} would all be called {uri}: rename the files, or process them "
            "one by one with --uri"
        )
