"""Options that have another name than they once had.

One table serves the message for an old name, the config.json of an old WORKDIR, and docs/options.md.
"""

from collections.abc import Mapping
from typing import Any

# Old key -> new keys. Where there are several, the old one was shared by what now owns one each.
RENAMED: dict[str, tuple[str, ...]] = {
    'data.name': ('data.tfds.name',),
    'data.tfds_data_dir': ('data.tfds.data_dir',),
    'data.train_split': ('data.tfds.train_split',),
    'data.test_split': ('data.tfds.test_split',),
    'data.validation_split': ('data.tfds.validation_split',),
    'data.path': ('data.arrays.path', 'data.camvid.path'),
    'data.void_label': ('data.arrays.ignore_label',),
    'data.score_void': ('data.camvid.score_unlabeled',),
    'model.hidden_units': ('model.mlp.hidden_units',),
    'baseline.optimiser': ('baseline.optimizer',),
    'confidence.optimiser': ('confidence.optimizer',),
    'confidence.trunk_dropout': ('confidence.backbone_dropout',),
    'finetune.optimiser': ('finetune.optimizer',),
}


def new_name(path: str) -> str:
    """Return the sentence that names what 'config.x.y' is called now; '' if it was never an option's name."""
    successors = RENAMED.get(path.removeprefix('config.'), ())
    return f'{path} is now {" or ".join(f"config.{new}" for new in successors)}' if successors else ''


def follow(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config of an older version, nested dicts, under today's names; values that are not dicts as they are."""
    config = _copy(config)
    for old, successors in RENAMED.items():
        *sections, name = old.split('.')
        place = config
        for key in sections:
            place = place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name not in place:
            continue
        value = place.pop(name)
        for new in successors:
            *sections, last = new.split('.')
            target = config
            for key in sections:
                inner = target.get(key)
                # A key of that name that was a value gives way: it is no section of today's.
                target[key] = inner if isinstance(inner, dict) else {}
                target = target[key]
            target.setdefault(last, value)
    return config


def _copy(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in config.items()}
