"""Nothing but our own markup reaches the page unescaped."""

import csv
import io
import json

import pytest

from failpred_jax.report import html, style, words
from failpred_jax.report.tables import Column, Table

EVIL = '<script>alert(1)</script>'


def test_text_is_escaped_and_markup_is_not():
    assert html.tag('p', EVIL, html.tag('b', 'a & b')) == (
        '<p>&lt;script&gt;alert(1)&lt;/script&gt;<b>a &amp; b</b></p>'
    )
    assert html.tag('p', [EVIL, None, 3]) == '<p>&lt;script&gt;alert(1)&lt;/script&gt;3</p>'


def test_attributes_are_escaped():
    assert html.tag('img', alt='" onerror="x', class_='a', hidden=True, title=None) == (
        '<img alt="&quot; onerror=&quot;x" class="a" hidden>'
    )


def test_joining_html_and_text_does_not_launder_text():
    assert html.join(html.Html('<b>') + EVIL) == '&lt;b&gt;' + html.escape(EVIL)
    assert type(html.escape(EVIL)) is html.Html


def test_half_a_surrogate_pair_can_be_written():
    assert str(html.escape('a\udc80b')) == 'a?b'
    assert style.plain('a\udc80b') == 'a?b'


@pytest.mark.parametrize('text', ['</script>', '<!--', '<script', ']]>', '\u2028', '&lt;'])
def test_json_in_a_script_element_cannot_end_it(text):
    block = html.json_block('x', {'name': text})
    inside = block.removeprefix('<script type="application/json" id="x">').removesuffix('</script>')
    assert not set('<>&\u2028') & set(inside)
    assert json.loads(inside) == {'name': text}


def test_json_refuses_nan():
    with pytest.raises(ValueError, match='JSON compliant'):
        html.json_block('x', float('nan'))


def test_plotly_labels_show_as_written():
    assert style.plain('<b>&amp;</b>') == '&lt;b&gt;&amp;amp;&lt;/b&gt;'
    assert style.shorten('x' * 40, 10) == 'x' * 9 + '\u2026'


def make_table(rows):
    columns = [Column('name', 'Name'), Column('value', 'Value', lambda v, _: words.percent(v), True)]
    return Table('t', 'caption', columns, rows, ['value_low'])


def test_table_sorts_by_raw_values_and_marks_rows():
    page = make_table([{'name': EVIL, 'value': 0.123456, '_marked': True}, {'name': 'b', 'value': None}]).to_html()
    assert 'data-sort="0.123456"' in page
    assert 'data-sort=""' in page
    assert '<tr class="marked">' in page
    assert EVIL not in page


def test_csv_holds_raw_values_and_runs_no_formula():
    rows = [{'name': '=1+1', 'value': 0.25, 'value_low': 0.2}, {'name': '-0.5', 'value': float('nan')}]
    parsed = list(csv.reader(io.StringIO(make_table(rows).to_csv())))
    assert parsed == [['name', 'value', 'value_low'], ["'=1+1", '0.25', '0.2'], ['-0.5', '', '']]


@pytest.mark.parametrize(
    ('share', 'text'),
    [(0.12345, '12.3'), (0.9999, '99.99'), (0.00001, '0.001'), (1.0, '100.0'), (0, '0.0'), (-0.01, '\u22121.0')],
)
def test_percent_never_rounds_to_certainty(share, text):
    assert words.percent(share) == f'{text}\u202f%'


def test_undefined_numbers_are_dashes():
    for value in (None, float('nan'), 'x', True):
        assert words.percent(value) == words.number(value) == words.metric_value('auroc', value) == words.DASH


def test_wilson_interval_matches_its_formula():
    low, high = words.wilson(8, 10)
    assert low == pytest.approx(0.4901625, abs=1e-6)
    assert high == pytest.approx(0.9433178, abs=1e-6)
    assert words.wilson(0, 0) == (0.0, 1.0)
    assert words.wilson(0, 5)[0] == 0
    assert words.wilson(5, 5)[1] == 1


def test_durations_and_lists_in_words():
    assert [words.seconds(s) for s in (0.44, 12, 200, 7500)] == [
        *('0.4\u202fs', '12\u202fs'),
        *('3\u202fmin 20\u202fs', '2\u202fh 5\u202fmin'),
    ]
    assert words.listed(['a', 'b', 'c']) == 'a, b and c'
    assert words.count(1, 'image') == '1 image'
    assert words.count(1234, 'image') == '1\u202f234 images'


@pytest.mark.parametrize(
    ('value', 'digits', 'expected'),
    [
        (0.9756, 2, '97.56'),
        (0.0412, 2, '4.12'),
        (0.00593, 2, '0.593'),
        (0.000666, 2, '0.0666'),
        (0.0000019, 2, '0.0002'),
        (0.000666, 1, '0.067'),
        (0.0, 2, '0.00'),
        (-0.005, 2, '\u22120.500'),
    ],
)
def test_small_shares_keep_their_digits(value, digits, expected):
    assert words.metric_value('aurc', value, digits) == expected
