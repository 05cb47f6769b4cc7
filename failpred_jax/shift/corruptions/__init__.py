"""Corruptions, one file a family; discovered automatically (see registry.py and docs/shift.md)."""
