"""Training recipes, one file each; discovered automatically (see registry.py)."""
