"""Shifted sets of a finished run: read or made, run through the network once, and measured into the folder `shift`.

A set that was measured already, with the same weights and options, is taken from there: adding one to a finished run
measures that one alone.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from failpred_jax import processes
from failpred_jax.config import Config
from failpred_jax.console import phase, say
from failpred_jax.data import Data
from failpred_jax.data.sources import images_of
from failpred_jax.decided import FOLDER as DECISIONS
from failpred_jax.decided import made_with
from failpred_jax.errors import UserError
from failpred_jax.evaluate.comparing import reference_of
from failpred_jax.evaluate.shift_severity import Judge, make_judge
from failpred_jax.evaluate.shift_table import to_table
from failpred_jax.evaluate.shifted import Evaluator, ShiftUnits
from failpred_jax.files import write_npz
from failpred_jax.outcomes import is_correct
from failpred_jax.predictor import Predictor, load
from failpred_jax.registry import CORRUPTIONS, SCORES
from failpred_jax.results import Evaluation, Predictions, read_evaluation
from failpred_jax.results.shifted import Shifted, ShiftedSet, read_gallery, read_shifted, write_shifted
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.shift.corruption import corrupt
from failpred_jax.shift.images import EXCLUDED, Form, ShiftImages, check_paths, draw, expand, load_shift
from failpred_jax.threads import in_stages

FOLDER = 'shift'
# Of strangers, those that are accepted with most confidence.
NUM_SHOWN = 12
# Of what is drawn: the same for every run, so that runs are compared on the same images.
SEED = 0


def check_shifts(config: Config, data: Data) -> None:
    """Read the shifted sets that a config names, so that one that cannot be had is told of before anything is trained.

    Raises:
      UserError: as in `measure_shifts`.
    """
    check_paths(config.evaluate.shifts)
    asked = expand(config.evaluate.shifts)
    _check_task(asked, data)

    def read() -> None:
        form = Form(data.info, config.data, SEED)
        for name, severities in asked:
            if not severities:
                load_shift(name, form)

    processes.from_main(read)


def _check_task(asked: list[tuple[str, tuple[int, ...]]], data: Data) -> None:
    if asked and data.info.task != 'classification':
        raise UserError('config.evaluate.shifts is for classifiers; of a segmentation it must be ()')


def measure_shifts(config: Config, data: Data, workdir: Path) -> bool:
    """Measure the shifted sets that a config names into the WORKDIR of an evaluated run; see shift/ and docs/shift.md.

    Args:
      config: of the run; `evaluate.shifts` names the sets, to which classes that were left out are added.
      data: its data.
      workdir: holds the evaluation folder.

    Returns:
      Whether anything was measured.

    Raises:
      UserError: a set cannot be had, or the run is a segmentation. Nothing is written then.
    """
    asked = expand(config.evaluate.shifts)
    if data.excluded is not None:
        asked.append((EXCLUDED, ()))
    if not asked:
        return False
    _check_task(asked, data)
    return processes.from_main(lambda: _Shifting(config, data, workdir).measure(asked))


class _Shifting:
    """One run and what was measured of it before."""

    def __init__(self, config: Config, data: Data, workdir: Path):
        self.config, self.data, self.workdir = config, data, workdir
        self.folder = workdir / FOLDER
        self.form = Form(data.info, config.data, SEED)
        # Without decisions, sets are those that the config asks for.
        self.decisions = made_with(workdir / DECISIONS) or ('', config.decide)

    def measure(self, asked: list[tuple[str, tuple[int, ...]]]) -> bool:
        evaluation = read_evaluation(self.workdir / 'evaluation')
        predictor = load(self.workdir)
        before = self._before()
        keys = {name: self._key(name, evaluation) for name, _ in asked}
        there = {found.name: found for found in before.sets if found.key == keys.get(found.name)} if before else {}
        if before and list(there) == [name for name, _ in asked] and len(there) == len(before.sets):
            return False
        # All of them first, so that a set that cannot be had costs nothing.
        new = [
            _Asked(name, keys[name], levels, self._images(name, levels)) for name, levels in asked if name not in there
        ]
        evaluator = self._evaluator(evaluation, predictor)
        measuring = _Measuring(self, predictor, evaluator)
        gallery = read_gallery(self.folder) if there else {}
        # Of one set the images are made and run through the network while the one before is scored and measured.
        stages = measuring.drawn, measuring.run, measuring.scored, measuring.measured
        with phase('measuring shifted sets', len(new), 'sets') as told:
            for measured, shown in in_stages(new, stages):
                there[measured.name] = measured
                gallery |= shown
                told.add()
        sets = [there[name] for name, _ in asked]
        shifted = evaluator.summary(sets, self._notes(evaluation, predictor))
        names = {slug(found.name) for found in sets}
        gallery = {name: array for name, array in gallery.items() if name.partition('__')[2] in names}
        table = to_table(shifted, data_name(evaluation))
        write_shifted(shifted, table, self.folder, gallery)
        say(table)
        say(f'shifted sets: {self.folder}')
        return True

    def _before(self) -> Shifted | None:
        try:
            return read_shifted(self.folder)
        except UserError as error:
            say(f'warning: {error}; measuring all shifted sets again')
            return None

    def _key(self, name: str, evaluation: Evaluation) -> str:
        """Return a digest of all that decides what is found on a set."""
        options = self.config.evaluate
        judged_by, options_of_decisions = self.decisions
        known = [
            evaluation.run.fingerprint, evaluation.run.created, name, options.shift_images, options.resamples,
            options.interval, options.reference_score, SEED, _state_of(name),
            judged_by or dataclasses.asdict(options_of_decisions),
        ]  # fmt: skip
        return hashlib.blake2b(json.dumps(known, default=str).encode(), digest_size=16).hexdigest()

    def _evaluator(self, evaluation: Evaluation, predictor: Predictor) -> Evaluator:
        test = evaluation.test
        kept = {name: test.confidences[name] for name in predictor.scores if name in test.confidences}
        options = self.config.evaluate
        return Evaluator(
            dataclasses.replace(test, confidences=kept),
            evaluation.validation,
            reference_of(options.reference_score, evaluation.scores, evaluation.measures.unavailable)[0],
            self._judge(evaluation, predictor),
            options.resamples,
            options.interval,
        )

    def _judge(self, evaluation: Evaluation, predictor: Predictor) -> Judge:
        """Return what decides about units: the run's decisions, or else what its config asks for."""
        judged_by, options = self.decisions
        return make_judge(predictor.policy, evaluation.calibration, evaluation.validation, options, judged_by)

    def _images(self, name: str, severities: tuple[int, ...]) -> ShiftImages | None:
        """Return the images of a set, None for a corruption, whose images are made when their turn comes."""
        if severities:
            return None
        if name != EXCLUDED:
            return load_shift(name, self.form)
        excluded = self.data.excluded
        assert excluded is not None
        words = ', '.join(self.config.data.exclude_classes)
        return ShiftImages(images_of(excluded), None, f'test images of classes that were left out ({words}), strangers')

    def _notes(self, evaluation: Evaluation, predictor: Predictor) -> list[str]:
        options, lost = self.config.evaluate, []
        for name in evaluation.scores:
            if name not in predictor.scores and not (name in SCORES and SCORES[name].reads_label):
                lost.append(f'{name} ({predictor.unavailable.get(name, "not computed")})')
        notes = [f'not measured on shifted sets: {", ".join(lost)}'] if lost else []
        if options.shift_images:
            notes.append(f'at most {options.shift_images:,} images of each set or severity are used')
        return notes


