"""What a look at the data says of a run is what the run says."""

import pytest
from e2e.command import TINY, run_here, run_well_here

SMALL = [word for word in TINY if not word.startswith('--config.model.mlp')]


@pytest.mark.parametrize(
    'words',
    [
        ['--config.model.name=segnet'],
        ['--config.data.source=digits', '--config.model.name=vgg16'],
        ['--config.evaluate.shifts=blur,glyph_digits', '--config.data.exclude_classes=3'],
        ['--config.evaluate.shifts=blur,arrays:none.npz'],
        ['--config.data.mean=(0.5,0.5,0.5)', '--config.data.std=(0.2,0.2,0.2)'],
        ['--config.data.std=(0.2,0.2)'],
        ['--config.data.augment.crop_padding=9'],
        ['--config.baseline.init_from=none.npz'],
        ['--config.evaluate.scores=mcp,ensemble'],
        ['--config.finetune.epochs=0'],
    ],
)
def test_what_would_stop_a_run_is_told_by_check(tmp_path, words):
    told = run_well_here('--mode=check', *SMALL, *words, f'--workdir={tmp_path / "looked"}')
    code, _, error = run_here(*SMALL, *words, f'--workdir={tmp_path / "run"}')
    assert code == 2
    (reason,) = (line for line in told.splitlines() if line.startswith('- a run would stop with: '))
    assert reason.removeprefix('- a run would stop with: ') in error
    assert reason in (tmp_path / 'looked' / 'check' / 'check.md').read_text()


def test_check_says_nothing_of_a_run_that_can_start(tmp_path):
    assert 'would stop' not in run_well_here('--mode=check', *TINY, f'--workdir={tmp_path}')


@pytest.mark.parametrize('missing', ['arrays:none.npz', 'folder:none'])
def test_a_shifted_set_that_is_not_there_is_told_before_the_data_are_read(finished, missing):
    before = sorted(finished[0].rglob('*'))
    code, out, error = run_here(*TINY, f'--workdir={finished[0]}', f'--config.evaluate.shifts=blur:1,{missing}')
    assert code == 2 and missing in error and 'there is no' in error
    assert 'examples' not in out and '|' not in out
    assert sorted(finished[0].rglob('*')) == before
