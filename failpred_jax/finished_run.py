"""What a finished run leaves for new images: config, weights and fits, read from its WORKDIR and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failpred_jax import apply
from failpred_jax.config import Config, read_saved
from failpred_jax.decide.units import digest
from failpred_jax.errors import UserError
from failpred_jax.evaluate.collect import Weights
from failpred_jax.evaluate.fits import Fits, kept_fits
from failpred_jax.files import DAMAGE, read_json, read_npz
from failpred_jax.results import evaluating, read_fits
from failpred_jax.train.checkpoints import Damaged, read_weights, saved_digest
from failpred_jax.types import DatasetInfo


@dataclass(frozen=True)
class FinishedRun:
    """A run of one seed that was evaluated.

    Attributes:
      workdir: where it lives.
      config: the experiment.
      info: of its data set.
      weights: those that were evaluated.
      fits: what the evaluation fitted.
      policy: what its decisions/policy.json decides, or None without one.
      model: digest that the policy belongs to; '' without one.
      members: of the ensemble that its evaluation had, what `read_stage` reads each classifier from.
      no_ensemble: why there are none, or ''.
    """

    workdir: Path
    config: Config
    info: DatasetInfo
    weights: Weights
    fits: Fits
    policy: apply.Policy | None = None
    model: str = ''
    members: tuple[tuple[Path, Mapping[str, Any]], ...] = ()
    no_ensemble: str = ''


def read_run(workdir: Path) -> FinishedRun:
    """Return what new images need of a WORKDIR.

    Raises:
      UserError: there is no run of one seed, its evaluation kept no fits, or a file is damaged or was changed since.
    """
    file = workdir / 'config.json'
    if not file.exists():
        raise UserError(f"the WORKDIR '{workdir}' holds no run; name one that was trained and evaluated")
    try:
        there = read_json(file)
    except DAMAGE as error:
        raise UserError(f"'{file}' cannot be read ({error}); restore it from a copy") from error
    if isinstance(there, dict) and there.get('seeds'):
        folders = ', '.join(f'seed_{seed}' for seed in there['seeds'])
        raise UserError(
            f"the WORKDIR '{workdir}' holds a run of several seeds; name the folder of one: {folders} (its scores of "
            'the ensemble read the classifiers of all of them)'
        )
    config = read_saved(there)
    kept = read_fits(workdir / 'evaluation')
    facts = kept.meta['run']
    known = facts['info']
    info = DatasetInfo(
        known['name'], known['task'], tuple(known['image_shape']), tuple(known['class_names']), known['ignore_label']
    )
    variables = {name: read_stage(workdir / name, found) for name, found in facts['weights'].items()}
    classifier = variables.get('confidence', variables['baseline'])
    no_head = facts['no_head']
    weights = Weights(classifier, variables.get('finetune'), not no_head, no_head)
    policy, model = _read_policy(workdir)
    members, no_ensemble = _find_members(workdir, config.seed, facts.get('members', []))
    return FinishedRun(workdir, config, info, weights, kept_fits(kept), policy, model, members, no_ensemble)


def _find_members(
    workdir: Path, seed: int, named: Sequence[Mapping[str, Any]]
) -> tuple[tuple[tuple[Path, Mapping[str, Any]], ...], str]:
    """Return where the classifiers of the ensemble are, or why they are not."""
    if not named:
        return (), 'it needs the classifiers of several seeds, and this run was evaluated alone (config.seeds)'
    found = []
    for member in named:
        folder = workdir if member['seed'] == seed else workdir.absolute().parent / f'seed_{member["seed"]}'
        checkpoints = folder / 'baseline' / 'checkpoints'
        if not checkpoints.exists():
            return (), f"it needs the classifier of seed {member['seed']}, and there is no '{checkpoints}'"
        if saved_digest(checkpoints, int(member['step'])) != member['digest']:
            return (), (
                f"it needs the classifier of seed {member['seed']}, and the one in '{folder}' is not that of the "
                'evaluation; --mode=evaluate of all seeds measures it again'
            )
        found.append((folder / 'baseline', member))
    return tuple(found), ''


def _read_policy(workdir: Path) -> tuple[apply.Policy | None, str]:
    """Return the policy of a run and the digest of its model, from what the model says of the calibration units."""
    file, evaluation = workdir / 'decisions' / 'policy.json', workdir / 'evaluation'
    if not file.exists():
        return None, ''
    try:
        score = apply.read_policy(file).score
        # With config.decide.reuse_validation it may have been made on those.
        name = next(n for n in ('calibration.npz', 'validation.npz') if (evaluation / n).exists())
        arrays = read_npz(evaluation / name)
        model = digest(arrays['logits'], arrays[f'confidence_{score}'])
        return apply.read_policy(file, model), model
    except apply.PolicyError as error:
        raise UserError(f'{error}; or move {file.parent} away to go without decisions') from error
    except (*DAMAGE, StopIteration) as error:
        raise UserError(
            f"the calibration units behind '{file}' cannot be read ({type(error).__name__}: {error}); make both "
            f'again with {evaluating(workdir)}, and then --mode=decide --workdir={workdir}'
        ) from error


def read_stage(folder: Path, found: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return (params, batch_stats) of the checkpoint of a stage that was evaluated."""
    step, checkpoints = int(found['step']), folder / 'checkpoints'
    if found['digest'] and saved_digest(checkpoints, step) not in ('', found['digest']):
        raise UserError(
            f"the checkpoint {step} of '{folder}' is not the one that was evaluated; measure it with "
            f'{evaluating(folder.parent)}'
        )
    try:
        params, batch_stats = read_weights(checkpoints, step)
    except Damaged as error:
        raise UserError(f'{error}; restore it from a copy') from error
    return {name: params.get(name, {}) for name in {*params, 'backbone', 'classifier', 'head'}}, batch_stats
