"""Simulation from activity to labels, voices, rooms and channels, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation_dummies import (
    RATE,
    STRICT,
    config,
    silence,
    tone,
    words,
)

from audioseg_xai.annotation import Segment
from audioseg_xai.simulate import Simulator, Stock
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
from audioseg_xai.simulate.noises import BEDS, EVENTS, breath
from audioseg_xai.simulate.rooms import headset_response, reverberate, room_bank
from audioseg_xai.simulate.speech import Speakers, Voice, find_activity

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


def test_overlap_is_where_turns_meet_when_it_is_loosened_like_speech() -> None:
    canvas = Canvas(8 * RATE)
    lay(canvas, 0, 1.0, 1.0)
    lay(canvas, 0, 2.4, 1.0)  # a pause of 0.4 s, of which padding leaves 0.2 s: filled
    lay(canvas, 1, 2.05, 0.3)  # wholly in that pause
    loose = {"pad": 0.1, "gap": 0.3, "overlap_pad": 0.1, "overlap_gap": 0.3}
    found = canvas.segments(config(speech_labels=loose))
    assert found == [Segment(0.9, 3.5, "speech"), Segment(1.95, 2.45, "overlap")]


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


@pytest.mark.parametrize("make", [*BEDS.values(), *EVENTS.values(), breath])
def test_synthetic_noise_is_finite_and_sounds(make) -> None:
    for seed, size in ((0, 2400), (1, 20001)):
        made = make(np.random.default_rng(seed), size)
        assert made.shape == (size,) and np.isfinite(made).all() and np.abs(made).max() > 0
