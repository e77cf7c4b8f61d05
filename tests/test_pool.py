"""Pools: the index, the rules that choose files, and building a pool from a folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioseg_xai.corpora.build import Job, assemble, build_source, plan, table
from audioseg_xai.corpora.pool import Pool, PoolItem
from audioseg_xai.corpora.sources import Rule, Source, Sources, choose
from audioseg_xai.errors import CorpusError

RATE = 16000


def item(path: str = "speech/a/x.flac", **changes: object) -> PoolItem:
    base = PoolItem(path, "speech", "a", "anna", 1.5, "CC0-1.0", "train")
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def tone(seconds: float, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def build(tmp_path: Path, folder: Path, sources: Sources) -> Pool:
    root, config = tmp_path / "pool", tmp_path / "sources.yaml"
    root.mkdir(exist_ok=True)
    config.write_text("packages: []\n")
    jobs = plan(sources, {}, extra_noise=[folder])
    return assemble([build_source(job, sources, root) for job in jobs], root, config)


def noise_sources(**settings: object) -> Sources:
    source = Source(name="hum", licence="CC0-1.0", rules=(Rule(kind="noise"),))
    return Sources(extra_noise=(source,), **settings)  # type: ignore[arg-type]


# --- the index ----------------------------------------------------------------------------------


def test_an_index_reads_back_as_it_was_written_and_sorted_by_path(tmp_path: Path) -> None:
    items = (item("speech/b.flac"), item("music/a.flac", kind="music", speaker=None))
    Pool(tmp_path, items).write()
    lines = (tmp_path / "pool.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["music/a.flac", "speech/b.flac"]
    assert set(Pool.read(tmp_path)) == set(items)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "noize"}, "kind 'noize' is none of"),
        ({"split": "dev"}, "split 'dev' is none of"),
        ({"duration": 0.0}, "no positive number of seconds"),
        ({"duration": float("nan")}, "no positive number of seconds"),
        ({"duration": "90"}, "duration '90' is no positive number of seconds"),
        ({"speaker": None}, "speech without a speaker"),
        ({"path": "../x.flac"}, "must lie inside the pool"),
    ],
)
def test_an_impossible_item_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(CorpusError, match=complaint):
        Pool(tmp_path, (item(**changes),)).write()
    assert not (tmp_path / "pool.jsonl").exists()


def test_a_speaker_in_both_splits_is_refused(tmp_path: Path) -> None:
    pool = Pool(tmp_path, (item("speech/1.flac"), item("speech/2.flac", split="valid")))
    with pytest.raises(CorpusError, match="speaker anna is in train and in valid"):
        pool.validate()


def test_a_path_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="listed twice"):
        Pool(tmp_path, (item(), item())).validate()


def test_a_missing_audio_file_is_found_when_asked_for(tmp_path: Path) -> None:
    pool = Pool(tmp_path, (item(),))
    pool.validate()
    complaint = r"pool\.jsonl: listed, but not there: 'speech/a/x\.flac': build the pool again"
    with pytest.raises(CorpusError, match=complaint):
        pool.validate(audio=True)
    more = Pool(tmp_path, (item("1.flac"), item("2.flac"), item("3.flac")))
    with pytest.raises(CorpusError, match=r"not there: '1\.flac' and 2 more: "):
        more.check_audio(more)


def line(**changes: object) -> str:
    """Return a line with nothing but what is needed; a change to None takes a key out."""
    row = {"path": "a.ogg", "kind": "music", "source": "s", "duration": 1, "split": "train"}
    return json.dumps({k: v for k, v in (row | changes).items() if v is not None}) + "\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{\n", "1: not a line of JSON"),
        ("[1]\n", "1: expected a JSON object, found a list"),
        ("\n" + line(kind=None), "2: no 'kind': a line has path, kind"),
        (line().replace('"s"', "null"), "1: no 'source'"),
        (line(kind="song"), "1: kind 'song' is none of speech, music"),
        (line(duration=0), "1: duration 0.0 is no positive number of seconds"),
        (line(duration="1"), "1: duration '1' is no positive number"),
        (line().replace("1,", "NaN,"), "1: duration nan is no positive number"),
        (line(path="/a.ogg"), "1: path '/a.ogg' must lie inside the pool"),
        (line() + "\n" + line(), "3: 'a.ogg' is listed twice"),
        (
            line(speaker="ann") + line(path="b.ogg", speaker="ann", split="test"),
            "2: speaker ann is in train and in test: leave whole speakers out",
        ),
    ],
)
def test_a_line_that_does_not_hold_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "pool.jsonl").write_text(text)
    with pytest.raises(CorpusError) as caught:
        Pool.read(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'pool.jsonl'}:{complaint}") and "\n" not in message


def test_an_index_written_by_hand_may_say_less_or_more(tmp_path: Path) -> None:
    text = line(path="b.ogg", kind="speech", note="mine", split="test") + "\r\n" + line(speaker=7)
    (tmp_path / "pool.jsonl").write_text(text)
    assert Pool.read(tmp_path).items == (
        PoolItem("a.ogg", "music", "s", "7", 1.0, "", "train"),
        PoolItem("b.ogg", "speech", "s", None, 1.0, "", "test"),
    )


def test_a_name_with_a_unicode_line_separator_stays_on_its_line(tmp_path: Path) -> None:
    items = (item("music/a\u2028b.flac"),)
    Pool(tmp_path, items).write()
    assert Pool.read(tmp_path).items == items


def test_a_folder_without_an_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"cannot be read \(No such file .*prepare open"):
        Pool.read(tmp_path)


def test_an_index_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_bytes(line(source="\u00e9").encode("utf-16"))
    with pytest.raises(CorpusError, match=r"pool\.jsonl: not UTF-8"):
        Pool.read(tmp_path)


def test_select_and_by_speaker_keep_splits_apart(tmp_path: Path) -> None:
    pool = Pool(
        tmp_path,
        (
            item("speech/1.flac"),
            item("speech/2.flac"),
            item("speech/3.flac", speaker="ben", split="valid"),
            item("noise/4.flac", kind="noise", speaker=None),
        ),
    )
    assert {name: len(found) for name, found in pool.by_speaker("train").items()} == {"anna": 2}
    assert list(pool.by_speaker("valid")) == ["ben"]
    assert [found.path for found in pool.select("noise", "train")] == ["noise/4.flac"]


def test_the_summary_adds_up_hours_files_and_speakers(tmp_path: Path) -> None:
    items = (
        item("speech/1.flac", duration=1800.0),
        item("speech/2.flac", duration=900.0, speaker="ben"),
        item("speech/3.flac", duration=900.0, speaker="ben"),
    )
    (part,) = Pool(tmp_path, items).summary()
    assert (part.files, part.hours, part.speakers) == (3, 1.0, 2)
    assert "1.000" in table(Pool(tmp_path, items))


# --- the rules ----------------------------------------------------------------------------------


def source(*rules: Rule, **settings: object) -> Source:
    return Source(name="game", licence="GPL-2.0-only", rules=rules, **settings)  # type: ignore[arg-type]


def test_the_first_rule_that_takes_a_file_counts_and_the_rest_is_passed_over() -> None:
    game = source(
        Rule(kind="music", include=("*/music/*",)),
        Rule(kind="noise", include=("*",), exclude=("*/voice/*",)),
        exclude=("*silence*",),
    )
    paths = ["d/music/a.ogg", "d/fx/b.WAV", "d/voice/c.ogg", "d/fx/silence.ogg", "d/fx/readme.txt"]
    assert {c.path: c.kind for c in choose(game, paths)} == {
        "d/music/a.ogg": "music",
        "d/fx/b.WAV": "noise",
    }


def test_speakers_come_from_the_path_and_files_without_one_are_left_out() -> None:
    rule = Rule(kind="speech", pattern=r"voices/(?P<voice>\w+)/", speaker="{source}-{voice}")
    chosen = choose(source(rule), ["voices/pirate/a.ogg", "voices/b.ogg"])
    assert [(c.path, c.speaker) for c in chosen] == [("voices/pirate/a.ogg", "game-pirate")]


def test_the_last_speakers_in_order_are_held_out_with_all_their_files() -> None:
    rule = Rule(kind="speech", pattern=r"(?P<id>\d+)-", speaker="s{id}", valid_speakers=2)
    paths = [f"{speaker}-{take}.flac" for speaker in "1234" for take in "ab"]
    valid = {c.path for c in choose(source(rule), paths) if c.split == "valid"}
    assert valid == {"3-a.flac", "3-b.flac", "4-a.flac", "4-b.flac"}


def test_a_fold_is_held_out_by_its_file_names() -> None:
    rule = Rule(kind="noise", valid=("*__4-*",))
    splits = {c.path: c.split for c in choose(source(rule), ["rain__4-1.ogg", "rain__1-2.ogg"])}
    assert splits == {"rain__4-1.ogg": "valid", "rain__1-2.ogg": "train"}


def test_sung_music_is_taken_only_on_request() -> None:
    game = source(Rule(kind="music", sung=("*song*",)))
    assert choose(game, ["song.ogg"]) == []
    assert len(choose(game, ["song.ogg"], vocals=True)) == 1


def test_a_source_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="named twice: game"):
        Sources(packages=(source(Rule(kind="noise")), source(Rule(kind="music"))))


# --- building -----------------------------------------------------------------------------------


def test_long_files_are_cut_and_short_noise_becomes_an_event(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "hum.wav", tone(7.0))
    write(folder / "click.wav", tone(1.0, level=0.2))
    pool = build(tmp_path, folder, noise_sources(piece_seconds=3.0, event_seconds=2.0))
    assert {found.path: found.duration for found in pool} == {
        "event/hum/click.flac": 1.0,
        "noise/hum/hum@00000.flac": 3.0,
        "noise/hum/hum@00003.flac": 3.0,
        "noise/hum/hum@00006.flac": 1.0,
    }
    pool.validate(audio=True)


def test_audio_is_16_khz_mono_16_bit_at_its_own_level(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    left = 0.25 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    write(folder / "stereo.wav", np.stack([left, left], axis=1), rate=48000)
    (only,) = build(tmp_path, folder, noise_sources(event_seconds=0))
    info = soundfile.info(tmp_path / "pool" / only.path)
    samples, _ = soundfile.read(tmp_path / "pool" / only.path)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert len(samples) == 16000
    assert np.abs(samples).max() == pytest.approx(0.25, abs=0.01)


def test_silence_and_splinters_are_dropped_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "silent.wav", np.zeros(RATE))
    write(folder / "splinter.wav", tone(0.2))
    write(folder / "good.wav", tone(4.0))
    pool = build(tmp_path, folder, noise_sources())
    assert [found.path for found in pool] == ["noise/hum/good.flac"]
    (entry,) = json.loads((tmp_path / "pool" / "manifest.json").read_text())
    assert entry["too_quiet_or_short"] == 2


def test_the_same_bytes_count_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a", "b"):
        write(folder / f"{name}.wav", tone(4.0))
    assert [found.path for found in build(tmp_path, folder, noise_sources())] == [
        "noise/hum/a.flac"
    ]
    assert not (tmp_path / "pool/noise/hum/b.flac").exists()


def test_names_that_differ_by_suffix_or_folder_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, name in enumerate(["x/a.wav", "x/a.flac", "y/a.wav", "y/b c.wav"]):
        write(folder / name, tone(4.0, level=0.1 + 0.1 * number))
    assert [Path(found.path).name for found in build(tmp_path, folder, noise_sources())] == [
        "x+a.flac.flac",
        "x+a.wav.flac",
        "y+a.flac",
        "y+b_c.flac",
    ]


def test_names_in_other_scripts_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, name in enumerate(["\u0430.wav", "\u0431.wav"]):
        write(folder / name, tone(4.0, level=0.1 + 0.1 * number))
    assert len(build(tmp_path, folder, noise_sources())) == 2


def test_a_file_that_is_no_audio_is_listed_and_the_others_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "good.wav", tone(4.0))
    (folder / "bad.ogg").write_bytes(b"not audio at all")
    assert len(build(tmp_path, folder, noise_sources())) == 1
    (entry,) = json.loads((tmp_path / "pool" / "manifest.json").read_text())
    assert len(entry["undecodable"]) == 1
    assert entry["undecodable"][0].startswith("bad.ogg: ")


def test_building_again_removes_what_the_rules_no_longer_take(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.wav", tone(4.0))
    write(folder / "b.wav", tone(5.0))
    build(tmp_path, folder, noise_sources())
    (folder / "b.wav").unlink()
    build(tmp_path, folder, noise_sources())
    assert [path.name for path in (tmp_path / "pool").rglob("*.flac")] == ["a.flac"]


def test_the_manifest_names_licence_hours_and_attribution(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.wav", tone(36.0))
    build(tmp_path, folder, noise_sources())
    (entry,) = json.loads((tmp_path / "pool" / "manifest.json").read_text())
    assert entry["licence"] == "CC0-1.0"
    assert entry["parts"] == [
        {"kind": "noise", "split": "train", "files": 1, "hours": 0.01, "speakers": 0}
    ]


def test_a_folder_that_no_extra_source_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(CorpusError, match="no audio that an extra source knows"):
        plan(noise_sources(), {}, extra_noise=[tmp_path / "in"])


def test_two_folders_of_one_source_keep_their_files_apart(tmp_path: Path) -> None:
    for name, seconds in (("one", 4.0), ("two", 5.0)):
        write(tmp_path / name / "a.wav", tone(seconds))
    jobs = plan(noise_sources(), {}, extra_noise=[tmp_path / "one", tmp_path / "two"])
    assert [str(job) for job in jobs] == ["hum", "hum-1"]


def test_a_source_that_yields_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    job = Job(noise_sources().extra_noise[0], folder=tmp_path / "in")
    with pytest.raises(CorpusError, match="hum: the rules take no file"):
        build_source(job, noise_sources(), tmp_path)
