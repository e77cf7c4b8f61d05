"""The kinds of recording, each composed from voices, music, noise, events and silence.

Levels inside a scene are in dBFS around `SimulationConfig.reference_level`; the recording gets its
final level afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from audioseg_xai.simulate.backgrounds import bed, events, floor, front
from audioseg_xai.simulate.conversation import Talk, cast, converse, few_words
from audioseg_xai.simulate.stage import Stage


def meeting(stage: Stage) -> None:
    """Two to five people around a table, at very different levels; little else."""
    rule = stage.config.speech
    number = int(stage.rng.integers(2, 6))
    voices = cast(stage, number, stage.uniform(rule.level_spread), stage.config.rooms.meeting)
    overlap = rule.meeting_overlap * stage.uniform((0.3, 1.8))
    if rule.sparse and stage.chance(rule.sparse):
        stage.sparse = True
        few_words(stage, voices)
    else:
        converse(stage, Talk(voices, overlap, backchannel=rule.backchannel), *stage.span())
    if stage.chance(stage.config.noise.meeting_events):
        events(stage, (1, 3))


def debate(stage: Stage) -> None:
    """Three to five people who do not let each other finish; sometimes over a bed or noise."""
    rule = stage.config.speech
    number = int(stage.rng.integers(2, 6))
    voices = cast(stage, number, stage.uniform((0.0, 12.0)), stage.config.rooms.debate, 0.1)
    talk = Talk(voices, rule.debate_overlap, change=0.95, backchannel=0.4)
    converse(stage, talk, *stage.span())
    music, noise = stage.config.music, stage.config.noise
    if stage.chance(noise.debate_noise):
        bed(stage, "noise", stage.uniform(noise.debate_level))
    elif stage.chance(music.debate):
        bed(stage, "music", stage.uniform(music.debate_level))


def broadcast(stage: Stage) -> None:
    """Presenters and guests with beds, jingles and interludes."""
    config, music = stage.config, stage.config.music
    start, end = stage.span()
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
        front(stage, start, seconds)
        start += max(0.0, seconds - stage.uniform((-1.0, 1.0)))
    if stage.chance(music.interlude):
        seconds = min(stage.uniform((2.0, 10.0)), third)
        end -= seconds
        front(stage, end + stage.uniform((-0.5, 0.8)), seconds)
    return start, end


def street(stage: Stage) -> None:
    """Somebody speaks in a noisy place, where things happen."""
    config = stage.config
    start, end = stage.span()
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
    start, end = stage.span()
    if stage.chance(0.4):
        middle = start + (end - start) * stage.uniform((0.2, 0.8))
        front(stage, start, middle - start)
        start = min(end, middle + stage.uniform((-1.0, 3.0)))
    front(stage, start, end - start)
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
