"""What works here: packages, accelerators, the default model, audio formats.

Every check does the real thing in a small way: it imports, loads, encodes and decodes.
"""

from __future__ import annotations

import io
import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from audioseg_xai.cli import describe_error, log
from audioseg_xai.version import __version__

if TYPE_CHECKING:  # a doctor starts even where the libraries are broken
    import numpy as np
    from numpy.typing import NDArray

DISTRIBUTION = "audioseg-xai"

EXTRAS = {
    "": "everything",
    "train": "simulate, train-teacher, distill",
    "report": "figures of explain",
    "faithfulness": "faithfulness, against gradient methods",
    "probe": "probe",
    "onnx": "export-onnx",
    "upstream": "cache-features --upstream, models that listen to an upstream",
    "test": "make test",
    "benchmark": "benchmarks/",
}
"""What each extra of the package is for; the empty name stands for what it always needs."""

_SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
_CONTAINERS = {"m4a": "ipod", "mp4": "mp4", "mkv": "matroska"}
_NEEDED_FORMATS = ("wav", "flac")

_TONE_RATE = 48_000
_TONE_SECONDS = 0.5


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes
    ----------
    section : str
        Kind of thing: system, packages, devices, model, formats.
    name : str
        What was tried.
    ok : bool
        Whether it works.
    detail : str
        Version, size, or what is wrong and what to do.
    needed : bool
        Whether the main job, segmenting and explaining, needs it.
    """

    section: str
    name: str
    ok: bool
    detail: str
    needed: bool = False


def examine() -> Iterator[Check]:
    """Yield all checks, one after the other as they are done."""
    yield Check("system", "audioseg_xai", True, __version__)
    yield Check("system", "python", True, f"{platform.python_version()}, {platform.platform()}")
    yield Check("system", "cores", True, f"{len(os.sched_getaffinity(0))} usable")
    yield from check_packages()
    yield from check_devices()
    yield check_model()
    yield from check_formats()


def missing_extras(checks: list[Check]) -> dict[str, str]:
    """Return the extras of which a package is missing or too old, and what each is for."""
    bad = {check.name for check in checks if check.section == "packages" and not check.ok}
    return {
        extra: EXTRAS[extra]
        for name, _, extra in requirements()
        if extra and name in bad and extra in EXTRAS
    }


# --- packages -----------------------------------------------------------------------------------


def requirements() -> list[tuple[str, str, str]]:
    """Return the packages that ours declares: name, lowest version, extra (or '').

    Empty when our package is not installed but only found on the path.
    """
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return [_parse_requirement(line) for line in lines]


def _parse_requirement(line: str) -> tuple[str, str, str]:
    name = re.match(r"[\w.-]+", line)
    lowest = re.search(r">=\s*([\w.]+)", line.partition(";")[0])
    extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
    if name is None:
        raise ValueError(f"requirement {line!r} has no name")
    return name[0], lowest[1] if lowest else "", extra[1] if extra else ""


def check_packages() -> Iterator[Check]:
    """Compare what is installed with what the package declares."""
    declared = requirements()
    if not declared:
        advice = "not installed, only found on the path: pip install it to check what it needs"
        yield Check("packages", DISTRIBUTION, False, advice)
    for name, lowest, extra in declared:
        yield _check_package(name, lowest, extra)


def _check_package(name: str, lowest: str, extra: str) -> Check:
    needed = not extra
    remedy = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check("packages", name, False, f"missing, for {EXTRAS[extra]}: {remedy}", needed)
    if release(found) < release(lowest):
        return Check("packages", name, False, f"{found} is older than {lowest}: {remedy}", needed)
    return Check("packages", name, True, found, needed)


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version starts with, without zeros at the end.

    Examples
    --------
    >>> release("2.13.0+cpu"), release("0.5.0.post1"), release("2.0") == release("2")
    ((2, 13), (0, 5), True)
    """
    numbers = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


# --- devices and the model ----------------------------------------------------------------------


def check_devices() -> Iterator[Check]:
    """Yield the CPU and every CUDA device that torch finds."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that torch links is missing
        yield Check("devices", "torch", False, describe_error(error), needed=True)
        return
    yield Check("devices", "cpu", True, f"{torch.get_num_threads()} threads", needed=True)
    if not torch.cuda.is_available():
        yield Check("devices", "cuda", False, "no usable GPU: everything runs on the CPU")
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        yield Check("devices", f"cuda:{number}", True, f"{properties.name}, {memory}")


def check_model() -> Check:
    """Load the model that lies in the package."""

    def load() -> str:
        from audioseg_xai.models.directory import load_model

        model = load_model()
        size = sum(parameter.numel() for parameter in model.network.parameters())
        return f"loads: {', '.join(model.classes)}; {size:,} parameters"

    return _try("model", "default", load, needed=True)


def _try(section: str, name: str, action: Callable[[], str], needed: bool) -> Check:
    try:
        return Check(section, name, True, action(), needed)
    except Exception as error:  # whatever it is, saying so is the purpose
        log.debug(f"{section} {name}", exc_info=True)
        return Check(section, name, False, describe_error(error), needed)


# --- audio formats ------------------------------------------------------------------------------


def check_formats() -> Iterator[Check]:
    """Encode a tone in each format and read it back."""
    for name in (*_SOUNDFILE_FORMATS, *_CONTAINERS):
        yield _try("formats", name, partial(_round_trip, name), name in _NEEDED_FORMATS)


def _round_trip(name: str) -> str:
    from audioseg_xai.audio import read_audio
    from audioseg_xai.frames import SAMPLE_RATE

    encoded = _encode_soundfile(name) if name in _SOUNDFILE_FORMATS else _encode_av(name)
    encoded.seek(0)
    seconds = len(read_audio(encoded)) / SAMPLE_RATE
    if abs(seconds - _TONE_SECONDS) > 0.1:  # codecs pad to whole packets
        raise ValueError(f"{_TONE_SECONDS} s of audio came back as {seconds:.3f} s")
    return "decodes"


def _encode_soundfile(name: str) -> io.BytesIO:
    import soundfile

    container, codec = _SOUNDFILE_FORMATS[name]
    encoded = io.BytesIO()
    soundfile.write(encoded, _tone(), _TONE_RATE, format=container, subtype=codec)
    return encoded


def _encode_av(name: str) -> io.BytesIO:
    import av

    encoded = io.BytesIO()
    with av.open(encoded, "w", format=_CONTAINERS[name]) as container:
        stream = container.add_stream("aac", rate=_TONE_RATE)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(_tone()[None], format="fltp", layout="mono")
        frame.sample_rate = _TONE_RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return encoded


def _tone() -> NDArray[np.float32]:
    import numpy as np

    time = np.arange(int(_TONE_SECONDS * _TONE_RATE)) / _TONE_RATE
    return (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
