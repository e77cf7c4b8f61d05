"""Command-line programs, one a step: options and one library call each.

Installed as `audioseg_xai.bin`, so that `python bin/score.py`, `python -m audioseg_xai.bin.score`
and `xai-segment score` are the same code.
"""
