"""Confidence scores, one function each; discovered automatically (see registry.py and docs/scores.md)."""
