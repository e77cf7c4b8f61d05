"""People who take turns: who they are, how long they speak, and when others join in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audioseg_xai.simulate.activity import Floats, cells
from audioseg_xai.simulate.channel import amplitude
from audioseg_xai.simulate.rooms import headset_response
from audioseg_xai.simulate.speech import Voice, length
from audioseg_xai.simulate.stage import Stage


@dataclass(frozen=True)
class Talk:
    """How a conversation goes.

    Parameters
    ----------
    voices : list of Voice
        Who takes part.
    overlap : float
        Probability that a speaker starts before the one before has ended.
    turn : float
        Factor on the length of turns.
    change : float
        Probability that another speaker takes the turn.
    backchannel : float
        Probability of a short remark of somebody else during a turn.
    """

    voices: list[Voice]
    overlap: float
    turn: float = 1.0
    change: float = 0.8
    backchannel: float = 0.2


def cast(stage: Stage, number: int, spread: float, room: float, guest: float = 0.0) -> list[Voice]:
    """Return up to `number` voices, in one room or none, at most `spread` dB apart."""
    rng, config = stage.rng, stage.config
    places = list(stage.bank[int(rng.integers(len(stage.bank)))]) if stage.bank else []
    if not (places and stage.chance(room)):
        places = _headsets(stage, number)
    voices = []
    for position, group in enumerate(stage.speakers().cast(rng, number)):
        lower = 0.0 if position == 0 else float(rng.uniform(0, spread))
        voices.append(
            Voice(
                number=position,
                group=group,
                level=config.reference_level - lower,
                speed=round(stage.uniform(config.speech.speed), 2),
                response=places[int(rng.integers(len(places)))] if places else None,
                telephone=position > 0 and stage.chance(guest),
            )
        )
    return voices


def _headsets(stage: Stage, number: int) -> list[Floats]:
    share = stage.config.rooms.headsets
    # The dice are left alone where the share is 0: recordings of older configurations stay.
    if number == 1 or share == 0 or not stage.chance(share):
        return []
    return [headset_response(number, stage.rng) for _ in range(number)]


def converse(stage: Stage, talk: Talk, start: float, end: float) -> None:
    """Let the voices of `talk` take turns between two times."""
    rng, rule = stage.rng, stage.config.speech
    free = dict.fromkeys(range(len(talk.voices)), start)  # when each has finished speaking
    current, clock = int(rng.integers(len(talk.voices))), start
    while clock < end - 0.3:
        voice = talk.voices[current]
        onset = max(clock, free[current])
        wanted = min(_turn_length(stage) * talk.turn, end - onset)
        lasted = _speak(stage, voice, onset, wanted)
        free[current] = onset + lasted + 0.1
        if lasted > 1.5 and len(talk.voices) > 1 and stage.chance(talk.backchannel):
            _remark(stage, talk, current, free, (onset, onset + lasted), end)
        following = _next_speaker(stage, talk, current)
        step = _pause(stage)
        if following != current and stage.chance(talk.overlap):
            step = -min(stage.uniform(rule.overlap_range), lasted * 0.8)
        current, clock = following, onset + max(lasted + step, 0.2)


def _turn_length(stage: Stage) -> float:
    rule = stage.config.speech
    drawn = float(stage.rng.lognormal(np.log(rule.turn_median), rule.turn_spread))
    return float(np.clip(drawn, *rule.turn_range))


def _pause(stage: Stage) -> float:
    rule = stage.config.speech
    if stage.chance(rule.long_pause):
        return stage.uniform(rule.long_pause_range)
    return min(float(stage.rng.exponential(rule.pause_mean)), rule.pause_max)


def _speak(stage: Stage, voice: Voice, onset: float, wanted: float) -> float:
    jitter = float(stage.rng.normal(0, 1.5))
    said = stage.speakers().say(stage.rng, voice, wanted)
    samples = said.samples * amplitude(jitter)
    stage.canvas.add_speech(samples, cells(onset), voice.number, said.loose, said.tight)
    return length(said)


def _next_speaker(stage: Stage, talk: Talk, current: int) -> int:
    others = [number for number in range(len(talk.voices)) if number != current]
    if not others or not stage.chance(talk.change):
        return current
    return others[int(stage.rng.integers(len(others)))]


def _remark(
    stage: Stage,
    talk: Talk,
    current: int,
    free: dict[int, float],
    turn: tuple[float, float],
    end: float,
) -> None:
    other = _next_speaker(stage, talk, current)
    onset = max(stage.uniform(turn), free[other])
    wanted = min(stage.uniform((0.25, 1.0)), end - onset)
    if other == current or wanted < 0.2:
        return
    free[other] = onset + _speak(stage, talk.voices[other], onset, wanted) + 0.1


def few_words(stage: Stage, voices: list[Voice]) -> None:
    """Let people work in silence, and say something now and then."""
    number = int(stage.rng.integers(1, 5))
    slot = stage.seconds / number
    for start in slot * np.arange(number):
        voice = voices[int(stage.rng.integers(len(voices)))]
        onset = float(start) + stage.uniform((0.0, slot * 0.8))
        _speak(stage, voice, onset, min(stage.uniform((0.3, 3.0)), float(start) + slot - onset))


def voices_behind(stage: Stage) -> None:
    """Let others speak far away, or next door: so faint that nobody would write it down."""
    rng, rule = stage.rng, stage.config.speech
    level = stage.uniform(rule.behind_level)
    voices = cast(stage, int(rng.integers(1, 3)), 6.0, room=0.7)
    for _ in range(int(rng.integers(rule.behind_turns[0], rule.behind_turns[1] + 1))):
        voice = voices[int(rng.integers(len(voices)))]
        said = stage.speakers().say(rng, voice, min(_turn_length(stage), stage.seconds))
        onset = stage.uniform((0.0, max(0.1, stage.seconds - length(said))))
        stage.canvas.add_sound(said.samples * amplitude(level), cells(onset), "distractor")
