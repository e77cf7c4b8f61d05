"""Random crops of an archive: what they cost in each layout, against what a training step consumes.

    python benchmarks/data_path.py            # --hours 100 writes 10 GB of spectrograms

Two archives of recordings of two minutes: `--hours` of the spectrogram of the bundled demo, at
random levels, and a hundred hours in 3000 files that have holes where the spectrograms would be:
they are opened and read like others, though no disk holds them; almost every crop is of a file that
is not open. All is read from the page cache unless the line says otherwise, so that seconds are
those of the processor (user and system). Reads and bytes are those that the kernel counts. Each
file was read from before, unless the line says that it was not. A training step is one of the
default student.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from results import Limit, Result, options, publish
from torch import nn

from audioseg_xai.archive import Archive, ArchiveEntry, write_index, write_recording
from audioseg_xai.audio import read_audio
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.networks import Student, StudentConfig
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig
from audioseg_xai.training.student import StudentLosses

DEMO = Path(__file__).resolve().parent.parent / "audioseg_xai" / "assets" / "demo.flac"
FRAMES = 6_000  # two minutes
CROP = 200  # four seconds
BATCH = 16
ROUNDS = 5

Read = Callable[[ArchiveEntry, int], object]
Counts = dict[str, float]

CHUNKED: dict[str, dict[str, Any]] = {
    "chunks of 200 frames": {},
    "chunks, lzf": {"compression": "lzf", "shuffle": True},
    "chunks, gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "chunks, gzip 4": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}


def write_archive(folder: Path, hours: float) -> Archive:
    """Write the archive of real spectrograms."""
    sound = log_spectrogram(torch.from_numpy(read_audio(DEMO)), SpectrogramConfig()).numpy()
    rng, entries = np.random.default_rng(0), []
    for number in range(round(hours * 30)):
        rows = (rng.integers(len(sound)) + np.arange(FRAMES)) % len(sound)
        spectrogram = np.log1p(np.expm1(sound[rows]) * 10 ** rng.uniform(-3, 0))
        labels = rng.integers(-1, 2, (FRAMES, 4))
        entry = ArchiveEntry(f"r{number}", f"r{number}.h5", FRAMES)
        arrays = {"spectrogram": spectrogram, "labels": labels}
        write_recording(folder / entry.file, arrays, {"uri": entry.uri})
        entries.append(entry)
    write_index(folder, entries)
    return Archive(folder)


def write_holes(folder: Path, files: int) -> Archive:
    """Write an archive that is laid out like another one, and takes no room."""
    folder.mkdir()
    entries = [ArchiveEntry(f"n{number}", f"n{number}.h5", FRAMES) for number in range(files)]
    unwritten = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    unwritten.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    unwritten.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    for entry in entries:
        with h5py.File(folder / entry.file, "w", libver="latest") as handle:
            for name, columns, dtype in (("spectrogram", 257, "f2"), ("labels", 4, "i1")):
                space = h5py.h5s.create_simple((FRAMES, columns))
                kind = h5py.h5t.py_create(np.dtype(dtype))
                h5py.h5d.create(handle.id, name.encode(), kind, space, dcpl=unwritten)
    write_index(folder, entries)
    return Archive(folder)


# --- ways to read a crop ------------------------------------------------------------------------


def by_archive(archive: Archive) -> Read:
    """Read as trainings do."""
    return lambda entry, start: archive.read(entry, start, start + CROP)


class Handles:
    """Read through HDF5, with the last few files kept open, as was done before."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep, self.opens = folder, keep, 0
        self.handles: OrderedDict[str, h5py.File] = OrderedDict()

    def __call__(self, entry: ArchiveEntry, start: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return spectrogram and labels of a crop."""
        handle = self.handles.pop(entry.file, None)
        if handle is None:
            handle = h5py.File(self.folder / entry.file, "r")
            self.opens += 1
        self.handles[entry.file] = handle
        if len(self.handles) > self.keep:
            self.handles.popitem(last=False)[1].close()
        return handle["spectrogram"][start : start + CROP], handle["labels"][start : start + CROP]


def compressed(archive: Archive, folder: Path, settings: Mapping[str, Any]) -> float:
    """Write a copy of (at most 20 files of) an archive in another layout; return bytes a frame."""
    folder.mkdir()
    entries = archive.entries[:20]
    for entry in entries:
        spectrogram, labels, _ = archive.read(entry)
        with h5py.File(folder / entry.file, "w", libver="latest") as handle:
            chunks = (CROP, spectrogram.shape[1])
            handle.create_dataset("spectrogram", data=spectrogram, chunks=chunks, **settings)
            handle["labels"] = labels
    write_index(folder, entries)
    return sum((folder / entry.file).stat().st_size for entry in entries) / len(entries) / FRAMES


def plugins() -> dict[str, dict[str, Any]]:
    """Return the layouts of hdf5plugin, none if it is not installed."""
    try:
        import hdf5plugin
    except ModuleNotFoundError:
        return {}
    return {
        "chunks, zstd 1 (hdf5plugin)": dict(hdf5plugin.Blosc2(cname="zstd", clevel=1)),
        "chunks, lz4 (hdf5plugin)": dict(hdf5plugin.Blosc2(cname="lz4", clevel=1)),
    }


# --- measuring ----------------------------------------------------------------------------------


class Opens:
    """Counts the files that Python opens; HDF5 opens its own."""

    def __init__(self) -> None:
        self.number = 0
        sys.addaudithook(self._note)

    def _note(self, event: str, details: object) -> None:
        self.number += event == "open"


def kernel_counts() -> Counts:
    """Return reads and bytes of this process so far."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    found = {name: float(value) for name, value in (line.split(": ") for line in lines)}
    return {"reads": found["syscr"], "bytes": found["rchar"]}


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def cost(places: list[tuple[ArchiveEntry, int]], read: Read, rounds: int = ROUNDS) -> Counts:
    """Return CPU seconds of a crop in the best of some rounds, and its reads and bytes."""
    taken, before = [], kernel_counts()
    for _ in range(rounds):
        started = time.process_time()
        for place in places:
            read(*place)
        taken.append((time.process_time() - started) / len(places))
    after, crops = kernel_counts(), rounds * len(places)
    found = {name: (after[name] - before[name]) / crops for name in before}
    return found | {"seconds": min(taken)}


def random_places(entries: list[ArchiveEntry], crops: int) -> list[tuple[ArchiveEntry, int]]:
    """Return random crops."""
    rng = np.random.default_rng(1)
    chosen, starts = rng.integers(len(entries), size=crops), rng.integers(FRAMES - CROP, size=crops)
    return [(entries[number], int(start)) for number, start in zip(chosen, starts, strict=True)]


def forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(function(*arguments)))
    child.start()
    found = queue.get()
    child.join()
    return found


