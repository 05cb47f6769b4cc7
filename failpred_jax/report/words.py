"""Numbers and metric names as a reader wants them."""

import math
import numbers
import re
from typing import Any, NamedTuple

THIN = '\u202f'  # narrow no-break space: a number and its unit stay on one line
DASH = '\u2013'
MINUS = '\u2212'


class MetricWords(NamedTuple):
    """How a metric is shown.

    Attributes:
      label: its short name.
      better: 'higher', 'lower', or '' where neither is better.
      meaning: what it says, in plain words, without the definition.
      is_share: a share in [0, 1], shown in percent.
    """

    label: str
    better: str
    meaning: str
    is_share: bool = True


METRICS = {
    'aurc': MetricWords('AURC', 'lower', 'the error rate among accepted predictions, averaged over every coverage'),
    'augrc': MetricWords('AUGRC', 'lower', 'the share of all predictions that are accepted and wrong, averaged'),
    'e_aurc': MetricWords('E-AURC', 'lower', 'how far AURC is from that of a perfect ordering'),
    'auroc': MetricWords('AUROC', 'higher', 'how often a correct prediction is ranked above a wrong one'),
    'aupr_error': MetricWords('AUPR-Error', 'higher', 'how precisely low confidence points at errors'),
    'aupr_success': MetricWords('AUPR-Success', 'higher', 'how precisely high confidence points at correct ones'),
    'fpr_at_95tpr': MetricWords(
        'FPR@95%TPR', 'lower', 'the share of errors let through when 95 % of the correct ones are accepted'
    ),
    'accuracy': MetricWords('Accuracy', 'higher', 'the share of correct predictions'),
    'balanced_accuracy': MetricWords('Balanced accuracy', 'higher', 'accuracy averaged over classes'),
    'ece': MetricWords('ECE', 'lower', 'the mean gap between confidence and accuracy'),
    'ace': MetricWords('ACE', 'lower', 'the same gap over bins of equal counts'),
    'ece_equal_mass': MetricWords('ECE, equal mass', 'lower', 'the mean gap over bins that hold equally many'),
    'signed_ece': MetricWords('Signed ECE', '', 'above 0 where confidence exceeds accuracy'),
    'brier_reliability': MetricWords('Brier: reliability', 'lower', 'its part from miscalibration', is_share=False),
    'brier_resolution': MetricWords('Brier: resolution', 'higher', 'what telling units apart gains', is_share=False),
    'brier_uncertainty': MetricWords('Brier: uncertainty', '', 'what the error rate alone costs', is_share=False),
    'mce': MetricWords('MCE', 'lower', 'the widest gap of any bin'),
    'nll': MetricWords('NLL', 'lower', 'negative log-likelihood, in nats', is_share=False),
    'brier': MetricWords('Brier', 'lower', 'squared error of the probabilities', is_share=False),
    'classwise_ece': MetricWords('Classwise ECE', 'lower', 'the gap of every class probability, averaged'),
    'multiclass_nll': MetricWords('NLL', 'lower', 'negative log-likelihood of the classes, in nats', is_share=False),
    'multiclass_brier': MetricWords('Brier', 'lower', 'squared error of all class probabilities', is_share=False),
    'pixel_accuracy': MetricWords('Pixel accuracy', 'higher', 'the share of pixels that are right'),
    'mean_iou': MetricWords('Mean IoU', 'higher', 'overlap of prediction and truth, averaged over classes'),
    'iou': MetricWords('IoU', 'higher', 'overlap of prediction and truth'),
}
# The first of these that a run has decides the verdict: AURC and AUGRC weigh every threshold a user may choose.
VERDICT_METRICS = ('aurc', 'augrc', 'auroc', 'aupr_error')


