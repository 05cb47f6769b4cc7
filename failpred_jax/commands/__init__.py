"""Commands, one file per --mode, discovered automatically (registry.py).

A command file is imported for `--help` already, so it imports what is slow (jax, and every room that imports it) inside
its run function.
"""