def growth(read: Read, entries: list[ArchiveEntry], crops: int) -> tuple[float, float]:
    """Return by how many MB a worker grew in half of some crops, and in all of them."""
    found, start = [], resident()
    for number, place in enumerate(random_places(entries, crops), start=1):
        read(*place)
        if number in (crops // 2, crops):
            found.append(resident() - start)
    return found[0], found[1]


def evict(archive: Archive) -> None:
    """Ask the kernel to forget the files of an archive."""
    for entry in archive.entries:
        with open(archive.folder / entry.file, "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold(archive: Archive, crops: int) -> float:
    """Return wall seconds of a crop that comes from the disk."""
    places = random_places(archive.entries, crops)
    evict(archive)
    started = time.perf_counter()
    for entry, start in places:
        archive.read(entry, start, start + CROP)
    return (time.perf_counter() - started) / crops


def batch_seconds(archive: Archive, batches: int) -> float:
    """Return CPU seconds of a crop of a whole batch, drawn, read and augmented."""
    source = CropSource(Corpora([archive], [archive]), DataConfig(crop=CROP), CLASSES)
    dataset = CropDataset(source, seed=0, first=0, steps=batches + 1)
    _ = dataset[0]
    started = time.process_time()
    for number in range(batches):
        dataset[number + 1]
    return (time.process_time() - started) / (batches * BATCH)


def fastest_step(
    losses: StudentLosses,
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    backward: Callable[[torch.Tensor], object] = torch.Tensor.backward,
) -> float:
    """Return CPU seconds of the fastest training step, the first one aside, which allocates."""
    taken = []
    for batch in batches:
        started = time.process_time()
        backward(losses(forward, batch)["total"])
        optimizer.step()
        optimizer.zero_grad()
        taken.append(time.process_time() - started)
    return min(taken[1:])


def step_seconds(archive: Archive, steps: int) -> float:
    """Return CPU seconds that a training step of the default student takes a crop."""
    source = CropSource(Corpora([archive], [archive]), DataConfig(crop=CROP), CLASSES)
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    student = Student(StudentConfig(), torch.rand(257, 256) / 16).train()
    losses = StudentLosses(student, LossConfig(alpha=0.0, delta=1.0))
    optimizer = torch.optim.AdamW(student.parameters())
    return fastest_step(losses, student, optimizer, [batch] * (steps + 1)) / BATCH


def bandwidth(archive: Archive) -> float:
    """Return crops a second if a crop were one copy of its bytes from the page cache."""
    path = archive.folder / archive.entries[0].file
    size, buffer = CROP * (257 * 2 + 4), np.empty(CROP * (257 * 2 + 4), np.uint8)
    descriptor = os.open(path, os.O_RDONLY)
    started = time.process_time()
    for number in range(2000):
        os.preadv(descriptor, [buffer], (number * size) % (path.stat().st_size - size))
    seconds = (time.process_time() - started) / 2000
    os.close(descriptor)
    return 1 / seconds


def row(name: str, found: Counts, opens: float, size: float, step: float) -> dict[str, str | float]:
    """Return a line of the table."""
    return {
        "layout and way": name,
        "bytes a frame": size,
        "crops/s": 1 / found["seconds"],
        "of a step's time": found["seconds"] / step,
        "opens a crop": opens,
        "reads a crop": found["reads"],
        "KB a crop": found["bytes"] / 1e3,
    }


def handle_row(
    name: str, archive: Archive, keep: int, crops: int, size: float, step: float
) -> dict[str, str | float]:
    """Measure reading through HDF5 handles."""
    read = Handles(archive.folder, keep)
    for entry in archive.entries:
        read(entry, 0)
    opened = read.opens
    found = cost(random_places(archive.entries, crops), read)
    return row(name, found, (read.opens - opened) / (ROUNDS * crops), size, step)


def offset_row(
    name: str, archive: Archive, crops: int, size: float, step: float
) -> dict[str, str | float]:
    """Measure reading as trainings do."""
    opens = Opens()
    found = cost(random_places(archive.entries, crops), by_archive(archive))
    return row(name, found, opens.number / (ROUNDS * crops), size, step)


def first_row(name: str, archive: Archive, size: float, step: float) -> dict[str, str | float]:
    """Measure the first crop of each file, which asks HDF5 where its arrays lie."""
    opens = Opens()
    found = cost([(entry, 1000) for entry in archive.entries], by_archive(archive), 1)
    opened = opens.number / len(archive) + 1  # and one by HDF5
    return row(name, found, opened, size, step)


@click.command()
@click.option("--hours", default=2.0, show_default=True, help="Of the real archive: 92 MB each.")
@options
def main(hours: float, quick: bool, json_path: Path | None) -> None:
    """Measure, and print Markdown."""
    torch.set_num_threads(1)
    crops = 900 if quick else 3_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = write_archive(folder / "real", min(hours, 0.5) if quick else hours)
        holes = write_holes(folder / "holes", 600 if quick else 3_000)
        # First, while there is no memory that was given back and could be taken again.
        before = forked(growth, Handles(holes.folder, 256), holes.entries, 2 * crops)
        after = forked(growth, by_archive(holes), holes.entries, 2 * crops)
        size = (real.folder / real.entries[0].file).stat().st_size / FRAMES
        step = forked(step_seconds, real, 3 if quick else 10)
        long = f"{len(holes) / 30:.0f} h"
        rows = [
            first_row(f"one piece, by offset, first crop of a file, {long}", holes, size, step),
            offset_row(f"one piece, by offset, {long}", holes, crops, size, step),
            handle_row(f"one piece, HDF5, 256 handles, {long}", holes, 256, crops, size, step),
            first_row("one piece, by offset, first crop of a file", real, size, step),
            offset_row("one piece, by offset, files open", real, crops, size, step),
            handle_row("one piece, HDF5, handles open", real, 256, crops, size, step),
        ]
        for layout, settings in (CHUNKED | plugins()).items():
            copy = folder / f"copy{len(rows)}"
            bytes_a_frame = compressed(real, copy, settings)
            read = Archive(copy)
            rows.append(handle_row(layout, read, 256, crops // 3, bytes_a_frame, step))
        batches = forked(batch_seconds, holes, crops // BATCH)
        disk = cold(real, crops // 10)
        ratios = {
            f"crops of {long} that a core reads / that a core trains on": (
                float(rows[1]["crops/s"]) * step
            ),
            "the same, drawn and augmented as well": step / batches,
            f"CPU time of a crop of {long}, HDF5 handles / by offset": (
                float(rows[1]["crops/s"]) / float(rows[2]["crops/s"])
            ),
            "MB that a worker grew in half an epoch, HDF5 handles": before[0],
            "in an epoch, HDF5 handles": before[1],
            "MB that a worker grew in half an epoch, by offset": after[0],
            "in an epoch, by offset": after[1],
            "crops/s from the disk (wall, files evicted from the page cache)": 1 / disk,
            "crops/s that a training step of one core consumes": 1 / step,
        }
        near = float(rows[4]["crops/s"])
        bound = Limit("copying a crop's bytes", near, bandwidth(real), "crops/s")
    publish(Result("data_path", rows, ratios, [bound]), json_path)


if __name__ == "__main__":
    main()
