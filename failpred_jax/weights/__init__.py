"""Weights that were trained elsewhere: formats, one file each, discovered automatically (see registry.py)."""
