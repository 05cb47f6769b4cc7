"""What is minimized, per unit; confidence losses are discovered automatically (see registry.py)."""
