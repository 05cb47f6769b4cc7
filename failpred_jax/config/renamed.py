"""Options that have another name than they once had.

One table serves old names on the command line and in config files, which keep working, the config.json of an old
WORKDIR, and docs/options.md. The short ones, such as `config.data.path`, are here to stay.
"""

from collections.abc import Iterable, Iterator, Mapping
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


def old_keys() -> Iterator[tuple[tuple[str, ...], str, tuple[str, ...]]]:
    """Yield (keys of the section, old name in it, new keys) of every old name."""
    for old, successors in RENAMED.items():
        *sections, name = old.split('.')
        yield tuple(sections), name, successors


def resolve(given: Mapping[str, Any], defaults: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return a config, nested dicts, with what is set under an old name moved to where it is today.

    An old name that is not set is None there, as `writing.default_config` has it. One that is set counts, since the
    value under the new name may be a default or the config file's (`overrides.check_used` refuses both in one command).
    `config.data.path`, which several
    sources share, is that of the chosen one.

    Args:
      given: the config.
      defaults: of all options, under today's names.
      problems: added to, if the chosen source has no such option.
    """
    config = _copy(given)
    for sections, name, successors in old_keys():
        place = _at(config, sections)
        if not isinstance(place, dict) or name not in place:
            continue
        value = place.pop(name)
        if value is None:
            continue
        new = successors[0] if len(successors) == 1 else f'{".".join(sections)}.{place.get("source")}.{name}'
        *parents, last = new.split('.')
        target, default = _at(config, parents), _at(defaults, parents)
        if not isinstance(target, dict) or not isinstance(default, dict) or last not in default:
            old = '.'.join((*sections, name))
            problems.append(f"config.{old} is {value!r}, but the data source '{place.get('source')}' has no {name}")
        else:
            target[last] = value
    return config


def _at(place: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        place = place.get(key) if isinstance(place, Mapping) else None
    return place


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
