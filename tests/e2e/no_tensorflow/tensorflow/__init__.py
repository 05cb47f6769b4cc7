"""Stands where tensorflow would, for runs that have to work without it."""

raise ImportError('tensorflow is not here (a test took it away)')
