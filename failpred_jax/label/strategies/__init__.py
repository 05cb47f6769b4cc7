"""Ways to choose what to label next, one per file, discovered automatically (registry.py)."""
