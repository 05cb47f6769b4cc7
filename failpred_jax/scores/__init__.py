"""Confidence scores. Every module of this folder is imported, so a new score is a new file and nothing else.

A score is filed in `registry.SCORES` by the decorator in register.py; see docs/scores.md.
"""

import importlib
import pkgutil

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f'{__name__}.{_module}')
