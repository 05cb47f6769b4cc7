"""Shifted inputs: corruptions of images, and images of other kinds, for measuring what a confidence is worth there."""
