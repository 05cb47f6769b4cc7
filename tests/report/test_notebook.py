"""The notebook page's code runs, and shows three figures."""

import re
from pathlib import Path

import plotly.graph_objects as go

PAGE = Path(__file__).parents[2] / 'docs' / 'notebook.md'


def test_code_blocks_run_in_order(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(go.Figure, 'show', lambda figure: shown.append(figure))
    namespace = {}
    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.DOTALL)
    for block in blocks:
        exec(compile(block, str(PAGE), 'exec'), namespace)  # noqa: S102 - our own page
    assert len(shown) == 3
    assert all(len(figure.data) >= 2 for figure in shown)
    assert capsys.readouterr().out.startswith('expected calibration error 0.')
