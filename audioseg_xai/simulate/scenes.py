"""The kinds of recording, each composed from voices, music, noise, events and silence.

Levels inside a scene are in dBFS around `SimulationConfig.reference_level`; the recording gets its
final level afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import GRID_RATE, Floats, cells
from audioseg_xai.simulate.canvas import Canvas
from audioseg_xai.simulate.channel import fade_ends, follow, set_level
from audioseg_xai.simulate.config import Range, SimulationConfig
from audioseg_xai.simulate.material import Material
from audioseg_xai.simulate.rooms import headset_response, reverberate
from audioseg_xai.simulate.speech import Speakers, Voice, length


@dataclass
class Stage:
    """What a scene is played with.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    canvas : Canvas
        Where tracks are laid.
    config : SimulationConfig
        The settings.
    speakers : Speakers
        Who can speak; used by the scenes with speech alone.
    material : Material
        Music, noise and events.
    bank : list of list of ndarray
        Room impulse responses, a list a room.
    """

    rng: np.random.Generator
    canvas: Canvas
    config: SimulationConfig
    speakers: Callable[[], Speakers]
    material: Material
    bank: list[list[Floats]]

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.canvas.num_cells / GRID_RATE

    def chance(self, probability: float) -> bool:
        """Return true with `probability`."""
        return bool(self.rng.random() < probability)

    def uniform(self, bounds: Range) -> float:
        """Return a number between `bounds`."""
        return float(self.rng.uniform(*bounds))

    def lead(self) -> float:
        """Return the silence before the first sound, in seconds; often none."""
        return 0.0 if self.chance(0.4) else min(self.uniform(self.config.lead), self.seconds / 3)


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


# --- speech ---------------------------------------------------------------------------------------


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
    samples = said.samples * np.float32(10 ** (jitter / 20))
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


def meeting(stage: Stage) -> None:
    """Two to five people around a table, at very different levels; little else."""
    rule = stage.config.speech
    number = int(stage.rng.integers(2, 6))
    voices = cast(stage, number, stage.uniform(rule.level_spread), stage.config.rooms.meeting)
    overlap = rule.meeting_overlap * stage.uniform((0.3, 1.8))
    if rule.sparse and stage.chance(rule.sparse):
        _few_words(stage, voices)
    else:
        converse(stage, Talk(voices, overlap, backchannel=rule.backchannel), *_span(stage))
    if stage.chance(stage.config.noise.meeting_events):
        events(stage, (1, 3))


def _few_words(stage: Stage, voices: list[Voice]) -> None:
    """Let people work in silence, and say something now and then."""
    number = int(stage.rng.integers(1, 5))
    slot = stage.seconds / number
    for start in slot * np.arange(number):
        voice = voices[int(stage.rng.integers(len(voices)))]
        onset = float(start) + stage.uniform((0.0, slot * 0.8))
        _speak(stage, voice, onset, min(stage.uniform((0.3, 3.0)), float(start) + slot - onset))


def debate(stage: Stage) -> None:
    """Three to five people who do not let each other finish; sometimes over a bed or noise."""
    rule = stage.config.speech
    number = int(stage.rng.integers(2, 6))
    voices = cast(stage, number, stage.uniform((0.0, 12.0)), stage.config.rooms.debate, 0.1)
    talk = Talk(voices, rule.debate_overlap, change=0.95, backchannel=0.4)
    converse(stage, talk, *_span(stage))
    if stage.chance(0.15):
        bed(stage, "noise", stage.uniform((-20.0, -5.0)))
    elif stage.chance(0.15):
        bed(stage, "music", stage.uniform((-25.0, -5.0)))


def broadcast(stage: Stage) -> None:
    """Presenters and guests with beds, jingles and interludes."""
    config, music = stage.config, stage.config.music
    start, end = _span(stage)
    start, end = _ornaments(stage, start, end)
    number = int(stage.rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.15, 0.1]))
    guest = config.channel.telephone_guest
    voices = cast(stage, number, stage.uniform((0.0, 8.0)), config.rooms.broadcast, guest)
    talk = Talk(voices, config.speech.broadcast_overlap, turn=1.8, change=0.6, backchannel=0.04)
    converse(stage, talk, start, end)
    if stage.chance(music.bed):
        bed(stage, "music", stage.uniform(music.bed_level))
    if stage.chance(config.noise.broadcast_noise):
        bed(stage, "noise", stage.uniform((-22.0, -5.0)))


def _ornaments(stage: Stage, start: float, end: float) -> tuple[float, float]:
    """Lay a jingle before and an interlude after the talk; return what is left for the talk."""
    music = stage.config.music
    third = (end - start) / 3
    if stage.chance(music.jingle):
        seconds = min(stage.uniform((0.8, 6.0)), third)
        _front(stage, start, seconds)
        start += max(0.0, seconds - stage.uniform((-1.0, 1.0)))
    if stage.chance(music.interlude):
        seconds = min(stage.uniform((2.0, 10.0)), third)
        end -= seconds
        _front(stage, end + stage.uniform((-0.5, 0.8)), seconds)
    return start, end


def street(stage: Stage) -> None:
    """Somebody speaks in a noisy place, where things happen."""
    config = stage.config
    start, end = _span(stage)
    number = int(stage.rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    voices = cast(stage, number, stage.uniform((0.0, 10.0)), config.rooms.street)
    margin = stage.uniform((0.0, (end - start) / 3))
    talk = Talk(voices, config.speech.broadcast_overlap, turn=1.3, change=0.6, backchannel=0.05)
    converse(stage, talk, start + margin, end)
    if stage.chance(0.85):
        bed(stage, "noise", stage.uniform(config.noise.street_level))
    if stage.chance(0.75):
        events(stage, config.noise.events)
    if stage.chance(0.1):
        bed(stage, "music", stage.uniform((-25.0, -5.0)))


# --- no speech ------------------------------------------------------------------------------------


def music(stage: Stage) -> None:
    """Music alone, one or two pieces, now and then with noise."""
    rule = stage.config.music
    start, end = _span(stage)
    if stage.chance(0.4):
        middle = start + (end - start) * stage.uniform((0.2, 0.8))
        _front(stage, start, middle - start)
        start = min(end, middle + stage.uniform((-1.0, 3.0)))
    _front(stage, start, end - start)
    if stage.chance(rule.noise):
        bed(stage, "noise", stage.uniform((-18.0, 0.0)))
    if stage.chance(rule.events):
        events(stage, (1, 3))


def noise(stage: Stage) -> None:
    """Places and things, and nobody who speaks or plays."""
    for _ in range(1 + stage.chance(0.3)):
        bed(stage, "noise", stage.uniform((-12.0, 3.0)))
    if stage.chance(0.6):
        events(stage, stage.config.noise.events)


def quiet(stage: Stage) -> None:
    """Hiss, hum or digital silence, and nothing that an annotator would mark."""
    if stage.chance(0.85):
        floor(stage, 0.0)


SCENES: dict[str, Callable[[Stage], None]] = {
    "meeting": meeting,
    "broadcast": broadcast,
    "street": street,
    "debate": debate,
    "music": music,
    "noise": noise,
    "quiet": quiet,
}
"""Scenes by the name that the configuration gives them."""

SPEAKING = ("meeting", "broadcast", "street", "debate")
"""Scenes that need speech."""

PLAYING = ("broadcast", "street", "debate", "music")
"""Scenes that need music."""


# --- backgrounds ----------------------------------------------------------------------------------


def bed(stage: Stage, kind: str, level: float) -> None:
    """Lay music or noise under most or a part of the recording, `level` dB over the reference."""
    start, end = _part(stage)
    make = stage.material.music if kind == "music" else stage.material.noise
    samples = make(stage.rng, end - start)
    if kind == "noise" and stage.bank and stage.chance(stage.config.rooms.noise):
        samples = _in_room(stage, samples)
    samples = set_level(samples, stage.config.reference_level + level)
    if kind == "music" and level < -3 and stage.chance(stage.config.music.intro):
        samples = _ducked(stage, samples, -level)
    samples = fade_ends(samples, _fade(stage), _fade(stage))
    stage.canvas.add_sound(samples, cells(start), kind)


def events(stage: Stage, number: tuple[int, int]) -> None:
    """Scatter passing sounds over the recording."""
    for _ in range(int(stage.rng.integers(number[0], number[1] + 1))):
        samples = stage.material.event(stage.rng, min(8.0, stage.seconds / 2))
        onset = stage.uniform((0.0, max(0.1, stage.seconds - samples.size / SAMPLE_RATE)))
        if stage.bank and stage.chance(stage.config.rooms.noise):
            samples = _in_room(stage, samples)
        level = stage.config.reference_level + stage.uniform(stage.config.noise.event_level)
        stage.canvas.add_sound(set_level(samples, level), cells(onset), "event")


def faint_sounds(stage: Stage) -> None:
    """Scatter unlabelled sounds, far weaker than who speaks, over the recording."""
    rule = stage.config.noise
    for _ in range(int(stage.rng.integers(rule.faint_sounds[0], rule.faint_sounds[1] + 1))):
        samples = stage.material.faint(stage.rng)
        level = stage.config.reference_level + stage.uniform(rule.faint_level)
        onset = stage.uniform((0.0, stage.seconds))
        stage.canvas.add_sound(set_level(samples, level), cells(onset), "distractor")


def floor(stage: Stage, level: float) -> None:
    """Lay an unlabelled floor under the whole recording, `level` dB over the reference."""
    samples = stage.material.floor(stage.rng, stage.seconds)
    level += stage.config.reference_level
    stage.canvas.add_sound(set_level(samples, level), 0, "distractor")


def _front(stage: Stage, onset: float, seconds: float) -> None:
    """Play music alone in the foreground."""
    if seconds < 0.3:
        return
    samples = stage.material.music(stage.rng, seconds)
    if stage.bank and stage.chance(stage.config.rooms.music):
        samples = _in_room(stage, samples)
    level = stage.config.reference_level + stage.uniform(stage.config.music.front_level)
    faded = fade_ends(set_level(samples, level), _fade(stage), _fade(stage))
    stage.canvas.add_sound(faded, cells(max(0.0, onset)), "music")


def _in_room(stage: Stage, samples: Floats) -> Floats:
    room = stage.bank[int(stage.rng.integers(len(stage.bank)))]
    return reverberate(samples, room[int(stage.rng.integers(len(room)))])[: samples.size]


def _ducked(stage: Stage, samples: Floats, depth: float) -> Floats:
    """Let a bed begin in the foreground and go down by `depth` dB when it is talked over."""
    num_cells = -(-samples.size // 160)
    start, ramp = stage.uniform((1.0, 5.0)), stage.uniform((0.3, 1.5))
    course = np.clip((np.arange(num_cells) / GRID_RATE - start) / ramp, 0, 1)
    return follow(samples, ((1 - course) * depth).astype(np.float32))


def _fade(stage: Stage) -> float:
    low, high = stage.config.music.fade
    return float(np.exp(stage.rng.uniform(np.log(low), np.log(high))))


def _span(stage: Stage) -> tuple[float, float]:
    """Return when the first sound may begin and the last end: silence is common at both ends."""
    tail = 0.0 if stage.chance(0.4) else min(stage.uniform(stage.config.lead), stage.seconds / 3)
    return stage.lead(), stage.seconds - tail


def _part(stage: Stage) -> tuple[float, float]:
    """Return the whole recording, or a part of 25 % at least."""
    if stage.chance(0.4):
        return 0.0, stage.seconds
    share = stage.uniform((0.25, 0.95))
    start = stage.uniform((0.0, (1 - share) * stage.seconds))
    return start, start + share * stage.seconds
