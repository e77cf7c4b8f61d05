"""Simulated recordings: their labels are exact, and they depend on nothing but their seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.annotation import Segment
from audioseg_xai.cli import main
from audioseg_xai.config import load_yaml, parse_config
from audioseg_xai.corpora.pool import Pool, PoolItem
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ConfigError, CorpusError, DataDirError, UsageError
from audioseg_xai.simulate import SimulationConfig, Simulator, Stock, simulate_data_dir
from audioseg_xai.simulate.activity import (
    cell_power,
    drop,
    fill,
    from_runs,
    hysteresis,
    loud_level,
    pad,
    runs,
    stretch,
)
from audioseg_xai.simulate.canvas import Canvas, audible
from audioseg_xai.simulate.channel import compress, fade_ends, set_level, telephone, tilt
from audioseg_xai.simulate.config import AudibleLabels, RoomConfig, SpeechLabels
from audioseg_xai.simulate.material import repeat
from audioseg_xai.simulate.mixture import num_recordings
from audioseg_xai.simulate.noises import BEDS, EVENTS
from audioseg_xai.simulate.rooms import headset_response, reverberate, room_bank
from audioseg_xai.simulate.speech import Speakers, Voice, find_activity
from audioseg_xai.simulate.stock import SourceReader

RATE = 16000
ROOT = Path(__file__).parents[1]


def tone(seconds: float, frequency: float = 440.0, peak: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def words(frequency: float) -> np.ndarray:
    """A 'speaker': tone in 0.5..1.5, 2.5..3.5 and 4.5..5.5 s of 6 s."""
    parts = [silence(0.5), *[tone(1.0, frequency), silence(1.0)] * 3]
    return np.concatenate(parts)[: 6 * RATE]


SPEAKERS = {"ann": 300.0, "ben": 500.0, "cyd": 700.0}


def write_pool(root: Path, *, without: str = "") -> Path:
    audio = {f"speech/{name}.flac": words(pitch) for name, pitch in SPEAKERS.items()}
    audio["music/chord.flac"] = tone(12, 220, 0.2) + tone(12, 330, 0.2)
    rng = np.random.default_rng(0)
    audio["noise/fan.flac"] = (0.05 * rng.standard_normal(12 * RATE)).astype(np.float32)
    audio["event/bang.flac"] = (0.2 * rng.standard_normal(RATE // 2)).astype(np.float32)
    items = []
    for path, samples in audio.items():
        kind, name = path.split("/")
        if kind == without:
            continue
        (root / kind).mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, samples, RATE, subtype="PCM_16")
        speaker = name.removesuffix(".flac") if kind == "speech" else None
        seconds, licence = samples.size / RATE, "CC0-1.0"
        items.append(PoolItem(path, kind, f"{kind}-source", speaker, seconds, licence, "train"))
    Pool(root, tuple(items)).write()
    return root


@pytest.fixture(scope="module")
def pool_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def stock(pool_dir: Path) -> Stock:
    return Stock(Pool.read(pool_dir), "train")


def config(**changes: object) -> SimulationConfig:
    values = {"duration": [4, 6], "short_duration": [2, 3], "rooms": {"rooms": 2, "positions": 2}}
    return parse_config(values | changes, SimulationConfig, "test")


def only(scene: str) -> dict[str, float]:
    return {scene: 1.0}


# --- activity on the 10 ms grid -------------------------------------------------------------------


def mask(drawing: str) -> np.ndarray:
    return np.array([char == "#" for char in drawing])


def test_runs_fill_pad_and_drop_are_as_drawn() -> None:
    drawn = mask("..##..#....#.")
    assert runs(drawn).tolist() == [[2, 4], [6, 7], [11, 12]]
    assert (fill(drawn, 3) == mask("..#####....#.")).all()
    assert (pad(drawn, 1) == mask(".#######..###")).all()
    assert (drop(drawn, 2) == mask("..##.........")).all()


@given(st.lists(st.booleans(), max_size=60))
def test_runs_and_from_runs_are_inverse(values: list[bool]) -> None:
    drawn = np.array(values, np.bool_)
    assert (from_runs(runs(drawn), drawn.size) == drawn).all()


def test_hysteresis_holds_on_through_weak_cells_but_does_not_start_there() -> None:
    levels = np.array([-50, -40, -30, -40, -50, -40, -40, -50.0])
    assert (hysteresis(levels, -32, -42) == mask(".###....")).all()


def test_stretch_is_linear_interpolation() -> None:
    values = np.array([0.0, 1.0, -1.0])
    expected = np.interp(np.arange(12) / 4, [0, 1, 2], values)
    assert np.allclose(stretch(values, 4), expected, atol=1e-6)


def test_activity_of_a_clean_file_is_where_the_tone_is() -> None:
    found = find_activity(words(440.0), SpeechLabels())
    assert runs(found.loose).tolist() == [[50, 150], [250, 350], [450, 550]]
    assert found.loud == pytest.approx(20 * np.log10(0.3) - 3.01, abs=0.15)


def test_loose_activity_keeps_a_quiet_word_end_that_tight_leaves_out() -> None:
    samples = np.concatenate([silence(0.5), tone(1.0), tone(0.5, peak=0.3 * 10 ** (-38 / 20))])
    found = find_activity(np.append(samples, silence(0.5)), SpeechLabels())
    assert runs(found.loose).tolist() == [[50, 200]]
    assert runs(found.tight).tolist() == [[50, 150]]


# --- labels ---------------------------------------------------------------------------------------

STRICT = {"speech_labels": {"pad": 0.0, "gap": 0.0}}


def lay(canvas: Canvas, speaker: int, onset: float, seconds: float) -> None:
    on = np.ones(round(seconds * 100), np.bool_)
    canvas.add_speech(tone(seconds, 300 + 200 * speaker), round(onset * 100), speaker, on, on)


def test_labels_follow_a_hand_drawn_timeline() -> None:
    #        0    1    2    3    4    5    6    7    8
    # ann         |---------|                              1..3
    # ben                |---------|                       2.5..4.5
    # music                             |---------|        5..7
    canvas = Canvas(8 * RATE)
    lay(canvas, 0, 1.0, 2.0)
    lay(canvas, 1, 2.5, 2.0)
    canvas.add_sound(tone(2.0, 220), 500, "music")
    assert canvas.segments(config(**STRICT)) == [
        Segment(1.0, 4.5, "speech"),
        Segment(2.5, 3.0, "overlap"),
        Segment(5.0, 7.0, "music"),
    ]


def test_padding_and_gap_filling_loosen_speech_but_not_overlap() -> None:
    canvas = Canvas(8 * RATE)
    lay(canvas, 0, 1.0, 1.0)
    lay(canvas, 0, 2.4, 1.0)  # 0.4 s pause: 0.2 s between the padded parts
    lay(canvas, 1, 3.0, 1.0)
    found = canvas.segments(config(speech_labels={"pad": 0.1, "gap": 0.3}))
    assert found == [Segment(0.9, 4.1, "speech"), Segment(3.0, 3.4, "overlap")]


def test_one_speaker_alone_never_overlaps() -> None:
    canvas = Canvas(4 * RATE)
    lay(canvas, 0, 1.0, 2.0)
    lay(canvas, 0, 2.0, 1.0)
    assert {segment.label for segment in canvas.segments(config())} == {"speech"}


def test_what_reaches_over_the_end_is_cut_at_the_end() -> None:
    canvas = Canvas(2 * RATE)
    lay(canvas, 0, 1.5, 3.0)
    canvas.add_sound(tone(5.0), 100, "noise")
    assert canvas.samples.size == 2 * RATE
    assert max(segment.offset for segment in canvas.segments(config())) == 2.0


@pytest.mark.parametrize(("level", "labelled"), [(-20, True), (-29, True), (-31, False)])
def test_a_bed_is_labelled_down_to_the_masking_threshold(level: float, labelled: bool) -> None:
    canvas = Canvas(4 * RATE)
    lay(canvas, 0, 0.0, 4.0)
    canvas.add_sound(set_level(tone(4.0, 1000), loud_level(cell_power(canvas.samples)) + level),
                     0, "music")  # fmt: skip
    labels = {segment.label for segment in canvas.segments(config())}
    assert ("music" in labels) == labelled


def test_a_distractor_has_no_label() -> None:
    canvas = Canvas(4 * RATE)
    canvas.add_sound(tone(4.0, peak=0.1), 0, "distractor")
    assert canvas.segments(config()) == []


def test_a_track_is_heard_from_its_onset_to_its_end() -> None:
    power = cell_power(np.concatenate([silence(1.0), tone(1.0), silence(1.0)]))
    heard = runs(audible(power, power, AudibleLabels()))
    assert heard.tolist() == [[100, 200]]


def test_a_sound_below_the_floor_is_not_heard_even_alone() -> None:
    power = cell_power(tone(1.0, peak=1e-4))
    assert not audible(power, power, AudibleLabels()).any()


# --- voices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_an_utterance_is_labelled_where_it_sounds(stock: Stock, speed: float) -> None:
    simulator = Simulator(stock, config(), 0)
    speakers = Speakers(stock, simulator._reader, SpeechLabels())
    said = speakers.say(np.random.default_rng(1), Voice(0, 0, -25.0, speed), 3.0)
    sounding = 10 * np.log10(cell_power(said.samples) + 1e-12) > -60
    assert said.samples.size == said.loose.size * 160
    assert np.abs(runs(sounding) - runs(said.loose)).max() <= 2
    assert loud_level(cell_power(said.samples)) == pytest.approx(-25.0, abs=0.1)


def test_casting_gives_different_voices_and_no_more_than_there_are(stock: Stock) -> None:
    simulator = Simulator(stock, config(), 0)
    speakers = Speakers(stock, simulator._reader, SpeechLabels())
    rng = np.random.default_rng(0)
    assert sorted(speakers.cast(rng, 9)) == [0, 1, 2]
    assert len(set(speakers.cast(rng, 2))) == 2


# --- rooms and channel ----------------------------------------------------------------------------


def test_headsets_hear_a_voice_once_loud_and_again_later_and_weaker() -> None:
    response = headset_response(4, np.random.default_rng(0))
    taps = np.flatnonzero(response)
    assert taps[0] == 0
    assert len(taps) == 4
    assert 0.0015 * 16000 - 1 <= taps[1] <= taps[-1] <= 0.012 * 16000 + 1
    assert response[taps[1:]].max() <= response[0] * 10 ** (-10 / 20)
    assert np.linalg.norm(response) == pytest.approx(1)


def test_a_room_keeps_the_direct_sound_in_its_place() -> None:
    bank = room_bank(RoomConfig(rooms=2, positions=3), np.random.default_rng(0))
    click = np.zeros(RATE, np.float32)
    click[4000] = 1.0
    for response in [response for room in bank for response in room]:
        heard = reverberate(click, response)
        first = np.flatnonzero(np.abs(heard) > 0.2 * np.abs(heard).max())[0]
        assert 0 <= first - 4000 < 320  # the room may reinforce an early echo, never a frame late
        assert np.linalg.norm(response) == pytest.approx(1.0, abs=1e-5)
        assert np.abs(heard[: 4000 - 1]).max() < 1e-5


def test_set_level_reaches_the_level_and_leaves_silence_alone() -> None:
    assert loud_level(cell_power(set_level(tone(1.0), -31.0))) == pytest.approx(-31.0, abs=1e-3)
    assert not set_level(silence(1.0), -31.0).any()


def test_a_telephone_passes_its_band_alone() -> None:
    def gain(frequency: float) -> float:
        passed = telephone(tone(1.0, frequency))[RATE // 4 :]
        return loud_level(cell_power(passed)) - loud_level(cell_power(tone(1.0, frequency)))

    assert gain(1000) == pytest.approx(0.0, abs=0.5)
    assert gain(100) < -25 and gain(6000) < -25


def test_tilt_raises_treble_against_bass_by_the_amount() -> None:
    def gain(frequency: float) -> float:
        return loud_level(cell_power(tilt(tone(1.0, frequency), 6.0))) - loud_level(
            cell_power(tone(1.0, frequency))
        )

    assert gain(7900) - gain(20) == pytest.approx(6.0, abs=0.3)


def test_compression_brings_a_quiet_part_closer() -> None:
    both = np.concatenate([tone(3.0, peak=0.3), tone(3.0, peak=0.1)])
    power = cell_power(compress(both, 2.0))
    difference = 10 * np.log10(power[100:200].mean() / power[400:500].mean())
    assert difference == pytest.approx(9.54 / 2, abs=0.3)


def test_fades_begin_and_end_near_zero_and_leave_the_middle() -> None:
    faded = fade_ends(np.ones(RATE, np.float32), 0.1, 0.2)
    assert faded[0] < 0.01 and faded[-1] < 0.01
    assert (faded[1600:-3200] == 1).all()


@given(st.integers(1, 4000), st.integers(1, 9000))
@settings(max_examples=30, deadline=None)
def test_a_repeated_piece_has_the_wanted_size(piece: int, size: int) -> None:
    assert repeat(np.ones(piece, np.float32), size).size == size


@pytest.mark.parametrize("make", [*BEDS.values(), *EVENTS.values()])
def test_synthetic_noise_is_finite_and_sounds(make) -> None:
    for seed, size in ((0, 2400), (1, 20001)):
        made = make(np.random.default_rng(seed), size)
        assert made.shape == (size,) and np.isfinite(made).all() and np.abs(made).max() > 0


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
