"""Where shifted images come from, one file a kind; discovered automatically (see registry.py and docs/shift.md)."""
