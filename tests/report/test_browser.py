"""The page in a real browser: it asks for nothing, runs only our scripts, and moves when touched."""

import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from failpred_jax import report

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
EVIL = '<script>alert(1)</script>'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (BROWSER and DRIVER),
        reason='needs chromium and chromedriver on the PATH (apt-get install chromium chromium-driver)',
    ),
]

FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)


@pytest.fixture(scope='module')
def driver(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("browser")}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope='module')
def address(hostile, tmp_path_factory):
    return report.build(hostile, tmp_path_factory.mktemp('page'), png=False).as_uri()


def resize(driver, width: int, dark: bool = False) -> None:
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600},
    )
    theme = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [theme]})


def draw_everything(driver) -> None:
    """Scroll through the page until each figure was near enough to be drawn."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        left = driver.execute_script(
            "const plot = document.querySelector('.plot:not([data-theme])');"
            "if (plot) { const folded = plot.closest('details'); if (folded) folded.open = true;"
            "plot.scrollIntoView({behavior: 'instant'}); } return plot !== null;"
        )
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError('a figure was never drawn')


def wait_for(driver, condition: str) -> None:
    deadline = time.monotonic() + 20
    while not driver.execute_script(condition):
        assert time.monotonic() < deadline, f'never true: {condition}'
        time.sleep(0.02)


def open_page(driver, address: str) -> None:
    """Load the page anew and wait for its script: the driver may return while the page before is still there."""
    driver.execute_script('window.before = true')
    driver.get(address)
    wait_for(driver, 'return !window.before && document.documentElement.dataset.theme !== undefined')


@pytest.fixture
def opened(driver, address):
    resize(driver, 1280)
    open_page(driver, address)
    return driver


def text_of(driver, element_id: str) -> str:
    return driver.execute_script('return document.getElementById(arguments[0]).textContent', element_id)


def test_opens_without_errors_and_without_any_request(driver, address):
    resize(driver, 1280)
    driver.get_log('performance')
    driver.get_log('browser')
    open_page(driver, address)
    draw_everything(driver)
    driver.execute_script(
        'window.dispatchEvent(new Event("beforeprint")); window.dispatchEvent(new Event("afterprint"))'
    )
    messages = [json.loads(entry['message'])['message'] for entry in driver.get_log('performance')]
    asked = [m['params']['request']['url'] for m in messages if m['method'] == 'Network.requestWillBeSent']
    assert asked
    assert [url for url in asked if not url.startswith(('file:', 'data:', 'blob:'))] == []
    assert [url for url in asked if url.startswith('file:')] == [address]
    assert driver.get_log('browser') == []
    drawn = driver.execute_script("return document.querySelectorAll('.plot .main-svg').length")
    assert drawn >= driver.execute_script("return document.querySelectorAll('.plot').length") > 20


def test_every_section_and_its_link_are_there(opened):
    sections = opened.execute_script("return [...document.querySelectorAll('main > section')].map(s => s.id)")
    assert sections[0] == 'verdict'
    assert len(sections) == len(set(sections)) > 6
    links = opened.execute_script("return [...document.querySelectorAll('nav ol a')].map(a => a.getAttribute('href'))")
    assert links == [f'#{name}' for name in sections]


def test_everything_seen_has_words(opened):
    without = opened.execute_script(
        "return [...document.querySelectorAll('img')].filter(i => !i.alt).length"
        " + [...document.querySelectorAll('.plot')].filter(p => !p.getAttribute('aria-label')).length"
    )
    assert without == 0


def test_slider_changes_the_numbers(opened, hostile):
    names = ('value', 'accepted', 'rejected', 'errors', 'risk', 'caught', 'lost')
    move = (
        "const s = document.getElementById('threshold-slider'); s.value = arguments[0] ? s.max : 0;"
        "s.dispatchEvent(new Event('input'))"
    )
    opened.execute_script(move, False)
    loose = {name: text_of(opened, f'threshold-{name}') for name in names}
    opened.execute_script(move, True)
    strict = {name: text_of(opened, f'threshold-{name}') for name in names}
    assert all(loose[name] != strict[name] for name in names)
    total, errors = len(hostile.test.correct), int((~hostile.test.correct).sum())
    assert loose['accepted'].replace('\u202f', '').startswith(f'{total} (100.0%')
    assert loose['errors'] == f'{errors} of {errors}'
    assert loose['rejected'].startswith('0 ')
    opened.execute_script(
        "const s = document.getElementById('threshold-score'); s.value = 'max_logit';"
        "s.dispatchEvent(new Event('change'))"
    )
    assert float(text_of(opened, 'threshold-value')) > 1


def test_legend_switches_a_line_in_all_three_figures(opened):
    figures = ('risk_coverage', 'roc', 'precision_recall_error')
    visible = 'return document.querySelector(`[data-figure=${arguments[0]}]`).data[2].visible'
    for name in figures:
        opened.execute_script(
            "document.getElementById(arguments[0]).scrollIntoView({behavior: 'instant'})", f'figure-{name}'
        )
        wait_for(opened, f"return document.querySelector('[data-figure={name}]').data !== undefined")
    before = [opened.execute_script(visible, name) for name in figures]
    opened.execute_script("document.querySelectorAll('.legend button')[2].click()")
    after = [opened.execute_script(visible, name) for name in figures]
    assert before == [True] * 3
    assert after == [False] * 3


def test_table_sorts_both_ways_and_keeps_undefined_last(opened):
    column = "return [...document.querySelectorAll('#table-confusions tbody tr')].map(r => r.cells[1].dataset.sort * 1)"
    click = "document.querySelectorAll('#table-confusions thead button')[1].click()"
    before = opened.execute_script(column)
    opened.execute_script(click)
    falling = opened.execute_script(column)
    opened.execute_script(click)
    rising = opened.execute_script(column)
    assert falling == sorted(before, reverse=True)
    assert rising == sorted(before)
    sorted_by = opened.execute_script(
        "return document.querySelectorAll('#table-confusions th')[1].getAttribute('aria-sort')"
    )
    assert sorted_by == 'ascending'


def test_hostile_class_name_shows_as_text_and_never_runs(opened):
    rows = opened.execute_script(
        "return [...document.querySelectorAll('#table-classes tbody th')].map(c => c.textContent)"
    )
    assert EVIL in rows
    opened.execute_script("document.getElementById('figure-confusion_matrix').scrollIntoView({behavior: 'instant'})")
    wait_for(opened, "return document.querySelector('#figure-confusion_matrix .ytick') !== null")
    ticks = opened.execute_script(
        "return [...document.querySelectorAll('#figure-confusion_matrix .ytick text')].map(t => t.textContent)"
    )
    assert any(tick.startswith('<script>alert(1)') for tick in ticks)
    assert opened.execute_script("return document.querySelectorAll('main script').length") == 0
    heading = opened.execute_script("return document.querySelector('h1').textContent")
    assert heading == f'digits{EVIL}'


def test_injected_script_would_not_run(opened):
    ran = opened.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.injected = 1';"
        'document.body.append(s); return window.injected === undefined'
    )
    assert ran
    opened.get_log('browser')


@pytest.mark.parametrize('width', [360, 900])
def test_no_width_scrolls_sideways(driver, address, width):
    resize(driver, width)
    open_page(driver, address)
    if width < 600:
        draw_everything(driver)
    assert driver.execute_script('return document.documentElement.scrollWidth') <= width


def test_dark_follows_the_reader_and_the_button(driver, address):
    resize(driver, 1280, dark=True)
    open_page(driver, address)
    background = 'return getComputedStyle(document.body).backgroundColor'
    assert driver.execute_script(background) == 'rgb(20, 24, 27)'
    driver.execute_script("document.getElementById('figure-risk_coverage').scrollIntoView({behavior: 'instant'})")
    wait_for(driver, "return document.querySelector('[data-figure=risk_coverage]').data !== undefined")
    line = "return document.querySelector('[data-figure=risk_coverage]').data[0].line.color"
    assert driver.execute_script(line) == '#4DA6E0'
    driver.execute_script("document.getElementById('theme').click()")
    assert driver.execute_script(background) == 'rgb(253, 253, 252)'
    assert driver.execute_script(line) == '#0072B2'


def test_print_fits_a_page_in_light_colors(driver, address):
    resize(driver, 1280, dark=True)
    open_page(driver, address)
    driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    widths, undrawn, line = driver.execute_script(
        "return [[...document.querySelectorAll('.plot .main-svg')].map(s => s.clientWidth),"
        "document.querySelectorAll('.plot:not([data-theme=print])').length,"
        "document.querySelector('[data-figure=risk_coverage]').data[0].line.color]"
    )
    assert 0 < max(widths) <= 680
    assert undrawn == 0
    assert line == '#0072B2'


def test_large_page_opens_in_two_seconds(driver, large, tmp_path):
    resize(driver, 1280)
    address = report.build(large, tmp_path, png=False).as_uri()
    times = []
    for _ in range(3):
        driver.get(address)
        times.append(driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(times) < 2000


def test_pngs_are_written(tmp_path):
    pytest.importorskip('kaleido', reason='needs kaleido: pip install failpred_jax[png]')
    from failpred_jax.report import export, figures_scores

    figure = figures_scores.risk_coverage({'<b>x</b>': ([0.5, 1], [0.1, 0.2])})
    (path,) = export.write_pngs({'risk_coverage': figure}, tmp_path / 'figures')
    assert path.read_bytes().startswith(b'\x89PNG')
    assert path.stat().st_size > 5000


def test_a_screenshot_without_a_window_shows_the_figures(hostile, tmp_path):
    page = report.build(hostile, tmp_path / 'shown', png=False)
    without = tmp_path / 'hidden.html'
    without.write_text(page.read_text().replace('</head>', '<style>.plot { visibility: hidden }</style></head>'))
    words = [*FLAGS, f'--user-data-dir={tmp_path / "profile"}', '--window-size=1280,9000', '--hide-scrollbars']
    found = []
    for address in (page, without):
        file = tmp_path / f'{address.stem}.png'
        asked = [BROWSER, *words, f'--screenshot={file}', address.as_uri()]
        subprocess.run(asked, check=True, capture_output=True, timeout=120)
        with Image.open(file) as picture:
            found.append(np.asarray(picture.convert('RGB')))
    rows = (found[0] != found[1]).any(axis=(1, 2))
    # The curves alone are some 800 points high.
    assert rows.sum() > 1500


def test_a_long_table_scrolls_on_the_page_and_is_whole_on_paper(opened):
    cut = (
        "const frame = document.querySelector('.scroll'); frame.classList.add('tall'); const row ="
        "frame.querySelector('tbody tr'); for (let i = 0; i < 60; i++) row.after(row.cloneNode(true));"
        'return frame.scrollHeight > frame.clientHeight + 1'
    )
    assert opened.execute_script(cut)
    opened.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print'})
    try:
        whole = "const f = document.querySelector('.scroll.tall'); return f.scrollHeight <= f.clientHeight + 1"
        assert opened.execute_script(whole)
    finally:
        opened.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': ''})
