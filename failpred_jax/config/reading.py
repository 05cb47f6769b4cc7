"""How a ConfigDict becomes the frozen dataclasses of an experiment: everything is checked, and all problems named."""

import re
import typing
from typing import Any

import ml_collections

from failpred_jax.config.owners import OwnerSection, entries, to_dict, unknown_key
from failpred_jax.config.renamed import follow, resolve
from failpred_jax.config.sections import Config, DecideConfig
from failpred_jax.errors import UserError, nearest
from failpred_jax.options import Rule
from failpred_jax.registry import LOSSES, MODELS, OPTIMIZERS, RECIPES, SCHEDULES
from failpred_jax.values import converted

STAGES = ('baseline', 'confidence', 'finetune')


def read_config(given: ml_collections.ConfigDict | dict[str, Any]) -> Config:
    """Check a ConfigDict (or nested dicts) and return it as frozen dataclasses.

    Raises:
      UserError: naming every problem at once: unknown or missing keys, wrong types, values that are not allowed,
        and combinations that cannot work.
    """
    problems: list[str] = []
    if not isinstance(given, ml_collections.ConfigDict | dict):
        raise UserError(f'get_config() returned {type(given).__name__}; it must return a ConfigDict')
    plain = given.to_dict() if isinstance(given, ml_collections.ConfigDict) else given
    plain = resolve(plain, to_dict(Config()), problems)
    config = _read_section(Config, plain, 'config', problems)
    if not problems:
        problems.extend(_check_combinations(config))
    if problems:
        raise UserError('\n'.join(['the config has problems:', *(f'  - {p}' for p in problems)]))
    return config


def read_saved(there: typing.Any) -> Config:
    """Return the config that a config.json holds; a key that its version did not have is at its default.

    Raises:
      UserError: it is none, or of a version that knew options that this one does not.
    """
    if not isinstance(there, dict):
        raise UserError(f'config.json holds {there!r}, which is no config; restore it from a copy')
    return read_config(_filled(to_dict(Config()), follow(there)))


