"""Small corpora in the layouts of the released ones, written by hand, and how they are prepared."""

from __future__ import annotations

import importlib
import io
import json
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioseg_xai import files
from audioseg_xai.annotation import Segment
from audioseg_xai.corpora.report import Report
from audioseg_xai.corpora.sets import Settings, prepare_corpus
from audioseg_xai.datadir import DataDir

RATE = 8000


def write(root: Path, contents: dict[str, str | bytes]) -> Path:
    """Write files below `root`."""
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def spoil(root: Path, name: str, content: str | bytes | None) -> None:
    """Write other content to a file, or remove it."""
    if content is None:
        (root / name).unlink()
    else:
        write(root, {name: content})


def hum(path: Path, seconds: float = 10.0) -> Path:
    """Write a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(seconds, path.suffix[1:]))
    return path


@lru_cache
def _encoded(seconds: float, container: str) -> bytes:
    buffer = io.BytesIO()
    samples = 0.1 * np.sin(np.arange(round(seconds * RATE)) / 5)
    soundfile.write(buffer, samples, RATE, format=container)
    return buffer.getvalue()


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be written without waiting for the disk: tests write thousands."""
    monkeypatch.setattr(files, "_flush_to_disk", lambda path: None)


def prepare(corpus: str, root: Path, output: Path, **options: object) -> Report:
    """Make the data directories of a corpus."""
    read = importlib.import_module(f"audioseg_xai.corpora.{corpus}").read
    return prepare_corpus(corpus, partial(read, **options), root, Settings(output), options)


def timeline(data: DataDir, uri: str, label: str) -> list[tuple[float, float]]:
    """Return where a class sounds."""
    return [times(s) for s in data.reference[uri] if s.label == label]


def times(segment: Segment) -> tuple[float, float]:
    """Return onset and offset, in milliseconds rounded to seconds."""
    return round(segment.onset, 3), round(segment.offset, 3)


def turn(uri: str, onset: float, duration: float, speaker: str) -> str:
    """Return an RTTM line."""
    return f"SPEAKER {uri} 1 {onset} {duration} <NA> <NA> {speaker} <NA> <NA>\n"


def dihard(root: Path) -> Path:
    """Write two recordings of dev and one of eval, of 10 s each."""
    turns = {
        # 0    1    2    3    4    5    6    7    8    9
        #      [A------------------]
        #                     [B--------]          [C---]
        "DH_DEV_0001": [(1, 4, "A"), (4.5, 1.5, "B"), (8, 1, "C")],
        "DH_DEV_0002": [(0, 2, "A"), (2, 2, "B")],
        "DH_EVAL_0001": [(5, 5, "A")],
    }
    rows = [f"{u}\t{u[-4] == '0'}\teng\tcourt\tx" for u in turns]
    rows[1] = "DH_DEV_0002\tFalse\teng\tmeeting\tx"
    for uri, found in turns.items():
        lines = "".join(turn(uri, *fields) for fields in found)
        write(root, {f"data/rttm/{uri}.rttm": lines})
        write(root, {f"data/uem/{uri}.uem": f"{uri} 1 0.000 10.000\n"})
        hum(root / f"data/flac/{uri}.flac")
    core = "DH_DEV_0001 1 0.000 10.000\nDH_EVAL_0001 1 0.000 10.000\n"
    table = "\n".join(["uri\tin_core\tlang\tdomain\tsource", *rows]) + "\n"
    return write(root, {"docs/recordings.tbl": table, "data/uem_scoring/core/all.uem": core})


OPINIONS = {
    # 0    1    2    3    4    5    6    7    8    9    10
    # [music-------------------]                          three say music up to 4, 5 and 6 s
    "one": {"a": [(0, 4, "music"), (4, 10, "no-music")], "b": [(0, 10, "music")]},
    "two": {"a": [(0, 5, "fg-music"), (5, 10, "no-music")], "b": [(0, 10, "bg-music")]},
    "six": {"a": [(0, 6, "similar"), (6, 10, "no-music")], "b": [(0, 10, "bgvl-music")]},
}


