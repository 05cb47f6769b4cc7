"""Which WORKDIR a file of predictions gets: its own, whatever happened to it before, and never another file's."""

from pathlib import Path

import pytest

from failpred_jax import scored_file
from failpred_jax.errors import UserError
from failpred_jax.locking import LockedFolder


class Table:
    text = 'table'

    def __init__(self, path):
        self.evaluation, self.shifted = path.read_bytes(), None

    def __str__(self):
        return self.text


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Evaluate in no time: the evaluation of a file is its content."""
    monkeypatch.chdir(tmp_path)

    def write(results, text, folder):
        folder.mkdir(exist_ok=True)
        (folder / 'metrics.json').write_bytes(results)

    def build(results, folder):
        folder.mkdir(exist_ok=True)
        (folder / 'index.html').write_text('page')
        return folder / 'index.html'

    monkeypatch.setattr(scored_file, 'evaluate_file', lambda path, ignore_label, name: Table(path))
    monkeypatch.setattr(scored_file, 'write_evaluation', write)
    monkeypatch.setattr('failpred_jax.report.build', build)


def make(path, content=b'1'):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)
    return Path(path)


def results():
    return {str(p.parts[1]): p.read_bytes() for p in sorted(Path('runs').glob('*/evaluation/metrics.json'))}


def test_files_of_one_name_get_folders_of_their_own():
    for folder in 'abc':
        scored_file.score(make(f'{folder}/mine.npz', folder.encode()), None)
    scored_file.score(Path('b/mine.npz'), None)
    assert results() == {'mine': b'a', 'mine-2': b'b', 'mine-3': b'c'}


def test_the_files_of_our_own_runs_are_named_after_the_runs():
    for run in ('digits', 'mnist/seed_0', 'mnist/seed_1'):
        scored_file.score(make(f'runs_before/{run}/evaluation/predictions.npz', run.encode()), None)
    assert results() == {
        'digits-predictions': b'digits',
        'mnist-seed_0-predictions': b'mnist/seed_0',
        'mnist-seed_1-predictions': b'mnist/seed_1',
    }


def test_a_file_whose_content_changed_does_not_take_the_place_of_what_it_was():
    file = make('mine.npz', b'before')
    scored_file.score(file, Path('out'))
    make('mine.npz', b'after')
    with pytest.raises(UserError, match='the evaluation of another file, or of this one before its content changed'):
        scored_file.score(file, Path('out'))
    assert (Path('out') / 'evaluation' / 'metrics.json').read_bytes() == b'before'
    scored_file.score(file, Path('out'), force=True)
    assert (Path('out') / 'evaluation' / 'metrics.json').read_bytes() == b'after'
    (old,) = Path().glob('out.old-*')
    assert (old / 'evaluation' / 'metrics.json').read_bytes() == b'before'


@pytest.mark.parametrize('left', ['', 'evaluation', 'evaluation/.x.unfinished/predictions.npz', 'evaluation/table.md'])
@pytest.mark.parametrize('marked', [True, False])
def test_an_interrupted_scoring_goes_on(left, marked):
    file, folder = make('mine.npz'), Path('out')
    if marked:
        scored_file.score(file, folder)
        (folder / 'evaluation' / 'metrics.json').unlink()
    if left.endswith('evaluation'):
        (folder / left).mkdir(parents=True, exist_ok=True)
    elif left:
        make(folder / left)
    scored_file.score(file, folder)
    assert (folder / 'report' / 'index.html').exists()
    assert not list(folder.rglob('*.unfinished'))


def test_what_is_not_of_ours_is_refused_and_left_alone():
    make('out/thesis.tex', b'years of work')
    with pytest.raises(UserError, match=r'holds something else than an evaluation of predictions \(thesis.tex\)'):
        scored_file.score(make('mine.npz'), Path('out'))
    assert [p.name for p in Path('out').iterdir()] == ['thesis.tex']


def test_a_file_that_cannot_be_read_leaves_nothing(monkeypatch):
    def refuse(path, ignore_label, name):
        raise UserError('no')

    monkeypatch.setattr(scored_file, 'evaluate_file', refuse)
    for workdir in (None, Path('out')):
        with pytest.raises(UserError, match='no'):
            scored_file.score(make('mine.npz'), workdir)
    assert not Path('out').exists()
    assert not list(Path('runs').iterdir())


def test_two_at_once_do_not_share_a_folder():
    held = LockedFolder(Path('runs/mine'))
    with pytest.raises(UserError, match='another run is using the WORKDIR'):
        scored_file.score(make('mine.npz'), Path('runs/mine'))
    scored_file.score(Path('mine.npz'), None)
    held.close()
    assert list(results()) == ['mine-2']
