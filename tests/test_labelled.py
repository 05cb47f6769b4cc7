"""--mode=label and --mode=slices on files: what is written, what is refused, and that nothing is written over."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from failpred_jax import doubted, main, scored_file, sliced
from failpred_jax.errors import UserError
from failpred_jax.files import read_npz
from failpred_jax.report import page
from failpred_jax.report.view import View
from failpred_jax.results import Evaluation, Measures, Predictions
from failpred_jax.results.beside import with_beside
from failpred_jax.results.description import RunDescription
from failpred_jax.results.failing import read_failing
from failpred_jax.results.labelled import read_labelled

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pool(tmp_path, monkeypatch, rng):
    """Return the true labels [300] of pool.npz in the current folder."""
    monkeypatch.chdir(tmp_path)
    labels = rng.integers(0, 3, 300)
    logits = (rng.normal(size=(300, 3)) + 3 * np.eye(3)[labels]).astype(np.float32)
    names, decision = np.array(['cat', 'dog', 'owl']), np.where(logits.max(axis=1) > 3, 'accept', 'human')
    ids = np.array([f'u{i}' for i in range(300)])
    np.savez('pool.npz', id=ids, logits=logits, class_names=names, decision=decision)
    return names[labels]


def run(capsys, *words):
    code = main.main(['failpred', '--mode=label', '--predictions=pool.npz', *words])
    out = capsys.readouterr()
    return code, out.out + out.err


def rows_of(file):
    with Path(file).open() as stream:
        return list(csv.DictReader(stream))


def write(file, rows, keys=None):
    with Path(file).open('w', newline='') as stream:
        writer = csv.DictWriter(stream, keys or list(rows[0]), extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)


def test_an_audit_goes_out_and_comes_back(pool, capsys):
    assert run(capsys, '--strategy=audit', '--budget=80')[0] == 0
    rows = rows_of('runs/pool/labelling/audit/to_label.csv')
    assert list(rows[0]) == ['id', 'row', 'prediction', 'confidence', 'probability', 'rank', 'reason', 'label']
    design = read_npz(Path('runs/pool/labelling/audit/design.npz'))
    np.testing.assert_allclose([float(r['probability']) for r in rows], design['inclusion'][design['row']])
    for row in rows:
        row['label'] = pool[int(row['row'])]
    write('back.csv', rows)
    code, out = run(capsys, '--audit=back.csv')
    assert code == 0 and 'error rate of accepted predictions' in out
    (found,) = rows_of('runs/pool/labelling/audit-returned/estimates.csv')[:1]
    wrong = design['predicted_name'] != pool
    assert float(found['low']) <= wrong.mean() <= float(found['high']) and found['labels'] == '80'
    # Numbers mean the same as names, whatever the order, and one label that came twice is one.
    by_number = [{**r, 'label': ['cat', 'dog', 'owl'].index(r['label'])} for r in rows[::-1]]
    write('numbers.csv', [*by_number, by_number[0]], ['id', 'label'])
    assert '1 label was returned twice' in run(capsys, '--audit=numbers.csv')[1]
    write('right.csv', [{'id': r['id'], 'correct': int(r['prediction'] == r['label'])} for r in rows])
    assert run(capsys, '--audit=right.csv')[0] == 0
    again = [rows_of(f'runs/pool/labelling/audit-returned{n}/estimates.csv') for n in ('', '-2', '-3')]
    assert again[0] == again[1] == again[2]
    # The order is random, so the first of them are a sample too; some in between are none.
    write('top.csv', [{**r, 'label': r['label'] if i < 30 else ''} for i, r in enumerate(rows)])
    code, out = run(capsys, '--audit=top.csv')
    assert code == 0 and 'the first 30 of 80 units are labeled' in out
    write('holes.csv', [{**r, 'label': r['label'] if i % 2 else ''} for i, r in enumerate(rows)])
    code, out = run(capsys, '--audit=holes.csv')
    assert code == 2 and '40 units have no label although later ones do' in out


def test_labels_that_do_not_belong_are_one_message_and_nothing_is_written(pool, capsys):
    assert 'holds no audit' in run(capsys, '--audit=pool.npz')[1]
    run(capsys, '--strategy=audit', '--budget=20')
    rows = [{**row, 'label': 'cat'} for row in rows_of('runs/pool/labelling/audit/to_label.csv')]
    # Drawn a second time, it is the same audit.
    run(capsys, '--strategy=audit', '--budget=20')
    outside = next(f'u{i}' for i in range(300) if f'u{i}' not in {row['id'] for row in rows})
    there = sorted(str(path) for path in Path('runs').rglob('*'))
    cases = {
        "holds no labels of an audit in 'runs/pool/labelling':\n  - 'audit-2': 1 of 1 label is of a unit that it did "
        "not draw, such as 'stranger'\n": [{'id': 'stranger', 'label': 'cat'}],
        "is not only of the audit 'audit-2' in 'runs/pool/labelling': 1 of 21 labels is of a unit that it did "
        f"not draw, such as '{outside}'; correct such rows": [*rows, {**rows[0], 'id': outside, 'row': outside[1:]}],
        "gives 1 unit two different labels: '": [*rows, {**rows[3], 'label': 'dog'}],
        "1 word that is no class, such as 'cow'; the classes are cat, dog, owl": [{**rows[0], 'label': 'cow'}],
        "such as 'CAT'; did you mean 'cat'?; the classes": [{**rows[0], 'label': 'CAT'}],
        'drawn from another pool': [{**row, 'probability': 0.5} for row in rows],
        'ids are not those of its row in the pool': [{**row, 'id': 'x' + row['id']} for row in rows],
        'holds no label: fill in': [{**row, 'label': ''} for row in rows],
        "must have a column 'label'": [{'id': 'u1', 'answer': 'cat'}],
    }
    for words, content in cases.items():
        write('back.csv', content)
        code, out = run(capsys, '--audit=back.csv')
        assert code == 2 and words in out, (words, out)
    assert there == sorted(str(path) for path in Path('runs').rglob('*'))


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ((), '--mode=label needs one of --strategy=NAME'),
        (('--strategy=margin',), '--strategy needs --budget=N'),
        (('--strategy=margin', '--budget=301'), 'the budget is 301, but the pool has 300 units'),
        (('--strategy=coreset', '--budget=3'), "'coreset' needs features"),
        (('--strategy=margin', '--issues'), 'there is --strategy and --issues'),
        (('--issues', '--train_origin=insample'), 'hide label errors'),
        (('--issues', '--train_origin=mine'), "--train_origin is 'mine'; it must be one of: crossfit, insample"),
        (('--strategy=margin', '--budget=3', '--inputs=x'), '--predictions and --inputs are both there'),
        (('--audit=x.csv', '--budget=3'), 'go with --strategy=NAME'),
        (('--strategy=margin', '--output=x.csv'), '--mode is label; results go to WORKDIR/labelling (--workdir=DIR)'),
        (('--mode=slices', '--slice_by=a'), '--mode is slices; --columns=NAMES names what to search'),
        (('--strategy=margin', '--budget=3', '--seed=-1'), '--seed is -1'),
        (('--strategy=audit', '--budget=3', '--policy=no.json'), 'cannot be read as a policy'),
    ],
)
def test_what_cannot_be_asked_for_is_said(pool, capsys, words, message):
    code, out = run(capsys, *words)
    assert code == 2 and message in out and not list(Path('.').glob('runs/*/labelling'))


def test_labels_in_a_pool_are_not_read_and_what_was_filled_in_is_kept(pool, capsys):
    assert run(capsys, '--strategy=margin', '--budget=5')[0] == 0
    file = Path('runs/pool/labelling/margin/to_label.csv')
    file.write_text('mine')
    code, out = run(capsys, '--strategy=margin', '--budget=5')
    assert code == 0 and 'towards what is hard' in out and file.read_text() == 'mine' and 'margin-2/to_label.csv' in out
    assert [row['probability'] for row in rows_of('runs/pool/labelling/margin-2/to_label.csv')] == [''] * 5
    assert [one.name for one in read_labelled(Path('runs/pool/labelling'))] == ['margin-2', 'margin']
    given = read_npz(Path('pool.npz'))
    np.savez('with.npz', **given, labels=np.full(300, np.nan))
    assert main.main(['failpred', '--mode=label', '--predictions=with.npz', '--strategy=margin', '--budget=5']) == 0
    assert "'labels' is not read" in capsys.readouterr().out
    assert rows_of('runs/with/labelling/margin/to_label.csv') == rows_of('runs/pool/labelling/margin-2/to_label.csv')


def test_issues_of_a_file_and_the_page(tmp_path, rng):
    labels = rng.integers(0, 3, 400)
    logits = (rng.normal(size=(400, 3)) + 4 * np.eye(3)[labels]).astype(np.float32)
    given = labels.copy()
    given[:10] = (given[:10] + 1) % 3
    file = tmp_path / 'p.npz'
    np.savez(file, labels=given, logits=logits, train_labels=labels, train_logits=10 * np.eye(3)[labels])
    doubted.issues_of_file(file, tmp_path / 'w')
    (found,) = read_labelled(tmp_path / 'w' / 'labelling')
    assert 'the train_... part was not looked at' in found.notes[0]
    assert {int(row['row']) for row in found.rows[:6]} <= set(range(10))
    with pytest.raises(UserError, match='all 400 predictions agree'):
        doubted.issues_of_file(file, tmp_path / 'w', 'crossfit')
    assert len(list((tmp_path / 'w' / 'labelling').iterdir())) == 1
    columns = {'site': np.where(np.arange(400) < 100, 'north', 'south')}
    correct = rng.random(400) < np.where(np.arange(400) < 100, 0.5, 0.95)
    np.savez(tmp_path / 's.npz', correct=correct, confidence_mine=rng.random(400), **columns)
    sliced.slices_of_file(tmp_path / 's.npz', tmp_path / 'w', sliced.Asked())
    (failing,) = read_failing(tmp_path / 'w' / 'slices')
    assert failing.confirmed[0].name == 'site = north' and len(failing.rows) == 10
    evaluation = Evaluation(
        Measures(), RunDescription(), Predictions(np.zeros(0, np.int32), np.zeros((0, 0), np.float32), correct)
    )
    sections = {one.name: one for one in page.make_sections(View(with_beside(evaluation, tmp_path / 'w')))}
    html = page.render(View(evaluation), [sections['labelling'], sections['failing']])
    assert 'labels are doubted by confident learning' in html and 'site = north' in html
    assert not {'labelling', 'failing'} & {one.name for one in page.make_sections(View(evaluation))}


@pytest.mark.parametrize('page_name', ['labelling.md', 'slices.md'])
def test_the_pages_run(page_name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Scoring the file as well is what --mode=score does.
    monkeypatch.setattr(scored_file, 'scored', lambda *given: None)
    text, name = (ROOT / 'docs' / page_name).read_text(), page_name.removesuffix('.md')
    known: dict = {}
    commands = re.findall(r'^python -m failpred_jax.main (--mode.*--predictions.*)$', text, re.MULTILINE)
    blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    order = {'labelling': 'pc c p c p c', 'slices': 'pc pc'}[name].replace(' ', '')
    for kind in order:
        if kind == 'p':
            exec(compile(blocks.pop(0), f'{name}.md', 'exec'), known)  # noqa: S102  (our own page)
        else:
            words = commands.pop(0).replace('[', '').replace(']', '').split()
            assert main.main(['failpred', *words]) == 0, capsys.readouterr().err
    assert not blocks and not commands
    out = capsys.readouterr().out
    if name == 'slices':
        assert 'site = north and age' in out and 'of low confidence: ' in out
        assert re.search(r'% of all units now \([0-9.]+% to [0-9.]+%; \d+ of \d+\), none before', out)
        (row, *_) = rows_of('runs/today/slices/grown/slices.csv')
        assert 'errors' not in row and float(row['share']) == int(row['of_this_kind']) / int(row['of_all'])
    else:
        assert 'error rate of all predictions' in out and 'test: ' in out and 'train: ' in out