def openbmat(root: Path, form: str = "tsv") -> Path:
    """Write two recordings of 10 s and three opinions on each, as TSV or JSON."""
    for uri in ("a", "b"):
        hum(root / "audio" / f"{uri}.wav")
    if form == "json":
        annotations = {
            who: {
                f"{uri}.wav": {
                    str(n): dict(zip(("start", "end", "class"), fields, strict=True))
                    for n, fields in enumerate(found)
                }
                for uri, found in said.items()
            }
            for who, said in OPINIONS.items()
        }
        return write(root, {"json/MD_mapping.json": json.dumps({"annotations": annotations})})
    for who, said in OPINIONS.items():
        for uri, found in said.items():
            text = "".join(f"{on}\t{off}\t{label}\n" for on, off, label in found)
            write(root, {f"tsv/MD_mapping/{who}/{uri}.tsv": text})
    return root


TRS = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE Trans SYSTEM "trans-14.dtd">
<Trans><Episode><Section type="report" startTime="0" endTime="10">
<Turn speaker="sp1 sp2" startTime="0" endTime="10">
<Sync time="0"/> \xe9t\xe9
<Background time="2.5" type="music" level="high"/>
<Background time="3" type="music" level="low"/>
<Background time="4" type="other" level="high"/>
<Background time="6" type="music" level="off"/>
<Background time="9" type="music other" level="high"/>
</Turn></Section></Episode></Trans>
"""


def allies(root: Path) -> Path:
    """Write a clean show with music, one of Test-D and one that is in no list, of 10 s each."""
    for show in ("CLEAN", "DEBATE", "MORE"):
        hum(root / f"wav/{show}.wav")
        mdtm = f";; a comment\n{show} 1 1.5 3.0 speaker NA adult_male Jean\n"
        mdtm += f"{show} 1 4.0 2.0 speaker NA adult_female Anne\n"
        write(root, {f"mdtm/{show}.mdtm": mdtm, f"uem/{show}.uem": f"{show} 1 0.5 9.500\n"})
    write(root, {"lst/allies_clean.lst": "CLEAN\n", "lst/Test-D.lst": "DEBATE\nCLEAN\n"})
    return write(root, {"trs/CLEAN.trs": TRS.encode("latin-1")})


def albayzin(root: Path) -> Path:
    """Write two shows of Aragon Radio, of 10 s each."""
    for show, name in (("radio1", "train"), ("radio2", "dev"), ("radio3", "test")):
        hum(root / f"wav/{show}.wav")
        lines = turn(show, 0, 6, "sp") + turn(show, 2, 7, "mu") + turn(show, 8, 2, "no")
        write(root, {f"rttm/{show}.rttm": lines, f"lists/AragonRadio/{name}.txt": f"{show}\n"})
    return root


def catalan(root: Path) -> Path:
    """Write two shows of 2010: the classes are the text, or the topics of sections."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<Trans>'
    texts = zip((0, 2, 4, 6, 8), ("Music", "sp", "Speech_over_music", "SN", "Other"), strict=True)
    syncs = "\n".join(f'<Sync time="{time}"/>{text}' for time, text in texts)
    turns = f'{head}<Episode><Section type="report" startTime="0" endTime="10">\n<Turn '
    turns += f'startTime="0" endTime="10">\n{syncs}\n</Turn></Section></Episode></Trans>\n'
    topics = f'{head}<Topics><Topic id="to1" desc="speech over music"/></Topics><Episode>\n'
    topics += '<Section type="report" topic="to1" startTime="1" endTime="9"/></Episode></Trans>\n'
    for show in ("tv1", "tv2"):
        hum(root / f"wav/{show}.wav")
    return write(root, {"trs/tv1.trs": turns, "trs/tv2.trs": topics})
