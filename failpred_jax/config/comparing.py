"""What a WORKDIR compares: whether two configs train the same thing."""

from collections.abc import Mapping
from typing import Any

from failpred_jax.config.owners import chosen_in, entries
from failpred_jax.config.renamed import follow
from failpred_jax.config.sections import Config
from failpred_jax.registry import RECIPES, SCHEDULES


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


def obstacles(there: Any, now: Mapping[str, Any]) -> list[str]:
    """Return those of the differences for which a WORKDIR has to be refused.

    More epochs of a stage that can be extended are none, nor are other options of the stages that train a head: those
    stages are trained anew on the baseline that is there (see stages/continuing.py).
    """
    found = []
    for line in differences(there, now):
        path = line.partition(':')[0]
        if path == 'config.baseline.epochs':
            why = why_not_extended(there, now, 'baseline')
            found += [f'{line}; {why}'] if why else []
        elif not path.startswith(('config.confidence.', 'config.finetune.')) or _moves_validation(path, there, now):
            found.append(line)
    return found


def _moves_validation(path: str, there: Any, now: Mapping[str, Any]) -> bool:
    """Return whether the baseline is selected on other images: half of the validation part may be the head's."""
    before = follow(there).get('confidence', {}).get('targets', 'train')
    return path == 'config.confidence.targets' and 'validation' in (before, now['confidence']['targets'])


def why_not_extended(there: Any, now: Mapping[str, Any], stage: str) -> str:
    """Return why a stage trained with one config cannot go on to the epochs of another; '' if it can.

    It can if the result is to the last bit that of so many epochs at once.
    """
    section = now[stage]
    before = follow(there).get(stage, {}).get('epochs')
    if before is None or section['epochs'] < before:
        return 'a stage that is trained longer than that is not cut'
    if not SCHEDULES.fact(section['schedule'], 'extends'):
        others = ', '.join(name for name in SCHEDULES if SCHEDULES.fact(name, 'extends'))
        return (
            f"a '{section['schedule']}' schedule ends with the stage, so more epochs are another training "
            f'(those that can be extended: {others})'
        )
    fixed = [name for name in section['recipes'] if not RECIPES.fact(name, 'extends')]
    if fixed:
        return f"the recipe '{fixed[0]}' may depend on how many epochs there are"
    if before == 0 or before % section['eval_every_epochs']:
        return (
            f'it ended between two validations ({before} epochs, config.{stage}.eval_every_epochs='
            f'{section["eval_every_epochs"]}), which a longer training would not have had'
        )
    return ''


def what_trains(now: Mapping[str, Any], kind: type = Config) -> dict[str, Any]:
    """Return the options of a config, as `to_dict` gives it, that change what is trained; see `differences`."""
    chosen = chosen_in(kind, now)
    found = {}
    for name, entry in entries(kind).items():
        if entry.metadata.get('changes_training', True) and (not entry.is_owned or name in chosen):
            found[name] = what_trains(now[name], entry.kind) if entry.is_section else now[name]
    return found
