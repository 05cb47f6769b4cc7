"""--mode=label and --mode=slices on a finished run: new images to label, the audit that comes back, and its page."""

import csv
import shutil

import numpy as np
import pytest
from e2e.command import run_here, run_well_here
from PIL import Image

from failpred_jax.data import load_data
from failpred_jax.finished_run import read_run


@pytest.fixture(scope='module')
def workdir(finished, tmp_path_factory):
    copy = tmp_path_factory.mktemp('labelled') / 'run'
    shutil.copytree(finished[0], copy, ignore=shutil.ignore_patterns('tensorboard', 'report'))
    return copy


def test_new_images_are_chosen_and_an_audit_of_them_comes_back(workdir, tmp_path, monkeypatch):
    # One page at the end says it all.
    monkeypatch.setattr('failpred_jax.session.build_report', lambda folder: None)
    test = load_data(read_run(workdir).config.data).test
    images, ids = np.concatenate([test.images[:60], test.images[:1]]), np.array([f'd{i}' for i in range(61)])
    np.savez(tmp_path / 'new.npz', images=images, id=ids)
    mode = ('--mode=label', f'--workdir={workdir}')
    inputs = f'--inputs={tmp_path / "new.npz"}'
    out = run_well_here(*mode, inputs, '--strategy=badge', '--budget=10')
    assert '10 of 61 units by badge' in out
    folder = workdir / 'labelling' / 'badge'
    with Image.open(folder / 'sheet.png') as sheet:
        assert sheet.width > sheet.height > 100
    with (folder / 'to_label.csv').open() as file:
        rows = list(csv.DictReader(file))
    shown = np.load(folder / 'gallery.npz')['images']
    assert all(np.array_equal(image, images[int(row['row'])]) for image, row in zip(shown, rows, strict=True))
    run_well_here(*mode, inputs, '--strategy=audit', '--budget=40')
    with (workdir / 'labelling' / 'audit' / 'to_label.csv').open() as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / 'back.csv').open('w') as file:
        writer = csv.DictWriter(file, ['id', 'label'])
        writer.writeheader()
        writer.writerows(
            {'id': row['id'], 'label': int([*test.labels[:60], test.labels[0]][int(row['row'])])} for row in rows
        )
    out = run_well_here(*mode, f'--audit={tmp_path / "back.csv"}')
    assert 'error rate of all predictions' in out and 'from 40 labels' in out
    code, _, error = run_here(*mode, '--strategy=margin', '--budget=3')
    assert code == 2 and '--strategy chooses among inputs without labels' in error


def test_issues_and_slices_are_on_the_page(workdir, monkeypatch):
    built = []
    monkeypatch.setattr('failpred_jax.session.build_report', built.append)
    out = run_well_here('--mode=label', f'--workdir={workdir}', '--issues')
    assert 'test: ' in out and '--config.confidence.targets=crossfit' in out
    monkeypatch.undo()
    out = run_well_here('--mode=slices', f'--workdir={workdir}')
    assert 'slices searched' in out and len(built) == 1
    html = (workdir / 'report' / 'index.html').read_text()
    assert 'id="labelling"' in html and 'id="failing"' in html and 'look wrong' in html
    code, _, error = run_here('--mode=slices', f'--workdir={workdir}', '--columns=site')
    assert code == 2 and "there is no column 'site' (columns: none)" in error
