"""A finished run as one function in StableHLO."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.commands.predict import OUTPUT, SCORES
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

ONNX = Flag('onnx', bool, False, '', 'also write model.onnx, checked with onnxruntime (extra failpred_jax[onnx])')


def _check(given: Given) -> None:
    if not given.flags['workdir'] and not given.config_name:
        raise UserError('--mode=export needs --workdir=DIR, the WORKDIR of a finished run')
    if not given.flags['output']:
        raise UserError('--mode=export needs --output=DIR, a folder to make')


def _run(given: Given) -> None:
    from failpred_jax import compiler, processes
    from failpred_jax.exporting import export_run

    if processes.is_one_of_several():
        raise UserError('--mode=export is for one process; start it without a job')
    compiler.keep_compilations()
    flags = given.flags
    names = [name.strip() for name in flags['scores'].split(',')] if flags['scores'] else None
    export_run(given.workdir, Path(flags['output']), names, flags['onnx'])


COMMANDS.register('export')(
    Command(
        'write a finished run as StableHLO (and ONNX), to run without this package (docs/predicting.md)',
        _run,
        (OUTPUT, SCORES, ONNX),
        _check,
        needs_config=False,
        can_force=False,
    )
)
