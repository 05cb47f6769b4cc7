"""Architectures, one file each; discovered automatically (see registry.py and docs/adding.md)."""
