"""Optimizers, one per file; see train/optimizer.py."""
