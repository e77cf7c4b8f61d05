"""Simulated recordings: their labels are exact, and they depend on nothing but their seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from simulation_dummies import (
    RATE,
    ROOT,
    STRICT,
    config,
    only,
    silence,
    tone,
    write_pool,
)

from audioseg_xai.cli import main
from audioseg_xai.config import load_yaml, parse_config
from audioseg_xai.corpora.pool import Pool, PoolItem
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ConfigError, CorpusError, DataDirError, UsageError
from audioseg_xai.simulate import SimulationConfig, Simulator, Stock, simulate_data_dir
from audioseg_xai.simulate.activity import (
    cell_power,
    loud_level,
    runs,
)
from audioseg_xai.simulate.mixture import num_recordings
from audioseg_xai.simulate.stock import SourceReader

# --- recordings -----------------------------------------------------------------------------------


def test_a_recording_depends_on_seed_and_index_alone(stock: Stock) -> None:
    first, second = Simulator(stock, config(), 7), Simulator(stock, config(), 7)
    forward = [first.mixture(index) for index in range(4)]
    backward = [second.mixture(index) for index in reversed(range(4))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert np.array_equal(one.samples, other.samples) and one.segments == other.segments
    assert not np.array_equal(forward[0].samples, Simulator(stock, config(), 8).mixture(0).samples)


@pytest.mark.parametrize(
    ("scene", "needed", "possible"),
    [
        ("meeting", {"speech"}, {"speech", "overlap", "noise"}),
        ("debate", {"speech", "overlap"}, {"speech", "overlap", "noise", "music"}),
        ("broadcast", {"speech", "music"}, {"speech", "overlap", "noise", "music"}),
        ("street", {"speech", "noise"}, {"speech", "overlap", "noise", "music"}),
        ("music", {"music"}, {"music", "noise"}),
        ("noise", {"noise"}, {"noise"}),
        ("quiet", set(), set()),
    ],
)
def test_scenes_hold_what_they_are_named_after(
    stock: Stock, scene: str, needed: set[str], possible: set[str]
) -> None:
    simulator = Simulator(stock, config(scenes=only(scene), duration=[8, 10], short=0.0), 3)
    mixtures = [simulator.mixture(index) for index in range(6)]
    found = {segment.label for mixture in mixtures for segment in mixture.segments}
    assert needed <= found <= possible
    for mixture in mixtures:
        assert mixture.scene == scene
        assert all(s.offset <= mixture.samples.size / RATE + 1e-9 for s in mixture.segments)


@pytest.mark.parametrize("headsets", [0.0, 1.0])
def test_speech_labels_of_a_recording_are_where_the_tones_are(
    stock: Stock, headsets: float
) -> None:
    dry = {"meeting": 0.0, "debate": 0.0, "broadcast": 0.0, "street": 0.0}
    settings_ = config(
        scenes=only("meeting"),
        rooms={"rooms": 0, "headsets": headsets, **dry},
        noise={"meeting_events": 0.0},
        **STRICT,
    )
    for index in range(5):
        mixture = Simulator(stock, settings_, 0).mixture(index, keep_stems=True)
        speech = np.zeros(mixture.samples.size // 160, np.bool_)
        for segment in mixture.segments:
            if segment.label == "speech":
                speech[round(segment.onset * 100) : round(segment.offset * 100)] = True
        sounding = 10 * np.log10(cell_power(mixture.stems["speech"]) + 1e-12) > -75
        # A speaker up to 20 dB lower fades in and out through this threshold: 2 cells a boundary.
        assert np.count_nonzero(speech != sounding) <= 4 * len(runs(sounding))


@pytest.mark.parametrize("level", [-20.0, -10.0, 0.0])
def test_a_music_bed_is_as_far_below_the_speech_as_asked(stock: Stock, level: float) -> None:
    settings_ = config(
        scenes=only("broadcast"),
        rooms={"rooms": 0},
        speech={"level_spread": [0, 0]},
        music={"bed": 1.0, "bed_level": [level, level], "intro": 0, "jingle": 0, "interlude": 0,
               "fade": [0.02, 0.02]},
    )  # fmt: skip
    for index in range(3):
        stems = Simulator(stock, settings_, 1).mixture(index, keep_stems=True).stems
        power = cell_power(stems["music"])
        assert loud_level(power[power > 0]) - settings_.reference_level == pytest.approx(
            level, abs=0.5
        )


def test_faint_sounds_are_heard_but_not_labelled(stock: Stock) -> None:
    plain = {"meeting_events": 0.0, "floor": 0.0}
    asked = plain | {"faint": 1.0, "faint_level": [-40.0, -40.0], "faint_sounds": [4, 4]}
    for index in range(3):
        without, faint = (
            Simulator(stock, config(scenes=only("meeting"), noise=noise), 2).mixture(
                index, keep_stems=True
            )
            for noise in (plain, asked)
        )
        assert np.array_equal(faint.stems["speech"], without.stems["speech"])
        assert faint.segments == without.segments
        loudest = 10 * np.log10(cell_power(faint.stems["distractor"]).max())
        # A click is louder in its 10 ms than over its length; two sounds may fall together.
        assert -65 - 3 <= loudest <= -65 + 20


def test_voices_behind_are_heard_but_not_labelled(stock: Stock) -> None:
    quiet = {"meeting_events": 0.0, "floor": 0.0}
    behind = {"behind": 1.0, "behind_level": [-40.0, -40.0], "behind_turns": [3, 3]}
    for index in range(3):
        without, faint = (
            Simulator(stock, config(scenes=only("meeting"), noise=quiet, speech=speech), 2).mixture(
                index, keep_stems=True
            )
            for speech in ({}, behind)
        )
        assert np.array_equal(faint.stems["speech"], without.stems["speech"])
        assert faint.segments == without.segments
        # 40 dB below the speaker at -25 dBFS, the second one up to 6 dB more; three may coincide.
        loudest = loud_level(cell_power(faint.stems["distractor"]))
        assert -65 - 6 - 1 <= loudest <= -65 + 20 * np.log10(3) + 1


@pytest.mark.parametrize(
    ("music", "noise", "under"),
    [(0.0, 0.0, set()), (1.0, 0.0, {"music"}), (0.0, 1.0, {"noise"}), (1.0, 1.0, {"noise"})],
)
def test_debates_may_have_music_or_noise_under_them(
    stock: Stock, music: float, noise: float, under: set[str]
) -> None:
    loud = {"debate_level": [0.0, 0.0]}
    debates = config(
        scenes=only("debate"),
        music=loud | {"debate": music},
        noise=loud | {"debate_noise": noise},
    )
    mixtures = [Simulator(stock, debates, 7).mixture(index) for index in range(4)]
    labels = [{segment.label for segment in mixture.segments} for mixture in mixtures]
    assert all(found - {"speech", "overlap"} == under for found in labels)


def test_in_a_sparse_meeting_hardly_anybody_speaks(stock: Stock) -> None:
    def share(sparse: float) -> float:
        settings_ = config(
            scenes=only("meeting"), duration=[30, 30], short=0.0, speech={"sparse": sparse}
        )
        mixtures = [Simulator(stock, settings_, 4).mixture(index) for index in range(6)]
        speech = [s for mixture in mixtures for s in mixture.segments if s.label == "speech"]
        assert speech
        return sum(s.duration for s in speech) / (6 * 30)

    # At most four words of 3 s, each padded by .1 s on both sides.
    assert share(1.0) <= 4 * 3.2 / 30 < share(0.0)


def test_the_floor_of_a_sparse_meeting_is_kept_low(stock: Stock) -> None:
    def loudest_floor(sparse: float) -> float:
        settings_ = config(
            scenes=only("meeting"),
            noise={"floor": 1.0, "floor_level": [-30, -30], "sparse_floor": -50.0, "faint": 0.0},
            speech={"sparse": sparse},
        )
        mixture = Simulator(stock, settings_, 4).mixture(0, keep_stems=True)
        return float(loud_level(cell_power(mixture.stems["distractor"])))

    # Below the reference level of -25 dBFS.
    assert loudest_floor(0.0) == pytest.approx(-25 - 30, abs=1.5)
    assert loudest_floor(1.0) == pytest.approx(-25 - 50, abs=1.5)


def test_nothing_clips_unless_asked(stock: Stock) -> None:
    def share_at_the_top(clip: float) -> float:
        channel = {"clip": clip, "extreme": 0.0, "level_mean": -3.0}
        simulator = Simulator(stock, config(channel=channel, scenes=only("street")), 5)
        loud = [np.abs(simulator.mixture(index).samples) for index in range(6)]
        assert max(samples.max() for samples in loud) <= 1.0
        return max(float(np.mean(samples >= samples.max() * 0.9999)) for samples in loud)

    assert share_at_the_top(0.0) < 1e-3 < share_at_the_top(1.0)


def test_the_number_of_recordings_fills_the_hours() -> None:
    assert num_recordings(0.1, 0, config(duration=[10, 10], short=0.0)) == 36
    assert num_recordings(0.1001, 0, config(duration=[10, 10], short=0.0)) == 37


# --- on disk --------------------------------------------------------------------------------------

HOURS = 16 / 3600


def wavs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "audio").iterdir())}


def test_a_data_dir_is_valid_and_the_same_with_any_number_of_workers(
    pool_dir: Path, tmp_path: Path
) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        simulate_data_dir(pool_dir, tmp_path / name, HOURS, config(), seed=2, num_workers=workers)
    assert wavs(tmp_path / "one") == wavs(tmp_path / "two")
    for name in ("wav.scp", "reco2dur", "ref.rttm", "all.uem", "classes"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    data = DataDir.read(tmp_path / "one")
    data.validate(check_audio=True)
    assert data.classes == ("speech", "music", "noise", "overlap")
    for uri, path in data.wav.items():
        assert soundfile.info(path).samplerate == RATE
        assert soundfile.info(path).duration == pytest.approx(data.duration[uri])


def test_an_interrupted_set_is_completed_and_finished_recordings_are_kept(
    pool_dir: Path, tmp_path: Path
) -> None:
    simulate_data_dir(pool_dir, tmp_path, HOURS, config())
    whole, kept, lost, broken = wavs(tmp_path), *sorted((tmp_path / "audio").iterdir())[:3]
    before = kept.stat().st_mtime_ns
    lost.unlink()
    broken.write_bytes(broken.read_bytes()[:-2] + b"\x01\x02")
    (tmp_path / "wav.scp").unlink()
    simulate_data_dir(pool_dir, tmp_path, HOURS, config())
    assert wavs(tmp_path) == whole
    assert kept.stat().st_mtime_ns == before
    DataDir.read(tmp_path)


def test_a_set_of_another_seed_is_not_mixed_in(pool_dir: Path, tmp_path: Path) -> None:
    simulate_data_dir(pool_dir, tmp_path, HOURS / 4, config(), seed=0)
    with pytest.raises(DataDirError, match="another seed"):
        simulate_data_dir(pool_dir, tmp_path, HOURS / 4, config(), seed=1)
    simulate_data_dir(pool_dir, tmp_path, HOURS / 4, config(), seed=1, overwrite=True)
    assert all("-1-" in uri for uri in DataDir.read(tmp_path).wav)


def test_the_command_writes_a_data_dir(pool_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text("duration: [2, 3]\nrooms: {rooms: 1}\n")
    arguments = ["simulate", "--pool", str(pool_dir), "--output", str(tmp_path / "out"),
                 "--hours", "0.002", "--config", str(tmp_path / "conf.yaml")]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert len(DataDir.read(tmp_path / "out").wav) >= 2


# --- what can be wrong ----------------------------------------------------------------------------


def test_a_pool_is_refused_when_a_line_is_wrong_or_audio_is_missing(tmp_path: Path) -> None:
    root = write_pool(tmp_path / "pool")
    (root / "music" / "chord.flac").unlink()
    with pytest.raises(CorpusError, match=r"not there: 'music/chord\.flac': build the pool again"):
        simulate_data_dir(root, tmp_path / "out", HOURS, config())
    (root / "pool.jsonl").write_text("\n{\n")
    with pytest.raises(CorpusError, match=r"pool\.jsonl:2: not a line of JSON"):
        simulate_data_dir(root, tmp_path / "out", HOURS, config())
    assert not (tmp_path / "out").exists()


def test_a_split_that_the_pool_does_not_have_is_refused_and_the_others_named(
    pool_dir: Path,
) -> None:
    with pytest.raises(CorpusError, match=r"no file of split 'valid' \(splits found: train\)"):
        Stock(Pool.read(pool_dir), "valid")


def test_only_the_files_of_the_split_need_to_be_there(tmp_path: Path) -> None:
    root = write_pool(tmp_path)
    other = PoolItem("noise/gone.flac", "noise", "other", None, 9.0, "CC0-1.0", "valid")
    pool = Pool(root, (*Pool.read(root), other))
    Stock(pool, "train")
    with pytest.raises(CorpusError, match="not there"):
        Stock(pool, "valid")


def test_speech_of_a_source_without_names_is_one_voice(tmp_path: Path) -> None:
    root = write_pool(tmp_path)
    rows = [json.loads(line) | {"speaker": None} for line in (root / "pool.jsonl").open()]
    (root / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    group = Stock(Pool.read(root), "train").group("speech")
    assert (group.names, [len(members) for members in group.members]) == (["speech-source/"], [3])


@pytest.mark.parametrize("suffix", ["flac", "ogg", "wav"])
def test_a_part_is_decoded_where_it_was_asked_for(tmp_path: Path, suffix: str) -> None:
    samples = np.concatenate([silence(1.0), tone(1.0)])
    subtype = {"ogg": "OPUS"}.get(suffix, "PCM_16")
    soundfile.write(tmp_path / f"a.{suffix}", samples, RATE, subtype)
    item = PoolItem(f"a.{suffix}", "music", "s", None, 2.0, "", "train")
    reader = SourceReader(tmp_path, cache_bytes=10**6)
    read = reader.read(item, RATE // 2, RATE)
    assert read.shape == (RATE,) and np.abs(read[:7800]).max() < 0.02
    assert loud_level(cell_power(read[8200:])) == pytest.approx(-13.5, abs=0.3)
    assert reader.read(item, RATE, 9 * RATE).size == RATE


def test_parts_are_kept_decoded_until_the_cache_is_full(tmp_path: Path) -> None:
    items = [PoolItem(f"{n}.wav", "music", "s", None, 1.0, "", "train") for n in "abc"]
    for item in items:
        soundfile.write(tmp_path / item.path, tone(1.0), RATE)
    reader = SourceReader(tmp_path, cache_bytes=2 * 2 * RATE)  # two parts of a second
    for item in items:
        reader.read(item, 0, RATE)
        (tmp_path / item.path).unlink()
    for item in items[1:]:
        assert reader.read(item, 0, RATE).size == RATE
    with pytest.raises(CorpusError, match=r"a\.wav: cannot be decoded"):
        reader.read(items[0], 0, RATE)


def test_a_pool_without_music_is_enough_for_meetings_alone(tmp_path: Path) -> None:
    stock = Stock(Pool.read(write_pool(tmp_path, without="music")), "train")
    with pytest.raises(CorpusError, match="no file of kind 'music'"):
        Simulator(stock, config(), 0)
    Simulator(stock, config(scenes=only("meeting")), 0).mixture(0)


def test_a_source_at_another_rate_is_refused_by_name(tmp_path: Path) -> None:
    root = write_pool(tmp_path)
    soundfile.write(root / "music" / "chord.flac", tone(12), 8000)
    with pytest.raises(CorpusError, match=r"chord\.flac: 8000 Hz"):
        Simulator(Stock(Pool.read(root), "train"), config(scenes=only("music")), 0).mixture(0)


def test_hours_must_be_positive(pool_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--hours 0"):
        simulate_data_dir(pool_dir, tmp_path, 0, config())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"duratoin": [1, 2]}, "did you mean 'duration'"),
        ({"duration": [30, 20]}, "the lower bound comes first"),
        ({"duration": [0.1, 20]}, "1 s at least"),
        ({"scenes": {"opera": 1}}, "unknown scene 'opera'"),
        ({"scenes": {"music": 0}}, "nor all zero"),
        ({"speech_labels": {"on_above": -50}}, "'off_below' must not be greater"),
    ],
)
def test_a_bad_configuration_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(values, SimulationConfig, "test")


def test_the_recipe_has_a_valid_configuration() -> None:
    load_yaml(ROOT / "recipes" / "open" / "conf" / "simulate.yaml", SimulationConfig)
