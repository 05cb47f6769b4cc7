"""Train a classifier or segmenter, learn when it is wrong, and compare every confidence score on it.

  python -m failpred_jax.main --config=FILE [--workdir=DIR] [--mode=MODE] [--force] [--config.any.key=value]
  python -m failpred_jax.main --mode=score --predictions=FILE [--workdir=DIR]

  --config=FILE    the experiment, such as configs/digits.py; any key of it can be set on the command line, as in
                   --config.baseline.epochs=20 or --config.evaluate.scores=mcp,confidnet
  --workdir=DIR    where the run lives (default: runs/NAME for NAME.py); the same folder resumes the run
  --mode=MODE      run       train all stages, evaluate, report (default); what is done is not done again
                   train     train all stages
                   evaluate  measure a trained run on its test split
                   report    build the report of an evaluated run again
                   import_torch  turn a checkpoint of the paper's own code into finished stages of this run
                   score     evaluate a file of anybody's predictions and build its report; needs no config
  --stage=STAGE    evaluate: use this stage's weights and those before it (baseline, confidence, finetune)
  --step=STEP      evaluate: use the checkpoint of this step instead of that stage's best (needs --stage)
  --torch_checkpoint=FILE
                   import_torch: the file (needs the extra failpred_jax[torch])
  --predictions=FILE
                   score: an .npz or .csv with labels, logits or probs, and more (docs/predictions.md)
  --force          move what WORKDIR holds aside and start afresh; nothing is deleted

Several hosts (docs/scaling.md): the same command on each, as launch/ has it. SLURM, Cloud TPU and the JAX_* variables
of launch/k8s_jobset.yaml are understood; elsewhere, each process is told where it stands:
  --coordinator_address=HOST:PORT  where process 0 listens
  --num_processes=N --process_id=K   how many there are, and which one this is, from 0
  --wait_seconds=N                 how long to wait for the others (default 300)

Exit codes: 0 done, 2 something given is wrong (one message says what), 75 stopped by SIGTERM or SIGINT with
everything saved: the same command goes on, as it does after any other end (1: an error of ours, or another process of
the job was lost).
"""

import errno
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from failpred_jax.config import overrides
from failpred_jax.errors import UserError, nearest
from failpred_jax.stopping import EXIT_STOPPED, Stopped

EXIT_OUR_ERROR = 1
EXIT_USER_ERROR = 2
EXIT_KILLED = 130  # what a shell reports for SIGINT
# A disk that is full, read-only, forbidden or failing, and a file where a folder must be (or the other way round), are
# for the user to mend; any other OSError is for us.
DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ESTALE,
)  # fmt: skip
MODES = ('run', 'train', 'evaluate', 'report', 'score', 'import_torch')

_CONFIG = config_flags.DEFINE_config_file('config', None, 'File of the experiment.')
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run; runs/<config name> by default.')
_MODE = flags.DEFINE_string('mode', 'run', ', '.join(MODES))
_STAGE = flags.DEFINE_string('stage', '', 'Stage whose weights are evaluated.')
_STEP = flags.DEFINE_integer('step', None, 'Checkpoint that is evaluated.')
_PREDICTIONS = flags.DEFINE_string('predictions', '', 'File of predictions to score.')
_TORCH = flags.DEFINE_string('torch_checkpoint', '', 'Checkpoint of the reference to import.')
_FORCE = flags.DEFINE_bool('force', False, 'Move what the WORKDIR holds aside.')
_COORDINATOR = flags.DEFINE_string('coordinator_address', '', 'HOST:PORT of process 0, for several processes.')
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'Processes of the job.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0.')
_WAIT = flags.DEFINE_float('wait_seconds', 300.0, 'How long to wait for the other processes.')
OURS = (
    'config', 'workdir', 'mode', 'stage', 'step', 'predictions', 'torch_checkpoint', 'force', 'coordinator_address',
    'num_processes', 'process_id', 'wait_seconds', 'help',
)  # fmt: skip


def _parse(argv: Sequence[str]) -> None:
    """Parse the flags, turning every way that absl and ml_collections fail into a UserError."""
    # Checked first: ml_collections puts a missing file off until the config is first used.
    path = _config_path(argv)
    if path and not Path(path).is_file():
        raise UserError(_missing_file(Path(path)))
    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        if error.flagname.split('.')[0] == 'config':
            raise UserError(f'--{error.flagname} is set, but --config=FILE is missing; name the experiment') from error
        raise UserError(
            f"unknown flag '--{error.flagname}'{nearest(error.flagname, OURS)} (flags: --{', --'.join(OURS)})"
        ) from error
    except flags.Error as error:
        raise UserError(str(error)) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(overrides.override_problem(argv, error, path)) from error
    except Exception as error:  # whatever a user's own config file raises as it is read
        raise UserError(overrides.config_file_problem(error, path)) from error
    if _CONFIG.value is not None:
        overrides.check_used(_CONFIG.value, argv)
    if len(rest) > 1:
        raise UserError(f"unexpected argument '{rest[1]}'; options are written --name=value (see --help)")


