"""Every wrong input of docs/errors.md: exit code 2, one message with the words of that page, the WORKDIR as it was.

The program runs in this process, which is quick; tests/e2e/test_errors.py starts it as a user does.
"""

import contextlib
import fcntl
import gzip
import re
import shutil
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from data.records_on_disk import write_records
from e2e.command import ROOT, TINY, run_here
from e2e.streams import STREAMS
from e2e.wrong_input import (
    ARRAYS,
    DECISIONS,
    DIGITS,
    PICTURES,
    SCORE,
    SHIFTS,
    TRAIN_FILE,
    archive,
    config_file,
    file,
    flags,
    images,
    predictions,
    records,
    rewrite,
    shift_file,
    shifts,
    stream,
    table,
)  # fmt: skip
from PIL import ImageFont

from failpred_jax.shift.sources import glyphs

# When a read fails, tensorstore's other reads call back into an event loop that orbax has closed.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
PAGE = ROOT / 'docs' / 'errors.md'
# What the page says of each input: name -> words that the message must hold.
TOLD = {
    name: re.findall(r'`([^`]+)`', words)
    for name, words in re.findall(r'^\| ([^|`]+) \| (`.*`) \|$', PAGE.read_text(), re.MULTILINE)
}


def copy(change, *words):
    """Return a maker of a copy of a finished run with this change, a function of its folder."""

    def make(tmp, finished):
        shutil.copytree(finished, tmp / 'run')
        change(tmp / 'run')
        return (*TINY, *words)

    return make


def truncate(folder):
    """Return a change that cuts every file of the arrays of every checkpoint in a folder short.

    All of them, since orbax leaves some behind that nobody reads.
    """

    def change(run):
        for checkpoint in (run / folder).glob('0*'):
            for victim in (checkpoint / 'state').rglob('*'):
                if victim.is_file():
                    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])

    return change


def unfinished(change):
    """Return a change that also takes the mark of being finished away from the last stage."""

    def both(run):
        change(run)
        (run / 'finetune' / 'result.json').unlink()

    return both


def write(name, content=b'{"half": '):
    return lambda run: (run / name).write_bytes(content)


def stage_is_a_file(run):
    shutil.rmtree(run / 'baseline')
    (run / 'baseline').write_text('not a folder')


def nothing(run):
    pass


