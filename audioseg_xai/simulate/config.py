"""Everything that shapes a simulated recording, as one configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from audioseg_xai.config import Config


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"the lower bound comes first, found {value[0]:g} > {value[1]:g}")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
"""A lower and an upper bound, from which values are drawn uniformly."""

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

SCENES = ("meeting", "broadcast", "street", "debate", "music", "noise", "quiet")
"""Kinds of recording that can be composed."""


class SpeechLabels(Config):
    """How the energy of a clean speech file becomes speech and overlap labels.

    Thresholds are in dB relative to the loud level of the file (95th percentile of its frame
    powers), times in seconds. A speaker is on above `on_above` until below `off_below`.
    """

    on_above: float = -32.0
    off_below: float = -42.0
    pad: float = Field(default=0.1, ge=0, le=1)
    gap: float = Field(default=0.3, ge=0, le=5)
    overlap_on_above: float = -28.0
    overlap_off_below: float = -36.0
    overlap_pad: float = Field(default=0.0, ge=0, le=1)
    overlap_gap: float = Field(default=0.1, ge=0, le=5)
    overlap_min: float = Field(default=0.1, ge=0, le=5)

    @model_validator(mode="after")
    def _hysteresis(self) -> SpeechLabels:
        if self.off_below > self.on_above or self.overlap_off_below > self.overlap_on_above:
            raise ValueError("'off_below' must not be greater than 'on_above'")
        return self


class AudibleLabels(Config):
    """When a background is loud enough that an annotator would mark it.

    All thresholds are in dB: `floor` on the scale of the mixture before its final gain, in which
    the main speaker or sound stands at `SimulationConfig.reference_level`; `own` relative to the
    loud level of the track itself; `mix` relative to the mixture around the frame (mean over
    `window` seconds). Silences below `gap` seconds are filled; shorter than `shortest`, dropped.
    """

    floor: float = -60.0
    own: float = -35.0
    mix: float = -30.0
    window: Positive = 1.0
    gap: float = Field(default=0.5, ge=0)
    shortest: float = Field(default=0.1, ge=0)


class SpeechConfig(Config):
    """Speakers, their turns and their levels."""

    speed: Range = (0.9, 1.1)
    speaker_cap: Positive = Field(
        default=300.0, description="seconds beyond which a speaker counts no more"
    )
    turn_median: Positive = 2.6
    turn_spread: Positive = 0.8
    turn_range: Range = (0.4, 12.0)
    pause_mean: Positive = 0.6
    pause_max: Positive = 3.0
    long_pause: Probability = 0.06
    long_pause_range: Range = (3.0, 8.0)
    overlap_range: Range = (0.2, 3.0)
    sparse: Probability = Field(
        default=0.0, description="share of meetings where hardly anybody speaks"
    )
    meeting_overlap: Probability = 0.35
    debate_overlap: Probability = 0.8
    broadcast_overlap: Probability = 0.1
    backchannel: Probability = 0.25
    level_spread: Range = (0.0, 20.0)
    behind: Probability = Field(
        default=0.0, description="share of conversations with faint voices behind, never labelled"
    )
    behind_level: Range = (-50.0, -27.0)
    behind_turns: tuple[int, int] = (1, 5)


class MusicConfig(Config):
    """Music beds, jingles and music alone; levels in dB relative to the speech."""

    speed: Range = (0.8, 1.2)
    bed_level: Range = (-25.0, 5.0)
    front_level: Range = (-3.0, 6.0)
    fade: Range = (0.02, 3.0)
    bed: Probability = 0.6
    intro: Probability = 0.3
    jingle: Probability = 0.35
    interlude: Probability = 0.25
    debate: Probability = Field(
        default=0.15, description="share of debates without noise with a bed"
    )
    debate_level: Range = (-25.0, -5.0)
    noise: Probability = Field(default=0.2, description="share of music alone with a noise bed")
    events: Probability = Field(default=0.2, description="share of it with passing sounds")


class NoiseConfig(Config):
    """Ambient noise and events; levels in dB relative to the speech (or to the reference)."""

    speed: Range = (0.7, 1.4)
    event_speed: Range | None = Field(default=None, description="of events; else as `speed`")
    synthetic: Probability = 0.4
    street_level: Range = (-20.0, 5.0)
    event_level: Range = (-15.0, 8.0)
    events: tuple[int, int] = (1, 6)
    meeting_events: Probability = 0.25
    broadcast_noise: Probability = 0.1
    debate_noise: Probability = 0.15
    debate_level: Range = (-20.0, -5.0)
    floor: Probability = Field(default=0.7, description="share with an unlabelled floor")
    floor_level: Range = (-65.0, -35.0)
    sparse_floor: float | None = Field(
        default=None,
        description="highest floor where hardly anybody speaks, in dB over the reference: what "
        "would be louder, and is never labelled, is as loud as that",
    )
    faint: Probability = Field(
        default=0.0, description="share of conversations with faint unlabelled sounds, breaths"
    )
    faint_level: Range = (-50.0, -28.0)
    faint_sounds: tuple[int, int] = (3, 15)


class RoomConfig(Config):
    """The bank of room impulse responses, and how often a scene is played in one."""

    rooms: int = Field(default=12, ge=0, le=1000)
    positions: int = Field(default=5, ge=1, le=20)
    reverberation: Range = (0.15, 0.8)
    max_seconds: Positive = 0.5
    meeting: Probability = 0.6
    debate: Probability = 0.4
    broadcast: Probability = 0.15
    street: Probability = 0.3
    music: Probability = 0.2
    noise: Probability = 0.2
    headsets: Probability = Field(
        default=0.0, description="share of conversations outside rooms with a microphone a speaker"
    )


class ChannelConfig(Config):
    """What happens to a finished mixture, and the level it is given."""

    telephone: Probability = 0.05
    telephone_guest: Probability = 0.12
    lowpass: Probability = 0.2
    lowpass_range: Range = (3000.0, 7500.0)
    tilt: Probability = 0.4
    tilt_range: Range = (-6.0, 6.0)
    gain_change: Probability = 0.15
    gain_change_range: Range = (-15.0, 15.0)
    compress: Probability = 0.2
    clip: Probability = 0.04
    clip_range: Range = (3.0, 15.0)
    level_range: Range = (-45.0, -3.0)
    level_mean: float = -23.0
    level_spread: Positive = 8.0
    extreme: Probability = 0.03
    extreme_range: Range = (-62.0, -45.0)
    quiet_range: Range = (-80.0, -55.0)


class SimulationConfig(Config):
    """The whole of a simulation; what is left out keeps its default."""

    duration: Range = (20.0, 30.0)
    short: Probability = Field(default=0.08, description="share of short recordings")
    short_duration: Range = (2.0, 10.0)
    reference_level: float = Field(default=-25.0, description="dBFS, before final gain")
    lead: Range = (0.0, 2.5)
    audio_format: Literal["wav", "flac"] = "wav"
    cache_megabytes: Positive = 1000.0
    scenes: dict[str, float] = Field(
        default_factory=lambda: {
            "meeting": 0.26,
            "broadcast": 0.2,
            "street": 0.15,
            "debate": 0.15,
            "music": 0.1,
            "noise": 0.11,
            "quiet": 0.04,
        }
    )
    speech_labels: SpeechLabels = SpeechLabels()
    music_labels: AudibleLabels = AudibleLabels()
    noise_labels: AudibleLabels = AudibleLabels(mix=-25.0, gap=0.3, window=2.0)
    event_labels: AudibleLabels = AudibleLabels(mix=-25.0, own=-30.0, window=0.5, gap=0.25)
    speech: SpeechConfig = SpeechConfig()
    music: MusicConfig = MusicConfig()
    noise: NoiseConfig = NoiseConfig()
    rooms: RoomConfig = RoomConfig()
    channel: ChannelConfig = ChannelConfig()

    @model_validator(mode="after")
    def _scenes_and_durations(self) -> SimulationConfig:
        unknown = set(self.scenes) - set(SCENES)
        if unknown:
            known = ", ".join(SCENES)
            raise ValueError(f"unknown scene {min(unknown)!r}: expected some of {known}")
        if any(weight < 0 for weight in self.scenes.values()) or not sum(self.scenes.values()):
            raise ValueError("scene weights must not be negative, nor all zero")
        if min(self.duration[0], self.short_duration[0]) < 1.0:
            raise ValueError("a simulated recording lasts 1 s at least")
        return self
