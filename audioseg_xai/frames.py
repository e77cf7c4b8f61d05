"""The one frame clock: 16 kHz, a frame every 20 ms, the clock of WavLM.

Frame ``t`` sees samples ``[320 t, 320 t + 400)``. As a decision it stands for the time
``[0.02 t, 0.02 (t + 1))``, and the last frame of a recording reaches to its end.
"""

from __future__ import annotations

SAMPLE_RATE = 16_000
"""Samples a second of all audio inside the package, in Hz."""

HOP = 320
"""Samples from one frame to the next."""

WINDOW = 400
"""Samples that a frame sees."""

FRAME_SHIFT = HOP / SAMPLE_RATE
"""Seconds from one frame to the next."""


def num_frames(num_samples: int) -> int:
    """Return the number of frames T = 1 + floor((N - 400) / 320) of N samples, 0 if N < 400.

    Examples
    --------
    >>> num_frames(399), num_frames(400), num_frames(719), num_frames(720)
    (0, 1, 1, 2)
    """
    return 0 if num_samples < WINDOW else 1 + (num_samples - WINDOW) // HOP


def frame_to_seconds(frame: int) -> float:
    """Return the onset of frame `frame`, in seconds."""
    return frame * HOP / SAMPLE_RATE


def seconds_to_frame(seconds: float) -> int:
    """Return the frame whose decision span holds the time `seconds`.

    Examples
    --------
    >>> seconds_to_frame(0.0), seconds_to_frame(0.0199), seconds_to_frame(0.02)
    (0, 0, 1)
    """
    # Times come from decimal text: 0.06 s is 959.9999... samples, and belongs to frame 3.
    return int((seconds * SAMPLE_RATE + 1e-6) // HOP)


def frame_centre(frame: int) -> float:
    """Return the time of the centre of what frame `frame` sees, in seconds."""
    return (frame * HOP + WINDOW / 2) / SAMPLE_RATE