NAN = np.zeros((8, 3))
NAN[2, 1] = np.nan
OBJECTS = np.array([{}] * 8, dtype=object)
TABLE = b'labels,logits_0,logits_1,logits_2\n'
BROKEN = b'def get_config():\n    return 1 / 0\n'
CASES = {
    'no config': flags(),
    'a key without a config': flags('--config.seed=1'),
    'a config file that is not there': flags('--config=configs/digit.py'),
    'a folder without config files': flags('--config={tmp}/mine.py'),
    'a config file that fails': file('broken.py', BROKEN, '--config={tmp}/broken.py'),
    'a wrong value in a config file': config_file("config.data.mean = 'grey'"),
    'an unknown key in a config file': config_file('config.baseline.epoch = 3'),
    'a recipe of a config without recipes': flags(DIGITS + ':fast'),
    'a config file without its function': file('empty.py', b'', '--config={tmp}/empty.py'),
    'a config file that returns something else': file(
        'list.py', b'def get_config():\n    return [1]\n', '--config={tmp}/list.py'
    ),
    'an unknown key': flags(DIGITS, '--config.data.tfds.nmae=x'),
    'a path for a source that has none': flags(DIGITS, '--config.data.path=x'),
    'an option of a model that is not used': flags(
        DIGITS, '--config.model.name=vgg16', '--config.model.mlp.hidden_units=5'
    ),
    'a key below a value': flags(DIGITS, '--config.seed.x=1'),
    'a value of the wrong type': flags(DIGITS, '--config.baseline.epochs=many'),
    'a range of seeds': flags(DIGITS, '--config.seeds=0-2'),
    'a decimal comma': flags(DIGITS, '--config.baseline.learning_rate=0,05'),
    'a truth that is none': flags(DIGITS, '--config.data.augment.flip=yes'),
    'a section for a value': flags(DIGITS, '--config.data=5'),
    'a flag of the wrong type': flags(DIGITS, '--wait_seconds=0,5'),
    'a flag that is no truth': flags(DIGITS, '--force=yes'),
    'the home of nobody': flags(DIGITS, '--workdir=~nobody.at.all/run'),
    'an unknown mode': flags(DIGITS, '--mode=trian'),
    'an unknown flag': flags(DIGITS, '--wrkdir=x'),
    'a stray word': flags(DIGITS, 'evaluate'),
    'a step without a stage': flags(DIGITS, '--mode=evaluate', '--step=3'),
    'a stage while training': flags(DIGITS, '--stage=baseline'),
    'force while evaluating': flags(DIGITS, '--mode=evaluate', '--force'),
    'nothing to import': flags(DIGITS, '--mode=import_torch'),
    'a checkpoint for another mode': flags(DIGITS, '--torch_checkpoint=x.ckpt'),
    'no predictions to score': flags(SCORE),
    'predictions for another mode': flags(DIGITS, '--predictions=x.npz'),
    'half a job': flags(DIGITS, '--num_processes=2'),
    'a process out of range': flags(DIGITS, '--coordinator_address=node0:1', '--num_processes=2', '--process_id=2'),
    'an address without a port': flags(DIGITS, '--coordinator_address=node0', '--num_processes=2', '--process_id=0'),
    'a wait of nothing': flags(DIGITS, '--wait_seconds=0'),
    'two values that are not allowed': flags(
        DIGITS, '--config.baseline.learning_rate=-1', '--config.baseline.optimizer=sdg'
    ),
    'an unknown source': flags(DIGITS, '--config.data.source=digit'),
    'an unknown model': flags(DIGITS, '--config.model.name=mpl'),
    'an unknown score': flags(DIGITS, '--config.evaluate.scores=mcp,confidnt'),
    'an unknown loss': flags(DIGITS, '--config.confidence.loss=tpc_mse'),
    'a number beyond all bounds': flags(DIGITS, '--config.baseline.epochs=9223372036854775807'),
    'a width beyond all bounds': flags(DIGITS, '--config.model.mlp.hidden_units=99999999'),
    'an option that the loss does not use': flags(
        DIGITS, '--config.confidence.loss=focal', '--config.confidence.error_weight=2.'
    ),
    'a negative seed': flags(DIGITS, '--config.seed=-1'),
    'a seed twice': flags(DIGITS, '--config.seeds=1,1'),
    'several seeds and one stage': flags(DIGITS, '--config.seeds=1,2', '--mode=import_torch', '--torch_checkpoint=x'),
    'a schedule without its epochs': flags(DIGITS, '--config.baseline.schedule=multi_step'),
    'epochs that fall': flags(DIGITS, '--config.baseline.milestones=9,3'),
    'a classifier that is not trained': flags(DIGITS, '--config.baseline.epochs=0'),
    'fine-tuning of nothing': flags(DIGITS, '--config.confidence.epochs=0'),
    'three sides of an image': flags(DIGITS, '--config.data.image_size=8,8,8'),
    'means and deviations that do not match': flags(
        DIGITS, '--config.data.mean=(1.,2.)', '--config.data.std=(1.,1.,1.)'
    ),
    'tfds without a name': flags(DIGITS, '--config.data.source=tfds', '--config.data.tfds.name='),
    'arrays without a path': flags(*ARRAYS),
    'a batch that cannot be dealt out': flags(DIGITS, '--config.baseline.batch_size=30'),
    'a reference that is not measured': flags(
        DIGITS, '--config.evaluate.scores=mcp', '--config.evaluate.reference_score=margin'
    ),
    'a shift that is not known': shifts('bluur'),
    'a severity beyond the strongest': shifts('blur:6'),
    'fewer than no images of a shift': flags(DIGITS, '--config.evaluate.shift_images=-1'),
    'weights that are not there': flags(DIGITS, '--config.baseline.init_from=vgg16.pth'),
    'an unknown tfds data set': flags('--config=configs/mnist.py', '--config.data.tfds.name=mnits'),
    'more training examples than there are': flags(DIGITS, '--config.data.num_train=5000'),
    'a mean a channel too many': flags(DIGITS, '--config.data.mean=(0.1,0.2,0.3)'),
    'images too small for the model': flags(DIGITS, '--config.model.name=vgg16'),
    'a segmenter for whole images': flags(DIGITS, '--config.model.name=segnet'),
    'arrays that are not there': flags(*ARRAYS, '--config.data.arrays.path=none.npz'),
    'arrays that are no archive': file(
        'data.npz', b'PK\x03\x04 no', *ARRAYS, '--config.data.arrays.path={tmp}/data.npz'
    ),
    'arrays of Python objects': images(labels_train=np.array([{}] * 40, dtype=object)),
    'arrays without labels': images(labels_train=None),
    'an array of another name': images(images_tset=np.zeros(3)),
    'images of floats': images(images_train=np.zeros((40, 6, 6))),
    'labels out of range': images(labels_train=np.full(40, -1)),
    'a part that comes out empty': lambda tmp, finished: (
        *images()(tmp, finished), '--config.data.validation_fraction=0.001',
    ),
    'a record that is not what was written': records(rewrite(TRAIN_FILE, lambda d: d[:60] + b'!' + d[61:])),
    'a record without content': records(
        lambda folder: write_records(folder / 'tiny-test.tfrecord-00000-of-00001', [b''] * 8)
    ),
    'a file of records that is cut off': records(rewrite(TRAIN_FILE, lambda d: d[:-50])),
    'a file of records that is empty': records(rewrite(TRAIN_FILE, lambda d: b'')),
    'a file of records that is compressed': records(rewrite(TRAIN_FILE, gzip.compress)),
    'a file of records that is missing': records(lambda folder: (folder / TRAIN_FILE).unlink()),
    'more records than the set says': records(
        rewrite('dataset_info.json', lambda d: d.replace(b'["10", "10"]', b'["10", "9"]'))
    ),
    'a set of tfds whose description is damaged': records(rewrite('dataset_info.json', lambda d: d[:-9])),
    'a set of tfds without its features': records(lambda folder: (folder / 'features.json').unlink()),
    'a shift from a folder that is not there': shifts('folder:none'),
    'a shift from a folder without pictures': file('empty/notes.txt', b'x', DIGITS, SHIFTS + 'folder:{tmp}/empty'),
    'a shift from a file that is not there': shifts('arrays:none.npz'),
    'a shift of images of two channels': shift_file(images=np.zeros((4, 8, 8, 2), np.uint8)),
    'a shift of labels beyond the classes': shift_file(labels=np.array([0, 1, 2, 12])),
    'a shift from an unknown tfds data set': shifts('tfds:mnits'),
    'printed letters with a name': shifts('glyphs:x'),
    'printed digits for other classes': shifts('glyph_digits', "--config.data.exclude_classes=('3',)"),
    'printed letters without typefaces': shifts('glyphs'),
    'a class to leave out that is not there': flags(DIGITS, "--config.data.exclude_classes=('ten',)"),
    'a class to leave out that is nearly there': flags(DIGITS, '--config.data.exclude_classes=33'),
    'a class to leave out twice': flags(DIGITS, "--config.data.exclude_classes=('3','3')"),
    'all classes but one to leave out': flags(
        DIGITS, f"--config.data.exclude_classes={tuple('012345678')}".replace(' ', '')
    ),
    **PICTURES,
    'predictions that are not there': flags(SCORE, '--predictions=none.npz'),
    'predictions of another kind': file('p.txt', b'x', SCORE, '--predictions={tmp}/p.txt'),
    'predictions that are no archive': file('p.npz', b'PK\x03\x04 no', SCORE, '--predictions={tmp}/p.npz'),
    'predictions of Python objects': predictions(labels=OBJECTS),
    'predictions without logits': predictions(logits=None),
    'logits and probabilities of other predictions': predictions(probs=np.tile([0.25, 0.25, 0.5], (8, 1))),
    'predictions that do not match': predictions(logits=np.zeros((7, 3))),
    'logits that are not finite': predictions(logits=NAN),
    'labels beyond the classes': predictions(labels=np.array([0, 1, 2, 7, 0, 1, 2, 0])),
    'percentages as logits': predictions(logits=np.tile([70, 20, 10], (8, 1))),
    'probabilities that do not sum to 1': predictions(logits=None, probs=np.full((8, 3), 0.4)),
    'a few rows that are no probabilities': table('labels,probs_0,probs_1\n0,0.7,0.3\n0,1,0.3\n1,0.5,0.5\n'),
    'a table with a short line': file('p.csv', TABLE + b'0,1.0\n', SCORE, '--predictions={tmp}/p.csv'),
    'a table that ends within a row': table('labels,logits_0,logits_1,logits_2\n0,1,2,3\n0,1.0'),
    'a table with a word in it': file('p.csv', TABLE + b'0,1,2,high\n', SCORE, '--predictions={tmp}/p.csv'),
    'a confidence that is no number': table('Label,Prediction,Confidence\n1,1,0.5\n1,0,12%\n'),
    'a row without a label': table('label,prediction,confidence\n1,1,0.5\n,0,0.1\n'),
    'a few labels in other words': table('label,probs_0,probs_1\n0,0.7,0.3\n??,1,0\n1,0.5,0.5\n'),
    'a row without a prediction': table('label,prediction,confidence\n1,1,0.5\n1,,0.1\n'),
    'a row without a confidence': table('label,prediction,confidence\n1,1,0.5\n1,0,\n'),
    'a row without a group': table('correct,confidence,group\n1,0.5,a\n0,0.1,\n'),
    'a row that nobody judged': table('correct,confidence\n1,0.5\n,0.1\n'),
    'a correctness in other words': table('correct,confidence\nja,0.5\nnein,0.1\n'),
    'ids that decimals do not tell apart': predictions(id=np.full(8, 1e20)),
    'a row of no part': table('part,correct,confidence\ntest,1,0.5\n,0,0.1\n'),
    'a part that may be any': table('part,correct,confidence\ntest,1,0.5\nholdout,0,0.1\n'),
    'a table without rows to evaluate': table('part,correct,confidence\nval,1,0.5\nval,0,0.1\ncal,1,1\n'),
    'names of other tools': table('y,prob_0,prob_1\n1,0.5,0.5\n'),
    'a score without a name': table('correct,confidence_\n1,0.5\n'),
    'one column that names its class': table('labels,probs_yes\nyes,0.5\nno,0.5\n'),
    'labels that the columns do not name': table('labels,probs_1,probs_2\n0,0.5,0.5\n1,0.5,0.5\n'),
    'classes of one number and labels in numbers': table('labels,probs_1,probs_01\n1,0.5,0.5\n'),
    'logits of dropout passes as probabilities': predictions(mc_probs=np.full((8, 2, 3), -1.0)),
    'an archive of two tables': archive('p.zip', 'a.csv', 'b.csv'),
    'a workbook': archive('p.xlsx', '[Content_Types].xml', 'xl/workbook.xml'),
    'arrays that were compressed again': file(
        'p.npz.gz', gzip.compress(b'PK\0\0'), SCORE, '--predictions={tmp}/p.npz.gz'
    ),
    'predictions into the WORKDIR of a run': lambda tmp, finished: (
        *predictions()(tmp, finished), *copy(nothing)(tmp, finished)[:0],
    ),
    'an evaluation of nothing': flags(DIGITS, '--mode=evaluate'),
    'a report of nothing': flags(DIGITS, '--mode=report'),
    'a report before an evaluation': copy(lambda run: shutil.rmtree(run / 'evaluation'), '--mode=report'),
    'a folder of something else': file('run/thesis.tex', b'years of work', DIGITS),
    'a WORKDIR below a file': file('file', b'not a folder', DIGITS, '--workdir={tmp}/file/run'),
    'a WORKDIR that another run uses': copy(nothing),
    'a WORKDIR of another config': copy(nothing, '--config.baseline.learning_rate=0.5'),
    "a file where a stage's folder must be": copy(stage_is_a_file),
    'an unknown stage': copy(nothing, '--mode=evaluate', '--stage=finetun'),
    'a stage that is not finished': copy(unfinished(nothing), '--mode=evaluate'),
    'a step that was not kept': copy(nothing, '--mode=evaluate', '--stage=baseline', '--step=5'),
    'a checkpoint that is damaged, to evaluate': copy(truncate('baseline/checkpoints'), '--mode=evaluate'),
    'no checkpoint that is usable, to go on from': copy(unfinished(truncate('finetune/checkpoints'))),
    'a config.json that is damaged': copy(write('config.json')),
    'a split.npz that is damaged': copy(write('split.npz', b'PK\x03\x04 no')),
    'a result.json that is damaged': copy(write('baseline/result.json')),
    'an evaluation that is damaged': copy(write('evaluation/context.json'), '--mode=report'),
    'predictions for a monitor': flags('--mode=monitor', '--predictions=x.npz'),
    "a stream without the policy's score": stream('id,confidence_mina\na,0.9\n'),
    'percentages for a probability': stream('id,confidence_mine\na,99.5\nb,80\n'),
    'numbers for groups that are words': stream(
        '{"confidence_mine": 0.9, "by": 1.10}\n',
        by='by', groups=['1.1', '1.10', '2.0'], tiers=[{'name': 'accept', 'thresholds': [0.6] * 3}],
    ),
    **STREAMS,
    **DECISIONS,
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes | None]:
    """Return path -> content of all there is in a folder (None for folders), but for the lock."""
    if not folder.exists():
        return {}
    paths = (path for path in folder.rglob('*') if path.name != '.lock')
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}


