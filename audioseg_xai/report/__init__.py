"""Explanations for people: figures and tables."""
