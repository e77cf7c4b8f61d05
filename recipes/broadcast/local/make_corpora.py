#!/usr/bin/env python3
"""Make four small corpora of simulated recordings, laid out as the paper's corpora are.

    python local/make_corpora.py OUTPUT --minutes 2 --seed 0

Writes OUTPUT/{dihard,openbmat,allies,albayzin}, each with --minutes of audio, for trying out
the recipe without the corpora. The sounds come from the pool of recipes/mini; what is trained on
and what is tested on share no voice, piece or noise, except in OpenBMAT, which is not tested on.
The same pool, minutes and seed give the same files.

A simulated recording says where there is speech and where several people speak: the turns of
speaker A are the speech, those of speaker B the overlap. The three annotators of OpenBMAT set
boundaries up to 0.3 s apart; its audio lies in the folder audio.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

import click
import numpy as np

from audioseg_xai.annotation import Region, Segment, write_rttm, write_uem
from audioseg_xai.audio import write_audio
from audioseg_xai.cli import command, log, overwrite_option, seed_option
from audioseg_xai.config import parse_config
from audioseg_xai.corpora.coverage import by_label, covered, labelled
from audioseg_xai.corpora.pool import Pool
from audioseg_xai.errors import UsageError
from audioseg_xai.files import write_text_atomic
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate import Mixture, SimulationConfig, Simulator, Stock

POOL = Path(__file__).resolve().parents[2] / "mini" / "pool"
SECONDS = 20.0
PIECE = 60.0
ANNOTATORS = ("annotator_1", "annotator_2", "annotator_3")
JITTER = 0.15
DOMAINS = ("meeting", "broadcast_interview", "restaurant", "webvideo")

SCENES = {  # kinds of recording, in turn: few recordings have all kinds of sound
    "dihard": ("meeting", "debate", "street"),
    "openbmat": ("music", "broadcast", "noise"),
    "allies": ("broadcast", "debate", "meeting"),
    "albayzin": ("broadcast", "street", "music", "noise"),
}
SETS = {  # name of a set, split of its pool, share of the recordings
    "dihard": (("dev", "train", 0.7), ("eval", "valid", 0.3)),
    "openbmat": (("all", "train", 1.0),),
    "allies": (
        ("train", "train", 0.55),
        ("allies_clean", "valid", 0.15),
        ("Test-D", "valid", 0.15),
        ("Test-E", "valid", 0.15),
    ),
    "albayzin": (("train", "train", 0.6), ("dev", "valid", 0.2), ("test", "valid", 0.2)),
}


@command("make_corpora")
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--minutes", default=2.0, type=click.FloatRange(min=0.5), help="Audio a corpus.")
@click.option("--pool", default=POOL, type=Path, help="Folder with pool.jsonl and its audio.")
@seed_option
@overwrite_option
def cli(output: Path, minutes: float, pool: Path, seed: int, overwrite: bool) -> None:
    """Make four small corpora of simulated recordings, laid out as the paper's corpora are."""
    writers = {
        "dihard": write_dihard,
        "openbmat": write_openbmat,
        "allies": write_allies,
        "albayzin": write_albayzin,
    }
    there = [name for name in writers if (output / name).exists()]
    if there and not overwrite:
        raise UsageError(f"{output}: holds {', '.join(there)} already: --overwrite writes over it")
    for number, (name, write) in enumerate(writers.items()):
        recordings = Recordings(name, minutes, pool, seed * len(writers) + number)
        write(output / name, recordings)
        log.info(f"{output / name}: {recordings.made} recordings")


class Recordings:
    """The simulated recordings of a corpus, set by set."""

    def __init__(self, corpus: str, minutes: float, pool: Path, seed: int) -> None:
        self._corpus, self._seed = corpus, seed
        self._pool = Pool.read(pool)
        self._length = PIECE if corpus == "openbmat" else SECONDS
        self._total = minutes * 60 / self._length
        self.made = 0

    def __iter__(self) -> Iterator[tuple[str, int, Mixture]]:
        """Yield set, number within the corpus from 1, and recording."""
        scenes = SCENES[self._corpus]
        for name, split, share in SETS[self._corpus]:
            simulators = [self._simulator(split, scene) for scene in scenes]
            for position in range(max(1, round(share * self._total))):
                simulator = simulators[position % len(scenes)]
                yield name, self.made + 1, simulator.mixture(self.made)
                self.made += 1

    def _simulator(self, split: str, scene: str) -> Simulator:
        settings = {
            "duration": (self._length, self._length),
            "short": 0.0,
            "scenes": {scene: 1.0},
            "music": {"bed": 1.0},
            "speech": {"broadcast_overlap": 0.8 if self._corpus == "allies" else 0.1},
            "rooms": {"rooms": 3, "positions": 3},
        }
        config = parse_config(settings, SimulationConfig, "simulation")
        return Simulator(Stock(self._pool, split, config.speech.speaker_cap), config, self._seed)


