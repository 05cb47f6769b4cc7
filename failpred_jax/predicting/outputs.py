"""Predictions of new images as a file: csv, parquet or npz.

  id                    of the image
  predicted             the number of the class predicted, and its name in predicted_name
  probs_0, probs_1, ... of the classes (npz: probs [N, C], with class_names [C])
  confidence_<score>    higher means more confident
  calibrated_<score>    the calibrated probability that the prediction is right
  decision, audit       where the run has a policy: what it decides, and whether the unit is looked at all the same

Pictures that cannot be used are left out, and listed with the reason in NAME.failed.csv beside it. Of a segmenter see
maps.py. With a column `labels` of true classes added, it is a file of predictions that --mode=score evaluates.
"""

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import whole_file, write_npz
from failpred_jax.predicted import Prediction

SUFFIXES = ('.csv', '.parquet', '.npz')


def check_output(path: Path) -> None:
    """Raise a UserError for an output that cannot be written, or that is there already."""
    for file in (path, failed_file(path)):
        if file.exists():
            raise UserError(f"--output is '{path}', but '{file}' is there already; name another, or remove it")
    if not path.parent.is_dir():
        raise UserError(f"--output is '{path}', but there is no folder '{path.parent}'; make it first")
    try:
        # Permissions do not tell, of a disk that is read-only or no disk.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(
            f"--output is '{path}', but the folder '{path.parent}' cannot be written ({error.strerror}); name another"
        ) from error


def check_table(path: Path) -> None:
    """Raise a UserError for an output that is no table."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--output is '{path}'; name a file that ends with one of: {', '.join(SUFFIXES)}")


def failed_file(output: Path) -> Path:
    """Return where those are listed that cannot be used."""
    return output.with_name(f'{output.stem}.failed.csv')


def write_failed(path: Path, problems: Sequence[tuple[str, str]]) -> None:
    """Write (id, why it cannot be used) of pictures as a table."""
    with whole_file(path) as file:
        text = [','.join(('id', 'reason')), *(_line(*problem) for problem in problems)]
        file.write(('\n'.join(text) + '\n').encode())


def _line(*cells: str) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator='').writerow(cells)
    return out.getvalue()


def write_prediction(found: Prediction, path: Path) -> None:
    """Write a prediction in the format that the name of the file says; see the module."""
    check_table(path)
    check_output(path)
    columns = columns_of(found)
    suffix = path.suffix.lower()
    if suffix == '.npz':
        write_npz(path, {**columns, 'probs': found.probs, 'class_names': np.array(found.class_names)})
        return
    import pyarrow as pa
    from pyarrow import csv, parquet

    probs = {f'probs_{i}': found.probs[:, i] for i in range(found.probs.shape[1])}
    table = pa.table({**columns, **probs})
    with whole_file(path) as file:
        csv.write_csv(table, file) if suffix == '.csv' else parquet.write_table(table, file)


def columns_of(found: Prediction) -> dict[str, np.ndarray]:
    """Return name -> [N] of everything but the probabilities."""
    columns = {'id': found.ids, 'predicted': found.label, 'predicted_name': found.names}
    columns |= {f'confidence_{name}': values for name, values in found.confidences.items()}
    columns |= {f'calibrated_{name}': values for name, values in found.p_correct.items()}
    if found.decision is not None:
        columns |= {'decision': found.decision.names(), 'audit': found.decision.audit}
    return columns
