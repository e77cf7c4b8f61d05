"""Listening to a stream that may never end: segments as they close, with a bounded delay."""

from audioseg_xai.live.follow import follow
from audioseg_xai.live.plan import Plan, plan
from audioseg_xai.live.source import InterruptibleInput, is_live

__all__ = ["InterruptibleInput", "Plan", "follow", "is_live", "plan"]
