"""Learning-rate schedules, one per file; see train/optimizer.py."""
