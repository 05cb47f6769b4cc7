"""HTML that is escaped unless it was built here.

Every string on the page passes through `tag`: a plain `str` is text and is escaped, an `Html` is markup that `tag`
made. There is no way to place a string from data or config on the page unescaped, short of calling `trusted`.
"""

import html
import json
from collections.abc import Iterable
from typing import Any

VOID_TAGS = frozenset({'br', 'hr', 'img', 'input', 'meta', 'link', 'col'})


class Html(str):
    """Markup that is safe to place on the page as it stands."""

    __slots__ = ()


def trusted(text: str) -> Html:
    """Return text as markup. Only for text of ours: the page's own CSS, JS and plotly.js."""
    return Html(text)


def escape(value: Any) -> Html:
    """Return a value as safe markup: `Html` unchanged, None as nothing, anything else as escaped text.

    Args:
      value: Html, None, or anything with a `str`. Half a surrogate pair (a file name that is not UTF-8) becomes '?'.
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return Html('')
    return Html(html.escape(str(value).encode('utf-8', 'replace').decode('utf-8'), quote=True))


def join(*children: Any) -> Html:
    """Return children one after another, each escaped unless it is Html; lists and generators are flattened."""
    parts = []
    for child in children:
        if isinstance(child, str) or not isinstance(child, Iterable):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Html(''.join(parts))


def tag(tag_name: str, *children: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
      tag_name: 'p', 'section', ...
      *children: escaped unless Html; lists are flattened.
      **attributes: `class_` is class, `data_x` is data-x; True is a bare attribute, None and False leave it out.
    """
    words = [tag_name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip('_').replace('_', '-')
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    opening = '<' + ' '.join(words) + '>'
    return Html(opening if tag_name in VOID_TAGS else f'{opening}{join(*children)}</{tag_name}>')


def json_block(element_id: str, value: Any) -> Html:
    """Return a <script type="application/json"> holding a value, or a string that is JSON already.

    `<`, `>` and `&` are written as \\u escapes, so that nothing in the data can end the element or open a comment.
    """
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False, separators=(',', ':'))
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return tag('script', Html(text), type='application/json', id=element_id)
