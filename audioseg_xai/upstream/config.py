"""Which upstream model, which of its layers, in which windows and precision."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audioseg_xai.config import Config
from audioseg_xai.errors import ConfigError
from audioseg_xai.frames import FRAME_SHIFT

Layers = Literal["all"] | Annotated[int, Field(ge=0)] | tuple[float, ...]
"""All hidden states, the number of one, or a weight for each."""

_LOCAL = ("_local", "_custom")  # names of s3prl's upstreams that take a file

FAMILY = "wavlm"
"""Upstreams whose names start so are computed by `wavlm.FastWavLM`, the others by s3prl."""


class UpstreamConfig(Config):
    """An upstream model, and how features are computed with it.

    Features are computed in windows of a grid that lies fixed in each recording: window i gives
    the frames of the seconds ``[chunk i, chunk (i + 1))`` and sees `margin` more on each side, as
    far as the recording reaches.

    Attributes
    ----------
    name : str
        Any upstream of s3prl: ``wavlm_large``, ``wavlm_base_plus``, ``hubert_base``... or, with a
        checkpoint, ``wavlm_local``.
    checkpoint : str or None
        File of the weights; None takes what s3prl downloads for the name.
    digest : str
        SHA-256 of the weights that are expected; empty for whatever the checkpoint holds.
    layers : 'all', int or tuple of float
        Every hidden state, one of them (0 is what enters the first layer), or their sum with a
        weight each.
    chunk : float
        Seconds of features that a window gives.
    margin : float
        Seconds more that a window sees on each side. The default is what the positional
        convolution of WavLM reaches (64 frames), so that it meets no edge that is not one of the
        recording.
    precision : {'f32', 'bf16'}
        Of matrix products and convolutions; sums along the layers are kept in 32 bits. The 16 bits
        are faster only where the processor can multiply them.
    """

    name: str = Field(min_length=1)
    checkpoint: str | None = None
    digest: str = ""
    layers: Layers = "all"
    chunk: float = Field(default=10.0, ge=FRAME_SHIFT)
    margin: float = Field(default=1.28, ge=0)
    precision: Literal["f32", "bf16"] = "f32"

    @model_validator(mode="after")
    def _source_is_clear(self) -> Self:
        # No ValueError: pydantic would print the whole configuration behind the message.
        local = self.name.endswith(_LOCAL)
        if local and self.checkpoint is None:
            raise ConfigError(f"{self.name} needs a checkpoint: name its file")
        if self.checkpoint is not None and not local and not self.is_wavlm:
            # s3prl would download what the name stands for, and not look at the file.
            family = self.name.partition("_")[0]
            raise ConfigError(f"{self.name} takes no checkpoint: say {family}_local for a file")
        return self

    @property
    def is_wavlm(self) -> bool:
        """Whether it is of the family that has a fast implementation here."""
        return self.name.startswith(FAMILY)

    @property
    def chunk_frames(self) -> int:
        """Frames that a window gives."""
        return round(self.chunk / FRAME_SHIFT)

    @property
    def margin_frames(self) -> int:
        """Frames more that a window sees on each side."""
        return round(self.margin / FRAME_SHIFT)

    def with_checkpoint(self, path: str) -> UpstreamConfig:
        """Return the same upstream with its weights in another file; a digest stays to be met."""
        own = self.is_wavlm or self.name.endswith(_LOCAL)
        name = self.name if own else f"{self.name.partition('_')[0]}_local"
        return self.model_copy(update={"name": name, "checkpoint": path})

    def identity(self) -> str:
        """Return all that shapes the features, as JSON; where the checkpoint lies does not."""
        return self.model_dump_json(exclude={"checkpoint"})


def parse_layers(text: str) -> Layers:
    """Read layers from an option: ``all``, ``6`` or ``0.2,0.3,0.5``.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    try:
        if text == "all":
            return "all"
        if "," in text:
            return tuple(float(weight) for weight in text.split(","))
        return int(text)
    except ValueError:
        raise ConfigError(
            f"--layers {text}: say all, the number of a layer, or a weight for each: 0.2,0.3,0.5"
        ) from None
