"""Numbers, durations and lists as a reader wants them."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeGuard

THIN = '\u202f'  # narrow no-break space: a number and its unit stay on one line
DASH = '\u2013'
MINUS = '\u2212'


def printable(text: str) -> str:
    """Return text that can be written as UTF-8: half a surrogate pair (a file name in another encoding) becomes '?'."""
    return text.encode('utf-8', 'replace').decode('utf-8')


def is_number(value: Any) -> TypeGuard[float]:
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
    """Return a number with fixed decimals and a true minus sign; a rounded zero has no sign."""
    text = f'{value:.{digits}f}'
    return text.lstrip('-') if float(text) == 0 else text.replace('-', MINUS)


def metric_value(value: Any, digits: int = 2, scale: float = 100) -> str:
    """Return a metric's value as tables show it: times its scale, without the sign.

    Args:
      value: a number, or what is undefined.
      digits: decimals of a percentage; below 1 % there are up to two more, and in thousandths there is one more.
      scale: 100 for a share in percent, 1000 for one in thousandths, 1 for what is no share.
    """
    if not is_number(value):
        return DASH
    if scale == 1 or not -1 <= value <= 1:
        return number(value)
    scaled = value * scale
    if scale != 100:
        return _fixed(scaled, digits + 1)
    more = min(max(-math.floor(math.log10(abs(scaled))), 0), 2) if scaled else 0
    return _fixed(scaled, digits + more)


def points(value: Any, scale: float = 100) -> str:
    """Return a difference of a metric with its sign, times the metric's scale, or a dash."""
    if not is_number(value):
        return DASH
    return f'{value * scale:+.{3 if scale == 1000 else 2}f}'.replace('-', MINUS)


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


def listed(words: Sequence[str]) -> str:
    """Return 'a', 'a and b', or 'a, b and c'."""
    if len(words) < 2:
        return ''.join(words)
    return ', '.join(words[:-1]) + f' and {words[-1]}'


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