# --- DIHARD III -----------------------------------------------------------------------------------


def write_dihard(root: Path, recordings: Recordings) -> None:
    """Write flac, rttm, sad and uem files, the table of recordings and the scoring UEMs."""
    table = ["uri\tin_core\tlang\tdomain\tsource"]
    regions: dict[str, dict[str, list[Region]]] = {"core": {}, "full": {}}
    for name, number, mixture in recordings:
        uri, data, turns = f"DH_{name.upper()}_{number:04d}", root / "data", speakers(mixture)
        write_audio(folder(data / "flac") / f"{uri}.flac", mixture.samples)
        write_rttm({uri: turns}, data / "rttm" / f"{uri}.rttm")
        write_uem({uri: [(0.0, seconds(mixture))]}, data / "uem" / f"{uri}.uem")
        sad = [f"{on:.3f} {off:.3f} speech\n" for on, off in covered(by_label(turns).values())]
        write_text_atomic(data / "sad" / f"{uri}.lab", "".join(sad))
        in_core = number % 2 == 1 or not any(name.upper() in known for known in regions["core"])
        regions["full"][uri] = [(0.0, seconds(mixture))]
        regions["core"] |= {uri: regions["full"][uri]} if in_core else {}
        table.append(f"{uri}\t{in_core}\teng\t{DOMAINS[number % len(DOMAINS)]}\tsimulated")
    for name, part in regions.items():
        write_uem(part, root / "data" / "uem_scoring" / name / "all.uem")
    write_text_atomic(root / "docs" / "recordings.tbl", "\n".join(table) + "\n")


# --- OpenBMAT -------------------------------------------------------------------------------------


def write_openbmat(root: Path, recordings: Recordings) -> None:
    """Write wav files, and what three annotators say, in all mappings, as TSV and JSON."""
    said: dict[str, dict[str, dict[str, list[Segment]]]] = {}
    for _, number, mixture in recordings:
        uri = f"piece_{number:04d}"
        write_audio(folder(root / "audio") / f"{uri}.wav", mixture.samples)
        for position, annotator in enumerate(ANNOTATORS):
            rng = np.random.default_rng([number, position])
            for mapping, segments in annotate(mixture, rng).items():
                said.setdefault(mapping, {}).setdefault(annotator, {})[uri] = segments
    for mapping, by_annotator in said.items():
        write_tsv(root / "tsv" / mapping, by_annotator)
        write_text_atomic(
            root / "json" / f"{mapping}.json", json.dumps(as_json(by_annotator), indent=1)
        )


def annotate(mixture: Mixture, rng: np.random.Generator) -> dict[str, list[Segment]]:
    """Return what an annotator with boundaries of their own says, by mapping."""
    end, regions = seconds(mixture), by_label(mixture.segments)
    jittered = [
        (max(0.0, on + rng.uniform(-JITTER, JITTER)), min(end, off + rng.uniform(-JITTER, JITTER)))
        for on, off in regions.get("music", [])
    ]
    music = covered([[(round(on, 2), round(off, 2)) for on, off in jittered if off - on > 0.1]])
    talk = regions.get("speech", [])
    behind = covered([music, talk], at_least=2)
    parts = {
        "no-music": complement(music, end),
        "fg-music": covered([music, complement(behind, end)], at_least=2),
        "bg-music": behind,
    }
    three = sorted(s for label, found in parts.items() for s in labelled(found, label))
    two = sorted(labelled(music, "music") + labelled(parts["no-music"], "no-music"))
    return {"original": three, "MRLE_mapping": three, "MD_mapping": two}


def write_tsv(root: Path, by_annotator: dict[str, dict[str, list[Segment]]]) -> None:
    """Write a file an annotator and piece."""
    for annotator, files in by_annotator.items():
        for uri, segments in files.items():
            lines = [f"{s.onset}\t{s.offset}\t{s.label}\n" for s in segments]
            write_text_atomic(root / annotator / f"{uri}.tsv", "".join(lines))


def as_json(by_annotator: dict[str, dict[str, list[Segment]]]) -> dict[str, object]:
    """Return annotations, and where all or most annotators agree."""
    annotations = {
        annotator: {
            uri: {
                str(n): {"start": s.onset, "end": s.offset, "class": s.label}
                for n, s in enumerate(segments)
            }
            for uri, segments in files.items()
        }
        for annotator, files in by_annotator.items()
    }
    uris = next(iter(by_annotator.values()))
    found = {uri: agreement([files[uri] for files in by_annotator.values()]) for uri in uris}
    return {"annotations": annotations, "agreement": found}


