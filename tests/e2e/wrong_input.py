"""Wrong input on disk and on the command line: makers (a folder, a finished run) -> the words to start with."""

import zipfile

import numpy as np
from data.records_on_disk import small_set
from monitor.population import written

DIGITS = '--config=configs/digits.py'
ARRAYS = (DIGITS, '--config.data.source=arrays')
TFDS = (DIGITS, '--config.data.source=tfds')
TRAIN_FILE = 'tiny-train.tfrecord-00001-of-00002'
SCORE = '--mode=score'
SHIFTS = '--config.evaluate.shifts='


def flags(*words):
    """Return a maker of words that need nothing on disk; {run} is the WORKDIR and {tmp} the test's folder."""
    return lambda tmp, finished: words


def shifts(name, *words):
    """Return a maker of a run that names this shifted set."""
    return flags(DIGITS, SHIFTS + name, *words)


def shift_file(**change):
    """Return a maker of a file of shifted images with this change."""

    def make(tmp, finished):
        np.savez(tmp / 'shift.npz', **{'images': np.zeros((4, 8, 8), np.uint8), **change})
        return (DIGITS, SHIFTS + 'arrays:{tmp}/shift.npz')

    return make


def images(**change):
    """Return a maker of a data file with this change; None leaves an array out."""

    def make(tmp, finished):
        arrays = {
            'images_train': np.arange(1440).astype(np.uint8).reshape(40, 6, 6),
            'labels_train': np.arange(40) % 4,
            **change,
        }
        np.savez(tmp / 'data.npz', **{k: v for k, v in arrays.items() if v is not None})
        return (*ARRAYS, '--config.data.arrays.path={tmp}/data.npz')

    return make


def predictions(**change):
    """Return a maker of a predictions file with this change; None leaves an array out."""

    def make(tmp, finished):
        arrays = {'labels': np.arange(8) % 3, 'logits': np.zeros((8, 3)), **change}
        np.savez(tmp / 'p.npz', **{k: v for k, v in arrays.items() if v is not None})
        return (SCORE, '--predictions={tmp}/p.npz')

    return make


def file(name, content, *words):
    """Return a maker of one file."""

    def make(tmp, finished):
        (tmp / name).parent.mkdir(exist_ok=True)
        (tmp / name).write_bytes(content)
        return words

    return make


def config_file(line):
    """Return a maker of a config file that sets an option in its fifth line."""
    head = 'from failpred_jax.config import default_config\n\ndef get_config():\n    config = default_config()\n'
    return file('mine.py', f'{head}    {line}\n    return config\n'.encode(), '--config={tmp}/mine.py')


def table(text):
    """Return a maker of a table to score."""
    return file('p.csv', text.encode(), SCORE, '--predictions={tmp}/p.csv')


def archive(name, *members):
    """Return a maker of a zip archive to score, with a small text under each name."""

    def make(tmp, finished):
        with zipfile.ZipFile(tmp / name, 'w') as out:
            for member in members:
                out.writestr(member, 'labels,probs\n1,0.5\n')
        return (SCORE, f'--predictions={tmp / name}')

    return make


def records(change):
    """Return a maker of a set as tfds prepares it, changed by a function of the folder that holds its files."""

    def make(tmp, finished):
        small_set(tmp / 'sets')
        change(tmp / 'sets' / 'tiny' / '1.0.0')
        return (*TFDS, '--config.data.tfds.name=tiny', '--config.data.tfds.data_dir={tmp}/sets')

    return make


def rewrite(name, change):
    """Return a change of the content of one file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def stream(text, **policy_has):
    """Return a maker of a policy with its reference, and of a stream for it."""

    def make(tmp, finished):
        policy = written(tmp / 'decisions', np.random.default_rng(0), 100, **policy_has)
        (tmp / 'today.csv').write_text(text)
        state = f'--state={tmp}/monitor.json'
        return ('--mode=monitor', f'--policy={policy}', '--stream={tmp}/today.csv', state)

    return make


def decided(*options):
    """Return a maker of a file of predictions in three parts, with a site, to decide by these options."""
    rows = ''.join(f'{part},{i % 2},0.5,0.5,north\n' for i in range(40) for part in ('test', 'val', 'cal'))
    text = f'part,label,probs_0,probs_1,site\n{rows}'
    return file('p.csv', text.encode(), '--mode=decide', '--predictions={tmp}/p.csv', *options)


def picture_table(text, *words):
    """Return a maker of a table of pictures, which are not there."""
    table = ('--config.data.source=table', '--config.data.table.path={tmp}/set.csv')
    return file('set.csv', text.encode(), DIGITS, *table, *words)


PICTURES = {
    'pictures of which some have the label -1': picture_table('path,label\na,0\nb,-1\nc,1\nd,0\n'),
    'a label to leave out that no picture has': picture_table(
        'path,label\na,0\nb,unknown\n', '--config.data.table.ignore_label=unknwon'
    ),
    'a table of pictures without a header': picture_table('a.png,cat\nb.png,dog\n'),
    'pictures on the net': picture_table('path,label\nhttps://x.y/a.png,cat\n'),
}
DECISIONS = {
    'a percentage for a share': decided('--risk=5'),
    'a misspelled column to decide by': decided('--config.decide.by=siet'),
    'labels to decide by': decided('--config.decide.by=label'),
    'a score that reads the label, to decide by': decided('--score=tcp'),
    'options of decisions without a run': flags('--mode=decide', '--config.decide.by=predicted', '--workdir='),
    'a column to decide images by': flags(DIGITS, '--config.decide.by=site'),
    'a score of a stage that is not trained': flags(
        DIGITS, '--config.finetune.epochs=0', '--config.evaluate.scores=mcp,confidnet_finetuned'
    ),
}
