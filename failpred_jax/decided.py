"""Decisions of an evaluation, into the folder `decisions` of its WORKDIR; those of another model or with other options,
which were there, are moved aside."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from failpred_jax.config import DecideConfig
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.files import read_json, write_json
from failpred_jax.results import Evaluation, Predictions, plain, read_evaluation
from failpred_jax.results.decisions import (
    POLICY,
    REFERENCE,
    Decided,
    Guarantee,
    SeedDecided,
    digest_of_policy,
    read_decisions,
    write_decisions,
)

if TYPE_CHECKING:
    from failpred_jax.decide.deciding import Made

FOLDER = 'decisions'
# Of several seeds: their promises side by side.
SEEDS = 'seeds.json'
TIERED = ('selective', 'generalized', 'expected', 'cost')


def decide_run(workdir: Path, options: DecideConfig, again: bool = True, is_asked: bool = True) -> bool:
    """Make the decisions of an evaluated run.

    Args:
      workdir: holds the evaluation folder.
      options: what is promised.
      again: also where the folder has what would be made.
      is_asked: whether the user asked for decisions alone; if not, a run that can have none goes without.

    Returns:
      Whether anything was written.

    Raises:
      UserError: there is no evaluation, or what is asked for cannot be had.
    """
    evaluation = read_evaluation(workdir / 'evaluation')
    if is_asked:
        check_can_decide(evaluation, options)
    done = not again and _is_there(workdir / FOLDER, evaluation, options)
    if done or _problem(evaluation, options):
        return False
    _decide(evaluation, options, workdir / FOLDER)
    return True


def try_decisions(workdir: Path, options: DecideConfig, output: Path) -> None:
    """Make the decisions of an evaluated run into a folder elsewhere, and leave those of the run as they are.

    Raises:
      UserError: the folder is there, or as in `decide_run`.
    """
    if output.exists():
        raise UserError(f"--output is '{output}', which is there already; name a folder that is not")
    evaluation = read_evaluation(workdir / 'evaluation')
    check_can_decide(evaluation, options)
    _decide(evaluation, options, output)


def decide_seeds(
    workdir: Path, seeds: Sequence[int], options: DecideConfig, again: bool = True, is_asked: bool = True
) -> bool:
    """Make the decisions of each of several seeds into its folder, and their promises side by side into the WORKDIR's.

    Arguments and errors as in `decide_run`; every seed is looked at before anything is written.
    """
    folders = {seed: workdir / f'seed_{seed}' for seed in seeds}
    if is_asked:
        for folder in folders.values():
            check_can_decide(read_evaluation(folder / 'evaluation'), options)
    is_new = False
    for seed, folder in folders.items():
        say(f'seed {seed}:')
        is_new |= decide_run(folder, options, again, is_asked)
    found = read_seeds(workdir, seeds)
    if not found:
        return is_new
    # SciPy takes a moment to import.
    from failpred_jax.decide.over_seeds import notes_of_seeds, rows_of_seeds

    rows, notes = rows_of_seeds(found), notes_of_seeds(found)
    content, file = plain.to_json({'promises': rows, 'notes': notes}), workdir / FOLDER / SEEDS
    if not is_new and _content(file) == content:
        return False
    file.parent.mkdir(exist_ok=True)
    write_json(file, content)
    say('\n'.join([f'decisions of seeds {", ".join(str(one.seed) for one in found)}:', *_side_by_side(rows, notes)]))
    return True


def read_seeds(workdir: Path, seeds: Sequence[int]) -> tuple[SeedDecided, ...]:
    """Return what was decided with each seed of a WORKDIR, those without decisions left out."""
    found = ((seed, read_decisions(workdir / f'seed_{seed}' / FOLDER)) for seed in seeds)
    return tuple(SeedDecided(seed, decided) for seed, decided in found if decided is not None)


def made_with(folder: Path) -> tuple[str, DecideConfig] | None:
    """Return (digest of the policy, the options it was made with) of decisions; None without any that say so."""
    try:
        policy = read_json(folder / POLICY)
        return digest_of_policy(policy), plain.from_json(DecideConfig, policy['made_from']['options'])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, plain.WrongTypeError):
        return None


def _content(file: Path) -> Any:
    """Return what a JSON file holds; None for one that is missing or damaged."""
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None


def _side_by_side(rows: Sequence[dict[str, Any]], notes: Sequence[str]) -> list[str]:
    lines = []
    for row in rows:
        who = f'  seed {row["seed"]}, {row["name"]} by {row["score"]}'
        if row['accepted'] is None:
            lines.append(f'{who}: {row["reason"]}')
            continue
        where = 'everything' if row['threshold'] is None else f'over {row["threshold"]:.6g}'
        line = f'{who} {where}: limit {row["limit"]:.4g}, {row["accepted"]:.2%} of the calibration units'
        if row['test_value'] is not None:
            accepted = '' if row['test_accepted'] is None else f' ({row["test_accepted"]:.2%} accepted)'
            line += f'; test units{accepted}: {row["test_value"]:.4g}, {row["verdict"]}'
        lines.append(line + (f'; {row["reason"]}' if row['reason'] else ''))
    return [*lines, *(f'  note: {note}' for note in notes)]


def has_units(folder: Path, options: DecideConfig) -> bool:
    """Return whether an evaluation folder holds units to certify on."""
    return any(
        (folder / name).exists() for name in ('calibration.npz', 'validation.npz')[: 1 + options.reuse_validation]
    )


def check_can_decide(evaluation: Evaluation, options: DecideConfig) -> None:
    """Raise a UserError that says what decisions lack."""
    if problem := _problem(evaluation, options):
        raise UserError(problem)


def check_parts(parts: Parts, options: DecideConfig) -> None:
    """Raise a UserError for what the units of a file cannot have of these options, before anything is measured."""
    # What they need of SciPy takes a moment to import.
    from failpred_jax.decide.choices import check_named
    from failpred_jax.decide.thresholds import groups_of
    from failpred_jax.decide.units import of_predictions

    calibration = parts.cal or (parts.val if options.reuse_validation else None)
    certified = None if calibration is None else _unmeasured(calibration)
    if problem := _problem_of(certified, parts.task == 'segmentation', options):
        raise UserError(problem)
    check_named(options.score)
    for part in (calibration, parts.test) if options.by else ():
        if isinstance(part, Part) and (units := of_predictions(_unmeasured(part))) is not None:
            groups_of(units, options.by)


def _unmeasured(part: Part) -> Predictions:
    """Return the units of a part without the scores that are computed of them."""
    return Predictions(part.labels, np.asarray(part.inputs.logits), part.outcome(), part.confidences, part.about)


def _problem(evaluation: Evaluation, options: DecideConfig) -> str:
    """Return why no decisions can be made, or ''."""
    units = evaluation.calibration or (evaluation.validation if options.reuse_validation else None)
    return _problem_of(units, evaluation.run.is_segmentation, options)


def _problem_of(units: Predictions | None, is_segmentation: bool, options: DecideConfig) -> str:
    if units is None:
        return (
            'there are no calibration units, and a promise needs units that nothing else has read: keep some with '
            'config.data.calibration_fraction and train again, or add them to a file as cal_...; '
            '--config.decide.reuse_validation=True takes the validation units, and marks every guarantee as not valid'
        )
    if is_segmentation and units.about.group is None:
        return (
            'no promise can be made for these pixels: those of one image err together, and which image each is of was '
            'not kept; --mode=evaluate keeps it'
        )
    if units.correct.dtype != bool:
        return 'no promise can be made for grades: say from which grade on a prediction is right, --right_at=GRADE'
    if units.about.weight is not None and len(np.unique(units.about.weight)) > 1:
        return 'no promise can be made for weighted units: the exact tests count units; drop the weights'
    return ''


def _is_there(folder: Path, evaluation: Evaluation, options: DecideConfig) -> bool:
    try:
        # A policy from before there was monitoring has no reference.
        is_whole = (folder / REFERENCE).exists()
        return is_whole and read_json(folder / POLICY)['made_from'] == _made_from(evaluation, options)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _made_from(evaluation: Evaluation, options: DecideConfig) -> dict[str, Any]:
    """Return what decisions depend on, as JSON gives it back."""
    named = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(options).items()}
    return {'evaluation': evaluation.run.fingerprint, 'evaluated': evaluation.run.created, 'options': named}


def _decide(evaluation: Evaluation, options: DecideConfig, folder: Path) -> None:
    write_made(make(evaluation, options), folder)


def make(evaluation: Evaluation, options: DecideConfig) -> 'Made':
    """Return the decisions of an evaluation; nothing is written.

    Raises:
      UserError: what is asked for cannot be had.
    """
    check_can_decide(evaluation, options)
    # What it needs of SciPy takes a moment to import, which no other command should wait for.
    from failpred_jax.decide.deciding import Given, Made, make_decisions
    from failpred_jax.decide.units import of_predictions

    made = make_decisions(
        Given(
            calibration=of_predictions(evaluation.calibration),
            validation=of_predictions(evaluation.validation),
            test=of_predictions(evaluation.test),
            unit='unit' if evaluation.run.mode == 'score' else evaluation.run.unit,
            class_names=tuple(map(str, evaluation.run.dataset.class_names)),
            groups='image' if evaluation.run.is_segmentation else 'group',
        ),
        options,
    )
    policy = {**made.decided.policy, 'made_from': _made_from(evaluation, options)}
    return Made(dataclasses.replace(made.decided, policy=policy), made.rows)


def write_made(made: 'Made', folder: Path) -> None:
    """Write decisions into a folder, and say them; what it holds of another model or other options is moved aside."""
    decided, rows = made
    _keep_other(folder, decided)
    write_decisions(decided, rows, folder)
    say('\n'.join(summary(decided)))
    say(f'decisions: {folder}')


def _keep_other(folder: Path, decided: Decided) -> None:
    """Move what a folder holds aside if it belongs to another model, or was made with other options."""
    try:
        policy = read_json(folder / POLICY)
        there, options = str(policy['model']), policy['made_from']['options']
    except (OSError, ValueError, LookupError, TypeError):
        return
    if there == decided.model and options == decided.policy['made_from']['options']:
        return
    number, aside = 1, folder.with_name(f'{folder.name}-{there[:8]}')
    while aside.exists():
        number += 1
        aside = folder.with_name(f'{folder.name}-{there[:8]}-{number}')
    folder.rename(aside)
    whose = 'with other options' if there == decided.model else 'of another model'
    say(f'the earlier decisions, {whose}, are kept: {aside}')
    if there == decided.model and _accepts_some(policy) and not _accepts_some(decided.policy):
        say(
            f'WARNING: the policy in {folder} now accepts nothing, and the one before accepted some: whatever reads it '
            f'hands every {decided.unit} to a human. To have it back, remove {folder} and rename {aside} to it'
        )
    say('to try another promise and leave the policy in use as it is: --mode=decide --output=FOLDER')


def _accepts_some(policy: Mapping[str, Any]) -> bool:
    """Return whether a policy takes any unit at all."""
    return any(threshold != 'inf' for tier in policy['tiers'] for threshold in tier['thresholds'])


def summary(decided: Decided) -> list[str]:
    """Return what is said of decisions on the terminal."""
    # Thresholds per group are the policy's own only where there are no others.
    shown = decided.guarantees or decided.groups
    lines = [f'decisions by {decided.score} ({decided.chosen}), certified on {decided.calibration:,} {decided.unit}s:']
    for found in shown:
        if not found.is_certified:
            lines.append(f'  {found.name}: {found.reason}')
            continue
        where = f' over {found.threshold:.6g}' if np.isfinite(found.threshold) else ''
        if not where and found.kind in TIERED:
            where = ' everything'
        lines += _promised(found, where, decided.unit)
    if decided.sets is not None:
        lines += _promised(decided.sets.promise, f' ({decided.sets.method.upper()})', decided.unit)
        if decided.sets.law_says:
            lines.append(f'    {decided.sets.law_says}')
    return [*lines, *(f'  note: {note}' for note in decided.notes)]


def _promised(found: Guarantee, where: str, unit: str) -> list[str]:
    """Return the lines of a promise: what it is, what the test units say, and why it may not be valid."""
    seen, said = found.verdict, ''
    if seen is not None and seen.units:
        value = f'{seen.value:.4g}' if found.kind == 'cost' else f'{100 * seen.value:.3g} %'
        said = f'; the test {unit}s{f" of {seen.of}" if seen.of else ""}: {value}, {seen.word}'
    return [f'  {found.name}{where}: {found.statement}{said}', *([f'    {found.invalid}'] if found.invalid else [])]
