"""What arrays are called: by us, by other tools, and by those who write with capitals and spaces."""

import re
import shlex
from collections.abc import Iterable, Mapping

import numpy as np

from failpred_jax.errors import nearest
from failpred_jax.prediction_file.dealing import COLUMNS
from failpred_jax.prediction_file.fields import CONFIDENCE

PARTS = {'': 'evaluated', 'val_': 'validation', 'train_': 'training', 'cal_': 'calibration'}
SINGLE = (
    'labels', 'logits', 'probs', 'log_probs', 'correct', 'predicted', 'features', 'mask', 'group', 'id', 'weight',
    'mc_probs', 'ensemble_probs',
)  # fmt: skip
# What other tools call the same things.
SYNONYMS = {
    'label': 'labels', 'y_true': 'labels', 'target': 'labels', 'targets': 'labels', 'probabilities': 'probs',
    'logprobs': 'log_probs', 'groups': 'group', 'ids': 'id', 'confidence': 'confidence_confidence',
    'prediction': 'predicted', 'predictions': 'predicted', 'y_pred': 'predicted',
}  # fmt: skip
# Too short or too vague to be taken for one of ours, but named where something is missing.
_VAGUE = {
    'y': 'labels', 'true': 'labels', 'truth': 'labels', 'gt': 'labels', 'actual': 'labels', 'class': 'labels',
    'ground_truth': 'labels', 'true_class': 'labels', 'true_label': 'labels', 'pred': 'predicted',
    'predicted_class': 'predicted', 'predicted_label': 'predicted', 'score': 'confidence_score',
    'certainty': 'confidence_certainty', 'conf': 'confidence_conf',
}  # fmt: skip
_VAGUE_COLUMN = re.compile(r'(?:prob|proba|p|y_prob|y_proba|score|scores|softmax)[_. ]?([0-9]+)|([0-9]+)')
# Weights of training stand in many files, and are none of the evaluation.
_OF_TRAINING = ('weights', 'sample_weight')
# Too near to the names of columns that people slice by, such as 'height' and 'predictor'.
UNLIKELY = ('weight', 'predicted', 'id')
_OWN_SCORE = re.compile(r'(?:(val|train|cal)[\s_.-]+)?confidence[\s_.-]+(.+)', re.IGNORECASE)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name -> the one of ours that it is but for capitals, blanks and dots; itself where it is none.

    'Label' is 'label', and 'Confidence Mine' 'confidence_Mine'. A name that would be there twice stays as it is.
    """
    given = list(names)
    found: dict[str, str] = {}
    for name in given:
        plain = _plain(name)
        found[name] = plain if plain not in given and plain not in found.values() else name
    return found


def _plain(name: str) -> str:
    plain = re.sub(r'[\s.-]+', '_', name.strip().lower())
    stem = re.sub(r'^(?:val|train|cal)_', '', plain)
    if stem in (*SINGLE, *SYNONYMS, *_OF_TRAINING, *COLUMNS, 'class_names'):
        return plain
    found = _OWN_SCORE.fullmatch(name.strip())
    # What a score is called is the user's.
    return f'{f"{found[1].lower()}_" if found[1] else ""}{CONFIDENCE}{found[2]}' if found else name


def stem_of(name: str, array: np.ndarray) -> str:
    """Return what an array is called here, without the prefix of its part."""
    stem = SYNONYMS.get(name, name)
    if stem == 'predicted' and _are_fractions(array):
        return 'probs'
    # Predictions of several numbers per unit are outputs, under a name that does not tell which.
    return name if stem == 'predicted' and array.ndim == 2 and array.shape[1] > 1 else stem


def meaning_of(name: str) -> str:
    """Return what an array of this name is called here: 'labels' of 'Label'; itself where it is none of ours."""
    plain = _plain(name)
    return SYNONYMS.get(plain, plain)


def _are_fractions(array: np.ndarray) -> bool:
    """Return whether these are no classes but probabilities of class 1, as a model with one sigmoid predicts them."""
    is_column = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    if array.dtype.kind != 'f' or not is_column or not array.size:
        return False
    return bool(((array >= 0) & (array <= 1)).all() and (array != np.round(array)).any())


def name_problem(name: str, stem: str, array: np.ndarray) -> str:
    """Return what is wrong with the name of an array, or ''."""
    if stem in SINGLE or (stem.startswith(CONFIDENCE) and stem != CONFIDENCE):
        return ''
    if stem == CONFIDENCE:
        return f"'{name}' says of no score; name it '{name}NAME', such as '{name}mine'"
    if stem in _OF_TRAINING:
        return f"'{name}' is not ignored: name it 'weight' if units shall count by it, else drop the column"
    if re.fullmatch(r'arr_[0-9]+', stem):
        return f"'{name}' was saved without a name; name the arrays: numpy.savez(FILE, labels=..., logits=...)"
    if re.fullmatch(r'label_[0-9]+', stem):
        return (
            f"unknown array '{name}': one-hot labels are 'labels_0', 'labels_1', ..., and a column to slice by needs a "
            'name that is not as near to these'
        )
    known_names = (*(known for known in SINGLE if known not in UNLIKELY), 'class_names', CONFIDENCE)
    # Any column may be one to slice by; only what can hardly be meant otherwise is a misspelling.
    hint = nearest(stem, known_names, 0.75 if array.ndim == 1 else 0.6).replace(
        f"'{CONFIDENCE}'", f"'{CONFIDENCE}<name>'"
    )
    if hint or array.ndim != 1:
        known = ', '.join((*SINGLE, CONFIDENCE + '<name>', 'class_names'))
        also = 'each also with val_, train_, cal_, ood_<name>_ or shift_<name>_ before it'
        return f"unknown array '{name}'{hint} (known: {known}, {also})"
    return ''


def vague_name(name: str) -> str:
    """Return which of ours a name is perhaps meant for, such as 'labels' of 'true_label'; '' for none."""
    return _VAGUE.get(re.sub(r'[\s.-]+', '_', name.strip().lower()), '')


def vague_names(names: Iterable[str]) -> str:
    """Return which names may be meant for which of ours, as '; perhaps rename y to labels, ...'; '' for none."""
    meant = []
    for name in names:
        plain = re.sub(r'[\s.-]+', '_', name.strip().lower())
        if ours := vague_name(name):
            meant.append(f"'{name}' to '{ours}'")
        elif found := _VAGUE_COLUMN.fullmatch(plain):
            meant.append(f"'{name}' to 'probs_{found[1] or found[2]}' (or logits_{found[1] or found[2]})")
    return f'; perhaps rename {", ".join(meant[:6])}{", ..." if len(meant) > 6 else ""}' if meant else ''


def as_called(problem: str, called: Mapping[str, str]) -> str:
    """Return a sentence with our quoted names as the user wrote them; `called` is ours -> the user's."""
    return re.sub(r"'([^']+)'", lambda found: f"'{called.get(found[1], found[1])}'", problem)


def of_arguments(problem: str) -> str:
    """Return a sentence on flags as it is said of arguments in Python."""
    problem = problem.replace('--ignore_label= (and nothing after it)', "ignore_label=''").replace(
        ' a column ', ' an array '
    )
    # As a shell takes it: 'don'"'"'t' is one word.
    return re.sub(r"""--ignore_label=((?:'[^']*'|"[^"]*"|[^\s,;)'"])+)""", _as_argument, problem)


def _as_argument(found: re.Match[str]) -> str:
    word = shlex.split(found[1])[0]
    return f'ignore_label={word if word.lstrip("-").isdecimal() else repr(word)}'