def _filled(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return `given` with what it lacks of `defaults`."""
    found = {**defaults, **given}
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(found[key], dict):
            found[key] = _filled(default, found[key])
    return found


def read_decide(given: typing.Mapping[str, Any]) -> DecideConfig:
    """Return the options of decisions, those that are not given at their defaults; errors as in `read_config`."""
    problems: list[str] = []
    found = _read_section(DecideConfig, {**to_dict(DecideConfig()), **given}, 'config.decide', problems)
    if not problems:
        problems.extend(found.problems())
    if problems:
        raise UserError('\n'.join(['the options of decisions have problems:', *(f'  - {p}' for p in problems)]))
    return found


def _read_section(kind: type, given: Any, prefix: str, problems: list[str]) -> Any:
    """Return a dataclass of options from what was given for it, adding a sentence to `problems` for all that is wrong.

    Args:
      kind: the dataclass; a field may be a dataclass of options too.
      given: a ConfigDict or dict of all its fields.
      prefix: its name, such as 'config.data'.
      problems: added to. What is returned is only of use if there are none.
    """
    if not isinstance(given, ml_collections.ConfigDict | dict):
        problems.append(f'{prefix} is {given!r}, but it is a section with keys of its own')
        return kind()
    known = entries(kind)
    problems.extend(unknown_key(prefix, key, kind) for key in given if key not in known)
    values: dict[str, Any] = {}
    owned: dict[str, Any] = {}
    for name, entry in known.items():
        path = f'{prefix}.{name}'
        if name not in given:
            problems.append(f'missing key {path}; start the config file from default_config()')
        elif entry.is_section:
            (owned if entry.is_owned else values)[name] = _read_section(entry.kind, given[name], path, problems)
        else:
            values[name] = _read_value(entry.kind, given[name], path, entry.metadata, problems)
    return kind(**values, **({'owned': owned} if issubclass(kind, OwnerSection) else {}))


def _read_value(expected: Any, value: Any, path: str, metadata: Any, problems: list[str]) -> Any:
    try:
        value = converted(expected, value)
    except TypeError as error:
        problems.append(f'{path} is {value!r}, but it must be {error} ({metadata["help"]})')
        return value
    rule = metadata['rule']
    if not rule.holds(value):
        # Of several names, the first that is none.
        given = value if isinstance(value, tuple) else ()
        wrong = next((v for v in given if not rule.holds((v,))), None) if isinstance(value, tuple) else value
        hint = '' if wrong is None else rule.hint(wrong)
        if isinstance(wrong, str):
            hint = hint or nearest(wrong, _words_in(rule))
        problems.append(f'{path} is {value!r}{hint}; allowed: {rule.words()} ({metadata["help"]})')
    return value


def _words_in(rule: Rule) -> list[str]:
    return re.split('[,;] ', rule.words().rpartition(': ')[2])


def _check_combinations(config: Config) -> list[str]:
    """Return the problems that no single option shows."""
    problems = [*_problems_of_chosen(config.data, 'config.data'), *_problems_of_chosen(config.model, 'config.model')]
    for name in STAGES:
        problems.extend(_problems_of_chosen(getattr(config, name), f'config.{name}'))
    for name in ('confidence', 'finetune'):
        stage = getattr(config, name)
        for option in ('error_weight', 'temperature'):
            if option not in LOSSES.fact(stage.loss, 'reads') and getattr(stage, option) != 1.0:
                problems.append(
                    f'config.{name}.{option} is {getattr(stage, option)}, but the loss '
                    f"'{stage.loss}' does not use it; leave it at 1.0, or choose a loss that does"
                )
    held_out = config.data.validation_fraction + config.data.calibration_fraction
    if config.data.calibration_fraction and held_out >= 1:
        problems.append(
            f'config.data.validation_fraction is {config.data.validation_fraction} and config.data.calibration_fraction'
            f' {config.data.calibration_fraction}, which leaves nothing to train on; their sum must be less than 1'
        )
    if len(config.data.image_size) not in (0, 2):
        problems.append(f'config.data.image_size is {config.data.image_size}; it must be (height, width) or ()')
    if len(config.data.mean) != len(config.data.std) and 1 not in (
        len(config.data.mean),
        len(config.data.std),
    ):
        problems.append(
            f'config.data.mean has {len(config.data.mean)} values and config.data.std has {len(config.data.std)}; '
            'give one value, or one per channel, to each'
        )
    if len(set(config.seeds)) != len(config.seeds):
        problems.append(f'config.seeds is {config.seeds}; each seed may be listed once')
    problems.extend(config.decide.problems())
    problems.extend(_problems_of_start(config))
    if config.finetune.epochs and not config.confidence.epochs:
        problems.append('config.finetune.epochs is set but config.confidence.epochs is 0; fine-tuning starts there')
    for name in STAGES:
        stage = getattr(config, name)
        for registry, chosen in ((OPTIMIZERS, stage.optimizer), (SCHEDULES, stage.schedule)):
            of_stage = registry.fact(chosen, 'problems')
            problems.extend(of_stage(stage, f'config.{name}') if of_stage else ())
        if list(stage.milestones) != sorted(stage.milestones):
            problems.append(f'config.{name}.milestones is {stage.milestones}; the epochs must increase')
        problems.extend(_problems_of_recipes(name, stage.recipes))
    return problems


def _problems_of_start(config: Config) -> typing.Iterator[str]:
    """Yield what is wrong with where the classifier comes from."""
    baseline = config.baseline
    if not baseline.epochs and not baseline.init_from and not MODELS.fact(config.model.name, 'may_be_given'):
        yield (
            'config.baseline.epochs is 0; a classifier that is not trained has nothing to predict: set it above 0, or '
            'name a finished classifier with config.baseline.init_from'
        )
    if not baseline.epochs and config.confidence.targets == 'crossfit':
        yield (
            "config.baseline.epochs is 0; config.confidence.targets='crossfit' trains the baseline once per fold and "
            "needs its epochs; set targets to 'train' or 'validation'"
        )
    if not baseline.epochs and baseline.recipes:
        yield (
            f'config.baseline.epochs is 0, but config.baseline.recipes is {baseline.recipes}; a recipe changes '
            'training, and there is none: set recipes to ()'
        )
    for key in ('init_rename', 'init_only'):
        if getattr(baseline, key) and not baseline.init_from:
            yield f"config.baseline.{key} is set, but config.baseline.init_from is ''"


def _problems_of_recipes(stage: str, recipes: tuple[str, ...]) -> typing.Iterator[str]:
    """Yield the recipes that are not for this stage, or of which one is too many."""
    fitting = [name for name in RECIPES if stage in RECIPES.fact(name, 'stages')]
    for name in recipes:
        if name not in fitting:
            yield f"config.{stage}.recipes has '{name}', which is not for this stage; allowed: {', '.join(fitting)}"
    choosing = [name for name in recipes if RECIPES.fact(name, 'replaces_evaluated')]
    if len(choosing) > 1:
        yield (
            f'config.{stage}.recipes has {" and ".join(choosing)}, which each choose the weights that are evaluated; '
            'keep one of them'
        )


def _problems_of_chosen(section: OwnerSection, prefix: str) -> typing.Iterator[str]:
    """Yield what the things that a section chooses find wrong with their own options."""
    for name in section.chosen():
        options = section.options_of(name)
        if hasattr(options, 'problems'):
            yield from options.problems(f'{prefix}.{name}')