def metric_words(name: str) -> MetricWords:
    """Return how a metric is shown; one that this file does not know keeps its name, without a direction."""
    if name in METRICS:
        return METRICS[name]
    for pattern, label, better in (
        (r'risk_at_(\d+)_?coverage', 'Risk at {}\u202f% coverage', 'lower'),
        (r'coverage_at_(\d+)_?risk', 'Coverage at {}\u202f% risk', 'higher'),
        (r'top_(\d+)_accuracy', 'Top-{} accuracy', 'higher'),
    ):
        if found := re.fullmatch(pattern, name):
            return MetricWords(label.format(found[1]), better, '')
    return MetricWords(name.replace('_', ' '), '', '')


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number (None, NaN and text are not)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def percent(share: Any, digits: int = 1) -> str:
    """Return a share in [0, 1] as '12.3 %', or a dash where there is none.

    A share that is not 0 or 1 is never rounded to 0 % or 100 %: digits are added, up to six.
    """
    if not is_number(share):
        return DASH
    while digits < 6 and 0 < share < 1 and round(share * 100, digits) in (0, 100):
        digits += 1
    return f'{_fixed(share * 100, digits)}{THIN}%'


def interval(low: Any, high: Any, digits: int = 1) -> str:
    """Return an interval of shares as '1.2–3.4 %', or an empty string where there is none."""
    if not (is_number(low) and is_number(high)):
        return ''
    between = DASH if low >= 0 and high >= 0 else ' to '
    return f'{_fixed(low * 100, digits)}{between}{_fixed(high * 100, digits)}{THIN}%'


def number(value: Any, digits: int = 3) -> str:
    """Return a number with that many significant digits (whole numbers in full, with thin spaces), or a dash."""
    if not is_number(value):
        return DASH
    if float(value).is_integer() and abs(value) < 1e15:
        return f'{int(value):,}'.replace(',', THIN).replace('-', MINUS)
    return f'{value:.{digits}g}'.replace('-', MINUS)


def _fixed(value: float, digits: int) -> str:
    """Return a number with fixed decimals and a true minus sign, which a rounded zero does not get."""
    text = f'{value:.{digits}f}'
    return text.lstrip('-') if float(text) == 0 else text.replace('-', MINUS)


def metric_value(name: str, value: Any, digits: int = 2) -> str:
    """Return a metric's value as it is shown in tables: percent where it is a share, without the sign.

    A value below 1 % has up to two decimals more than `digits`: the AURC of a good classifier is all decimals.
    """
    if not is_number(value):
        return DASH
    if metric_words(name).is_share and -1 <= value <= 1:
        percent = value * 100
        more = min(max(-math.floor(math.log10(abs(percent))), 0), 2) if percent else 0
        return _fixed(percent, digits + more)
    return number(value)


def seconds(value: Any) -> str:
    """Return a duration in words: '0.4 s', '12 s', '3 min 20 s', '2 h 5 min'."""
    if not is_number(value):
        return DASH
    if value < 10:
        return f'{value:.1f}{THIN}s'
    whole = round(value)
    if whole < 60:
        return f'{whole}{THIN}s'
    if whole < 3600:
        return f'{whole // 60}{THIN}min {whole % 60}{THIN}s'
    return f'{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min'


def count(num: int, noun: str) -> str:
    """Return '1 image' or '12 images'."""
    plural = noun + ('es' if noun.endswith('ss') else 's')
    return f'{number(int(num))} {noun if num == 1 else plural}'


def listed(words: list[str]) -> str:
    """Return 'a', 'a and b', or 'a, b and c'."""
    if len(words) < 2:
        return ''.join(words)
    return ', '.join(words[:-1]) + ' and ' + words[-1]


def wilson(successes: float, total: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    Args:
      successes: in [0, total].
      total: number of trials; 0 gives (0, 1).
      z: standard normal quantile; 1.96 covers 95 %.

    Returns:
      (low, high), both in [0, 1].

    Reference: Wilson, JASA 22 (1927), 209-212.
    """
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    center = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, center - half), min(1.0, center + half)
