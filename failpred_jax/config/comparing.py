"""What a WORKDIR compares: whether two configs train the same thing."""

from collections.abc import Mapping
from typing import Any

from failpred_jax.config.owners import chosen_in, entries
from failpred_jax.config.renamed import follow
from failpred_jax.config.sections import Config


def differences(there: Any, now: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each option in which two configs differ so that they train different things.

    Options that change no training do not count, nor do those of a model, source, recipe or loss that is not chosen.
    A key that the older version did not know has its default, and one that had another name is followed.

    Args:
      there: an earlier config as config.json holds it, of this version or an older one.
      now: the config of today, as `to_dict` gives it.
    """
    if not isinstance(there, Mapping):
        return [f'config: {there!r} there, which is no config']
    lines: list[str] = []
    _compare(Config, follow(there), now, 'config', lines)
    return lines


def _compare(kind: type, there: Any, now: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    if not isinstance(there, Mapping):
        lines.append(f'{prefix}: {there!r} there, a section with keys of its own now')
        return
    known = entries(kind)
    chosen = chosen_in(kind, now)
    for name, entry in known.items():
        path = f'{prefix}.{name}'
        if not entry.metadata.get('changes_training', True) or (entry.is_owned and name not in chosen):
            continue
        if entry.is_section:
            _compare(entry.kind, there.get(name, {}), now[name], path, lines)
            continue
        default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
        before = there.get(name, default)
        if before != now[name] or isinstance(before, bool) != isinstance(now[name], bool):
            by_default = '' if name in there else ', which is the default'
            lines.append(f'{path}: {before!r} there{by_default}, {now[name]!r} now')
    for name, value in there.items():
        # An unknown section belongs to something that is not registered any more: chosen, it would differ by name.
        if name not in known and not isinstance(value, Mapping):
            lines.append(f'{prefix}.{name}: {value!r} there, which this version does not know')


def what_trains(now: Mapping[str, Any], kind: type = Config) -> dict[str, Any]:
    """Return the options of a config, as `to_dict` gives it, that change what is trained; see `differences`."""
    chosen = chosen_in(kind, now)
    found = {}
    for name, entry in entries(kind).items():
        if entry.metadata.get('changes_training', True) and (not entry.is_owned or name in chosen):
            found[name] = what_trains(now[name], entry.kind) if entry.is_section else now[name]
    return found