def agreement(opinions: list[list[Segment]]) -> dict[str, object]:
    """Return the stretches that all, and that most annotators label alike, and their share."""
    end = max(segment.offset for segment in opinions[0])
    regions = [by_label(segments) for segments in opinions]
    labels = sorted({label for found in regions for label in found})
    segments = {
        name: sorted(
            (on, off, label)
            for label in labels
            for on, off in covered([found.get(label, []) for found in regions], number)
        )
        for name, number in (("full", len(opinions)), ("partial", len(opinions) - 1))
    }
    vals = {name: sum(b - a for a, b, _ in found) / end for name, found in segments.items()}
    return {"vals": vals, "segs": segments}


# --- ALLIES ---------------------------------------------------------------------------------------


def write_allies(root: Path, recordings: Recordings) -> None:
    """Write wav, mdtm, uem and, for the clean shows, Transcriber files; and the lists."""
    lists: dict[str, list[str]] = {}
    for name, number, mixture in recordings:
        uri, end = f"SHOW_{number:04d}", seconds(mixture)
        write_audio(folder(root / "wav") / f"{uri}.wav", mixture.samples)
        write_text_atomic(root / "mdtm" / f"{uri}.mdtm", mdtm(uri, speakers(mixture)))
        write_uem({uri: [(0.0, end)]}, root / "uem" / f"{uri}.uem")
        if name == "allies_clean":
            write_text_atomic(root / "trs" / f"{uri}.trs", trs(uri, mixture))
        lists.setdefault(name, []).append(uri)
    for name, uris in lists.items():
        if name != "train":  # as released: what is trained on is in no list
            write_text_atomic(root / "lst" / f"{name}.lst", "".join(f"{uri}\n" for uri in uris))


def mdtm(uri: str, turns: list[Segment]) -> str:
    """Return an MDTM file."""
    lines = (f"{uri} 1 {s.onset:.3f} {s.duration:.3f} speaker NA adult {s.label}" for s in turns)
    return "".join(f"{line}\n" for line in [f";; {uri}", *lines])


def trs(uri: str, mixture: Mixture) -> str:
    """Return a Transcriber file with turns and music."""
    end, parts = seconds(mixture), []
    turns = by_label(speakers(mixture))
    both = covered(turns.values(), at_least=2)
    alone = covered([covered(turns.values()), complement(both, end)], at_least=2)
    for on, off, names in sorted([(*r, "sp1") for r in alone] + [(*r, "sp1 sp2") for r in both]):
        parts.append((on, f'<Turn speaker="{names}" startTime="{on:.3f}" endTime="{off:.3f}">'))
        parts.append((on, f'<Sync time="{on:.3f}"/>\n</Turn>'))
    body = "\n".join(text for _, text in parts)
    music = by_label(mixture.segments).get("music", [])
    marks = [(on, "high") for on, _ in music] + [(off, "off") for _, off in music]
    body += "".join(
        f'\n<Background time="{time:.3f}" type="music" level="{level}"/>'
        for time, level in sorted(marks)
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE Trans SYSTEM "trans-14.dtd">\n'
        f"<Trans audio_filename={quoteattr(uri)}>\n<Episode>\n"
        f'<Section type="report" startTime="0" endTime="{end:.3f}">\n{body}\n'
        "</Section>\n</Episode>\n</Trans>\n"
    )


# --- Albayzin -------------------------------------------------------------------------------------


def write_albayzin(root: Path, recordings: Recordings) -> None:
    """Write wav and RTTM files and the lists."""
    short = {"speech": "sp", "music": "mu", "noise": "no"}
    lists: dict[str, list[str]] = {}
    for name, number, mixture in recordings:
        uri = f"radio{number:04d}"
        found = [
            Segment(s.onset, s.offset, short[s.label]) for s in mixture.segments if s.label in short
        ]
        write_audio(folder(root / "wav") / f"{uri}.wav", mixture.samples)
        path = root / "rttm" / f"{uri}.rttm"
        write_rttm({uri: found}, path)
        if not found:
            write_text_atomic(path, ";; nothing sounds\n")
        lists.setdefault(name, []).append(uri)
    for name, uris in lists.items():
        path = root / "lists" / "AragonRadio" / f"{name}.txt"
        write_text_atomic(path, "".join(f"{uri}\n" for uri in uris))


# --- what they share ------------------------------------------------------------------------------


def speakers(mixture: Mixture) -> list[Segment]:
    """Return the turns of two speakers: A whenever anybody speaks, B whenever two do."""
    regions = by_label(mixture.segments)
    first = labelled(covered([regions.get("speech", [])]), "speakerA")
    return sorted(first + labelled(covered([regions.get("overlap", [])]), "speakerB"))


def complement(regions: list[Region], end: float) -> list[Region]:
    """Return what lies between disjoint, sorted regions, from 0 to `end` seconds."""
    times = [0.0, *(time for region in regions for time in region), end]
    return [(on, off) for on, off in zip(times[::2], times[1::2], strict=True) if on < off]


def seconds(mixture: Mixture) -> float:
    """Return how long a recording is."""
    return float(mixture.samples.size / SAMPLE_RATE)


def folder(path: Path) -> Path:
    """Return a folder, made when it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    cli()
