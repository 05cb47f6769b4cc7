"""Predictions of a segmenter as a folder: label and confidence maps of every image.

  images.csv             one row per image: id, stem of its files, mean of every confidence, share of each decision
  STEM.labels.png        [H, W], the number of the class predicted of every pixel
  STEM.<score>.png       [H, W], P(correct) of every pixel by this score: black 0, white 1
  STEM.npz               predicted, confidence_<score> and calibrated_<score> [H, W], with decision [H, W] (a place in
                         actions) and audit where the run has a policy, and class_names

STEM is the image's id without its suffix, in the folders that it names.
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import UNFINISHED, write_npz
from failpred_jax.predicted import Prediction


class MapWriter:
    """Writes maps into a folder that appears whole when the block ends well.

    Args:
      folder: it must not be there yet.

    Attributes:
      num_images: how many were written.
    """

    def __init__(self, folder: Path):
        self.folder, self.num_images = folder, 0
        self._aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'.{folder.name}.', suffix=UNFINISHED))
        self._stems: set[str] = set()
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> 'MapWriter':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with (self._aside / 'images.csv').open('w', newline='', encoding='utf-8') as file:
                    writer = csv.DictWriter(file, list(self._rows[0]))
                    writer.writeheader()
                    writer.writerows(self._rows)
                # mkdtemp makes folders that only their owner can enter.
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(self._aside, 0o777 & ~umask)
                os.replace(self._aside, self.folder)
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)

    def write(self, found: Prediction) -> None:
        """Write the maps of some images."""
        from PIL import Image

        depth = np.uint8 if len(found.class_names) <= 256 else np.uint16
        for number, name in enumerate(found.ids):
            stem = self._stem(str(name))
            place = self._aside / stem
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(found.label[number].astype(depth)).save(f'{place}.labels.png')
            for score, maps in found.p_correct.items():
                Image.fromarray(np.round(255 * maps[number]).astype(np.uint8)).save(f'{place}.{score}.png')
            write_npz(Path(f'{place}.npz'), dict(_arrays(found, number)))
            row: dict[str, Any] = {'id': name, 'stem': stem}
            row |= {f'confidence_{score}': float(maps[number].mean()) for score, maps in found.confidences.items()}
            if found.decision is not None:
                code = found.decision.code[number]
                row |= {action: float(np.mean(code == i)) for i, action in enumerate(found.decision.actions)}
            self._rows.append(row)
            self.num_images += 1

    def _stem(self, name: str) -> str:
        """Return a path within the folder for an id, no two alike whatever the ids are."""
        path = PurePosixPath(name.replace('\\', '/'))
        stem = path.with_suffix('').as_posix() if path.name else ''
        is_inside = (
            stem and name.isprintable() and not path.is_absolute() and '..' not in path.parts and ':' not in name
        )
        if not is_inside or len(stem.encode()) > 200:
            stem = f'image_{self.num_images:06}'
        while stem.lower() in self._stems or stem.lower() == 'images':
            stem += f'_{self.num_images}'
        self._stems.add(stem.lower())
        return stem


def _arrays(found: Prediction, number: int) -> Iterator[tuple[str, np.ndarray]]:
    yield 'predicted', found.label[number]
    for score, maps in found.confidences.items():
        yield f'confidence_{score}', maps[number]
    for score, maps in found.p_correct.items():
        yield f'calibrated_{score}', maps[number]
    if found.decision is not None:
        yield 'decision', found.decision.code[number]
        yield 'actions', np.array(found.decision.actions)
        yield 'audit', found.decision.audit[number]
    yield 'class_names', np.array(found.class_names)


def check_folder(path: Path) -> None:
    """Raise a UserError for an output that is no folder to make."""
    if path.suffix.lower() in ('.csv', '.parquet', '.npz', '.png'):
        raise UserError(
            f"--output is '{path}', but this run is a segmenter, whose label and confidence maps are written as a "
            'folder; name one that is not there yet, such as --output=maps'
        )
