"""Another run of ours: its WORKDIR, whose baseline is taken, or the folder of one of its stages."""

from pathlib import Path

from failpred_jax.errors import UserError
from failpred_jax.files import read_json
from failpred_jax.registry import WEIGHTS
from failpred_jax.train.checkpoints import Damaged, read_weights
from failpred_jax.weights.format import Found, Source, Target, WeightsFormat, leaves_of


def _recognizes(source: Source, target: Target) -> bool:
    return source.is_folder


def _read(source: Source, target: Target) -> Found:
    """Return the classifier of the stage's best checkpoint."""
    folder = _stage_folder(Path(source.path))
    step = _record(folder / 'result.json')['best_step']
    try:
        params, batch_stats = read_weights(folder / 'checkpoints', step)
    except Damaged as error:
        raise UserError(f"config.baseline.init_from is '{source.path}', but {error}; restore it from a copy") from error
    found, shapes = Found(), target.shapes()
    leaves = leaves_of(params, batch_stats)
    for place in (place for place in {**shapes, **leaves} if place[0] in ('backbone', 'classifier')):
        name = '/'.join(place)
        if not target.wants(place):
            continue
        if place not in leaves:
            found.problems.append(f'missing: {name}')
        elif place not in shapes:
            found.problems.append(f'unexpected: {name}')
        elif leaves[place].shape != shapes[place]:
            found.problems.append(f'wrong shape: {name} is {leaves[place].shape}, needed is {shapes[place]}')
        else:
            found.leaves[place] = leaves[place]
    found.notes += [f'stage {folder.name}, step {step}', *_differences(folder.parent / 'config.json', target)]
    return found


def _stage_folder(path: Path) -> Path:
    """Return the folder of a finished stage that the user means."""
    if (path / 'checkpoints').is_dir():
        folder = path
    elif (path / 'baseline').is_dir():
        folder = path / 'baseline'
    else:
        seeds = sorted(p.name for p in path.glob('seed_*') if p.is_dir())
        ask = f'name one of its seeds: {", ".join(seeds)}' if seeds else 'give the WORKDIR of a run, or a stage in it'
        raise UserError(f"config.baseline.init_from is '{path}', a folder without a trained stage; {ask}")
    if not (folder / 'result.json').exists():
        raise UserError(f"config.baseline.init_from is '{path}', whose stage '{folder.name}' is not finished")
    return folder


def _record(file: Path) -> dict:
    try:
        return read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f'{file} cannot be read ({error}); restore it from a copy') from error


def _differences(file: Path, target: Target) -> list[str]:
    """Return a warning if that run prepared its images in another way, which its weights were trained for."""
    if not file.exists() or target.data is None:
        return []
    theirs = _record(file).get('data', {})
    ours = {key: list(getattr(target.data, key)) for key in ('mean', 'std')}
    changed = [key for key, value in ours.items() if key in theirs and list(theirs[key]) != value]
    return [
        f'warning: its images had another config.data.{key}: {theirs[key]} there, {ours[key]} now' for key in changed
    ]


WEIGHTS.register('run')(WeightsFormat('another run', _recognizes, _read))
