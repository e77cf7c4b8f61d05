"""Corpora: where audio and labels come from, brought into the layouts that training reads."""
