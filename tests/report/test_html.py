"""Nothing but our own markup reaches the page unescaped."""

import csv
import io
import json

import htpy as h
import pytest
from markupsafe import Markup

from failpred_jax.evaluate.table import format_value
from failpred_jax.registry import METRICS
from failpred_jax.report import figures_scores, style, words
from failpred_jax.report.section import Section, json_block
from failpred_jax.report.tables import MOST_SHOWN, Column, Table

EVIL = '<script>alert(1)</script>'


def test_everything_a_section_places_is_escaped_and_markup_is_not():
    section = Section('name', 'title', 'question')
    section.text(EVIL, h.b['a & b'])
    section.heading([EVIL, None, h.b['a & b']])
    section.missing(EVIL)
    section.add(EVIL, Markup('<b>') + EVIL, h.img(alt='" onerror="x', hidden=True, title=None))
    figure = figures_scores.confidence_histogram([0, 1], [3], [2], EVIL)
    section.add_figure('figure', figure, EVIL, '" onerror="x')
    raw = style.new_figure(EVIL)
    section.add_figure('raw', raw, '', '')
    section.add_table(make_table([{'name': EVIL, 'value': 0.5}]))
    page = str(h.div[section.parts, section.data])
    assert '<script>' not in page.replace('<script type="application/json"', '')
    assert page.count('&lt;script&gt;alert(1)&lt;/script&gt;') >= 8
    assert page.count('<b>a &amp; b</b>') == 2
    assert '<img alt="&#34; onerror=&#34;x" hidden>' in page
    assert 'aria-label="&#34; onerror=&#34;x"' in page


def test_half_a_surrogate_pair_can_be_written():
    assert words.printable('a\udc80b') == 'a?b'
    assert style.plain('a\udc80b') == 'a?b'


@pytest.mark.parametrize('text', ['</script>', '<!--', '<script', ']]>', '\u2028', '&lt;'])
def test_json_in_a_script_element_cannot_end_it(text):
    block = str(json_block('x', {'name': text}))
    inside = block.removeprefix('<script type="application/json" id="x">').removesuffix('</script>')
    assert not set('<>&\u2028') & set(inside)
    assert json.loads(inside) == {'name': text}


def test_json_refuses_nan():
    with pytest.raises(ValueError, match='JSON compliant'):
        json_block('x', float('nan'))


def test_plotly_labels_show_as_written():
    assert style.plain('<b>&amp;</b>') == '&lt;b&gt;&amp;amp;&lt;/b&gt;'
    assert style.shorten('x' * 40, 10) == 'x' * 9 + '\u2026'


def make_table(rows):
    columns = [Column('name', 'Name'), Column('value', 'Value', lambda v, _: words.percent(v), True)]
    return Table('t', 'caption', columns, rows, ['value_low'])


def test_table_sorts_by_raw_values_and_marks_rows():
    page = str(make_table([{'name': EVIL, 'value': 0.123456, '_marked': True}, {'name': 'b', 'value': None}]).to_html())
    assert 'data-sort="0.123456"' in page
    assert 'data-sort=""' in page
    assert '<tr class="marked">' in page
    assert EVIL not in page


def test_of_a_long_table_the_page_shows_the_first_rows_and_says_so():
    table = make_table([{'name': str(i), 'value': 0.5} for i in range(MOST_SHOWN + 5)])
    page = str(table.to_html())
    assert page.count('<tr') == 1 + MOST_SHOWN
    assert f'The first {MOST_SHOWN} of {MOST_SHOWN + 5} rows' in page
    assert table.to_csv().count('\n') == 1 + MOST_SHOWN + 5


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
        assert words.percent(value) == words.number(value) == words.metric_value(value) == words.DASH


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
    assert words.metric_value(value, digits) == expected


@pytest.mark.parametrize('value', [0.007748, 0.0, 0.0000019, 0.4])
def test_thousandths_are_those_of_the_table_of_the_terminal(value):
    metric = METRICS['aurc']
    assert words.metric_value(value, scale=metric.scale) == format_value(value, metric)
    assert words.points(-value, metric.scale).strip(f'+{words.MINUS}') == format_value(value, metric)