def test_the_page_and_the_cases_are_the_same():
    assert list(TOLD) == list(CASES)
    assert len(CASES) >= 40


@pytest.mark.parametrize('case', CASES)
def test_bad_input(case, tmp_path, request, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
    needs_run = CASES[case].__qualname__.startswith('copy.') or 'WORKDIR of a run' in case
    finished = request.getfixturevalue('finished')[0] if needs_run else None
    run = tmp_path / 'run'
    words = [word.format(tmp=tmp_path) for word in CASES[case](tmp_path, finished)]
    if not any(word.startswith('--workdir=') for word in words):
        words.append(f'--workdir={run}')
    before, existed = content(run), run.exists()
    with contextlib.ExitStack() as stack:
        if case == 'printed letters without typefaces':
            # Other tests of this process may have drawn all of them.
            glyphs._glyph.cache_clear()
            stack.enter_context(mock.patch.object(ImageFont, 'truetype', side_effect=ImportError('no _imagingft')))
        if case == 'a WORKDIR that another run uses':
            lock = stack.enter_context((run / '.lock').open('a'))
            fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, errors = run_here(*words)
    assert code == 2, errors
    assert errors.startswith('error: ')
    assert len(re.findall('^error: ', errors, re.MULTILINE)) == 1
    assert 'Traceback' not in errors
    for part in TOLD[case]:
        assert part in errors
    assert content(run) == before
    assert run.exists() == existed


def test_an_archive_that_claims_to_hold_paths_is_read_in_memory(tmp_path):
    """The names in an npz are names of arrays, wherever they point."""
    np.save(tmp_path / 'array.npy', np.zeros(3))
    with zipfile.ZipFile(tmp_path / 'p.npz', 'w') as archive:
        archive.write(tmp_path / 'array.npy', '../outside.npy')
    code, _, errors = run_here(SCORE, f'--predictions={tmp_path / "p.npz"}', f'--workdir={tmp_path / "run"}')
    assert code == 2
    assert "with 'labels' is missing" in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ['array.npy', 'p.npz']
    assert not (tmp_path.parent / 'outside.npy').exists()
