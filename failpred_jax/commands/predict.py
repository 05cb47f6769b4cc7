"""What a finished run says of new images."""

from pathlib import Path

from failpred_jax.commands.command import Command, Flag, Given
from failpred_jax.errors import UserError
from failpred_jax.registry import COMMANDS

INPUTS = Flag(
    'inputs', str, '', 'PATH', 'new images: a folder of pictures, a picture, a table of paths, .npy or .npz (images)'
)
OUTPUT = Flag(
    'output',
    str,
    '',
    'PATH',
    'the file (predict, combine) or folder (export, maps, decide) to write; it must not be there yet',
)
SCORES = Flag(
    'scores', str, '', 'NAMES', "confidences to compute, such as mcp,confidnet, or 'all' (default: baseline and heads)"
)


def _check(given: Given) -> None:
    flags = given.flags
    if not flags['workdir'] and not given.config_name:
        raise UserError('--mode=predict needs --workdir=DIR, the WORKDIR of a finished run')
    for flag, example in ((INPUTS, 'a folder of pictures'), (OUTPUT, 'such as predicted.csv, .parquet or .npz')):
        if not flags[flag.name]:
            raise UserError(f'--mode=predict needs --{flag.name}={flag.value}, {example}')


def _run(given: Given) -> None:
    from failpred_jax.predicting.run import predict_file

    flags = given.flags
    names = [name.strip() for name in flags['scores'].split(',')] if flags['scores'] else None
    predict_file(given.workdir, Path(flags['inputs']), Path(flags['output']), names)


COMMANDS.register('predict')(
    Command(
        'predict new images with a finished run, with confidences; needs no config and no data set',
        _run,
        (INPUTS, OUTPUT, SCORES),
        _check,
        needs_config=False,
        can_force=False,
    )
)