class _Asked(NamedTuple):
    """A shifted set by name, with its severities and None, or with its images."""

    name: str
    key: str
    severities: tuple[int, ...]
    given: ShiftImages | None


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """Units of a shifted set.

    Attributes:
      name, key, description: of the set.
      images: [N, H, W, channels] uint8; of strangers they are kept, to show some, of others until the network saw them.
      labels: [N] int32, None for strangers.
      number: [N] int, of the image of the set that each is, or was made of.
      severity: [N] int of a corruption, or None.
    """

    name: str
    key: str
    description: str
    images: np.ndarray
    labels: np.ndarray | None
    number: np.ndarray
    severity: np.ndarray | None = None


class _Measuring:
    """The stages from the name of a shifted set to its figures; each is called by a thread of its own."""

    def __init__(self, shifting: _Shifting, predictor: Predictor, evaluator: Evaluator):
        self.shifting, self.predictor, self.evaluator = shifting, predictor, evaluator

    def drawn(self, asked: _Asked) -> _Drawn:
        """Return the units of a set."""
        name, key, severities, given = asked
        most, test = self.shifting.config.evaluate.shift_images, self.shifting.data.test
        if given is not None:
            rows = draw(len(given.images), most, SEED)
            labels = None if given.labels is None else given.labels[rows]
            return _Drawn(name, key, given.description, given.images[rows], labels, rows)
        kind = name.partition(':')[0]
        rows = draw(len(test.labels), most, SEED)
        clean = images_of(test)[rows]
        images = np.empty((len(severities), *clean.shape), np.uint8)
        for at, level in enumerate(severities):
            images[at] = corrupt(clean, kind, level, SEED, rows)[0]
        labels, number = np.tile(test.labels[rows], len(severities)), np.tile(rows, len(severities))
        description = f'{CORRUPTIONS[kind].description}; severity {", ".join(map(str, severities))}'
        flat = images.reshape(-1, *clean.shape[1:])
        return _Drawn(name, key, description, flat, labels, number, np.repeat(severities, len(rows)))

    def run(self, drawn: _Drawn) -> tuple[_Drawn, ScoreInputs]:
        """Return units with what scores read of them."""
        inputs = self.predictor.read_units(drawn.images, drawn.number)
        return drawn if drawn.labels is None else dataclasses.replace(drawn, images=drawn.images[:0]), inputs

    def scored(self, given: tuple[_Drawn, ScoreInputs]) -> tuple[_Drawn, ShiftUnits]:
        """Return units with their predictions and scores."""
        drawn, inputs = given
        confidences, lost = self.predictor.score_units(inputs)
        logits, labels = np.asarray(inputs.logits), drawn.labels
        correct = np.zeros(len(logits), bool) if labels is None else np.asarray(is_correct(logits, labels))
        kept = np.zeros(len(logits), np.int32) if labels is None else labels.astype(np.int32)
        found = Predictions(kept, logits, correct, confidences)
        number = None if drawn.severity is None else drawn.number
        return drawn, ShiftUnits(
            drawn.name, found, labels is None, drawn.description, drawn.severity, number, lost, drawn.key
        )

    def measured(self, given: tuple[_Drawn, ShiftUnits]) -> tuple[ShiftedSet, dict[str, np.ndarray]]:
        """Write the units, and return their figures and the strangers to show."""
        drawn, units = given
        found = units.predictions
        arrays = {'logits': found.logits, 'number': drawn.number}
        arrays |= {f'confidence_{name}': values for name, values in found.confidences.items()}
        arrays |= {} if units.is_strangers else {'labels': found.labels}
        arrays |= {} if drawn.severity is None else {'severity': drawn.severity}
        folder = self.shifting.folder / 'units'
        folder.mkdir(parents=True, exist_ok=True)
        write_npz(folder / f'{slug(drawn.name)}.npz', arrays)
        return self.evaluator.measured(units), self._shown(units, drawn.images)

    def _shown(self, units: ShiftUnits, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the strangers that are accepted with most confidence, by the learned score or the reference."""
        evaluator = self.evaluator
        learned = [name for name in evaluator.scores if name in SCORES and SCORES[name].role == 'learned']
        score = (learned or [evaluator.reference])[0]
        values = units.predictions.confidences.get(score)
        if not units.is_strangers or values is None:
            return {}
        over = np.flatnonzero(values > evaluator.thresholds[score])
        first = over[np.argsort(-values[over], kind='stable')][:NUM_SHOWN]
        at = slug(units.name)
        return {
            f'image__{at}': images[first],
            f'confidence__{at}': values[first],
            f'predicted__{at}': units.predictions.logits[first].argmax(axis=1),
            f'score__{at}': np.array(score),
            f'set__{at}': np.array(units.name),
        }


def slug(name: str) -> str:
    """Return the name of a set as a file may be called; distinct names stay distinct."""
    plain = re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')[-40:]
    return plain if plain == name else f'{plain}_{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}'


def data_name(evaluation: Evaluation) -> str:
    """Return what the data set is called."""
    return evaluation.run.dataset.name


def _state_of(name: str) -> list[float]:
    """Return what tells whether the file or folder that a set is read from has changed."""
    kind, _, argument = name.partition(':')
    if kind not in ('folder', 'arrays') or not argument:
        return []
    path = Path(argument).expanduser()
    try:
        files = sorted(path.rglob('*')) if path.is_dir() else [path]
        return [float(len(files)), *(value for f in files for value in (f.stat().st_size, f.stat().st_mtime))]
    except OSError:
        return []