def _config_path(argv: Sequence[str]) -> str:
    """Return the path that --config names, without the `:argument` that a config file may take; '' for none."""
    for i, word in enumerate(argv):
        if word.startswith('--config='):
            return word.removeprefix('--config=').split(':')[0]
        if word == '--config' and i + 1 < len(argv):
            return argv[i + 1].split(':')[0]
    return ''


def _missing_file(path: Path) -> str:
    there = sorted(p.name for p in path.parent.glob('*.py')) if path.parent.is_dir() else []
    if not there:
        return f"there is no config file '{path}', and its folder '{path.parent}' has no config files at all"
    return f"there is no config file '{path}'{nearest(path.name, there)} (in {path.parent}: {', '.join(there)})"


def _check_flags() -> None:
    """Raise a UserError for flags that are not allowed, or not together."""
    mode = _MODE.value
    if mode not in MODES:
        raise UserError(f"--mode is '{mode}'{nearest(mode, MODES)} (allowed: {', '.join(MODES)})")
    if _WAIT.value <= 0:
        raise UserError(f'--wait_seconds is {_WAIT.value:g}; it must be greater than 0')
    if mode == 'score':
        if not _PREDICTIONS.value:
            raise UserError('--mode=score needs --predictions=FILE, an .npz or .csv of predictions')
        return
    if _PREDICTIONS.value:
        raise UserError(f'--predictions is for --mode=score, but --mode is {mode}')
    if _CONFIG.value is None:
        raise UserError('--config=FILE is missing; name the experiment, such as --config=configs/digits.py')
    if _STEP.value is not None and not _STAGE.value:
        raise UserError('--step is set without --stage; say which stage it is a step of')
    if (_STAGE.value or _STEP.value is not None) and mode != 'evaluate':
        raise UserError(f'--stage and --step choose weights for --mode=evaluate, but --mode is {mode}')
    if bool(_TORCH.value) != (mode == 'import_torch'):
        raise UserError(
            f'--torch_checkpoint=FILE and --mode=import_torch go together, but --mode is {mode} and the file is '
            f"'{_TORCH.value}'"
        )
    if _FORCE.value and mode in ('evaluate', 'report'):
        raise UserError(f'--force starts a run afresh, but --mode={mode} works on a finished one; leave it out')


def _execute() -> None:
    _check_flags()
    # jax and all rooms load from here on, so that --help and a misspelled flag answer at once.
    from failpred_jax import processes

    processes.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value, _WAIT.value)
    from failpred_jax import run

    if _MODE.value == 'score':
        path = Path(_PREDICTIONS.value)
        run.score(path, Path(_WORKDIR.value or Path('runs') / path.stem))
        return
    name = Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
    run.execute(
        _CONFIG.value,
        workdir=Path(_WORKDIR.value or Path('runs') / name),
        mode=_MODE.value,
        force=_FORCE.value,
        stage=_STAGE.value or None,
        step=_STEP.value,
        torch_checkpoint=_TORCH.value,
    )


def _say(kind: str, text: object) -> None:
    """Print a message for people, with the process that it is from, in a job of several."""
    processes = sys.modules.get('failpred_jax.processes')
    name = processes.process_name() if processes else ''
    print(f'{kind}: {name}{": " if name else ""}{text}', file=sys.stderr, flush=True)


def _leave(code: int, is_agreed: bool) -> int:
    """Return `code` once this process has left its job of several, if it is in one."""
    processes = sys.modules.get('failpred_jax.processes')
    if processes:
        processes.leave(code, is_agreed)
    return code


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    if any(word in ('--help', '-h', '-help', '--helpfull') for word in argv[1:]):
        print(__doc__)
        return 0
    try:
        _parse(argv)
        _execute()
    except UserError as error:
        _say('error', error)
        return _leave(EXIT_USER_ERROR, is_agreed=False)
    except Stopped as error:
        _say('stopped', error)
        return _leave(EXIT_STOPPED, is_agreed=False)
    except KeyboardInterrupt:
        _say('stopped at once', 'the same command goes on from the last checkpoint')
        return _leave(EXIT_KILLED, is_agreed=False)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            _end_of_one_of_several()
            raise
        where = f" '{error.filename}'" if error.filename else ''
        _say('error', f'cannot write{where}: {error.strerror}; mend that; what was saved before stays as it is')
        return _leave(EXIT_USER_ERROR, is_agreed=False)
    except Exception:
        _end_of_one_of_several()
        raise
    return _leave(0, is_agreed=True)


def _end_of_one_of_several() -> None:
    """In a job of several processes, say what is being raised and end, or the others would wait; else do nothing."""
    processes = sys.modules.get('failpred_jax.processes')
    if processes and processes.is_one_of_several():
        traceback.print_exc()
        _say(
            'error',
            'this process cannot go on, and the job ends with it. If the lines above tell of a lost connection, '
            'another process was lost first: see what it says. The same command goes on from the last checkpoint',
        )
        processes.leave_at_once(EXIT_OUR_ERROR)


if __name__ == '__main__':
    sys.exit(main(sys.argv))
