"""docs/results.md and the table of the README, from what runs measured: no figure in them is typed but the paper's.

    python -m benchmarks.results keep WORKDIR NAME --title='MNIST, ...'    # a finished run into docs/results/NAME.json
    python -m benchmarks.results write                                     # both pages from docs/results/

A part of the page is docs/results/NAME.json, docs/results/NAME.md (words that go with it), or both, in the order of
their names. `keep` takes what the tables need, with the command, the machine, the seeds, the date and the seconds.
"""

import argparse
import dataclasses
import json
import platform
import re
from pathlib import Path
from typing import Any

from failpred_jax.evaluate import seeds as over_seeds
from failpred_jax.evaluate import table
from failpred_jax.metrics import compared, main_columns
from failpred_jax.registry import METRICS
from failpred_jax.results import Evaluation, read_evaluation
from failpred_jax.results.codec import measures_from_json, measures_to_json, run_from_json, run_to_json
from failpred_jax.results.measures import SeedsSummary
from failpred_jax.results.shifted import read_shifted

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
INTRODUCTION = """# Results

What was run, with the command, the hardware, the seeds and the date. Nothing else is claimed. This page is written by
`python -m benchmarks.results write` from `docs/results/`: tables come from the runs' own files, and only the words
between them are typed. Values are percent unless marked otherwise.
"""
DIGITS = 6
# The table of the README: the run, its scores by what they are called there, and what the paper's table 1 has for them.
SHOWN = '10_mnist_mlp'
RECIPE_METRICS = ('aurc', 'auroc', 'fpr_at_95tpr', 'aupr_error')
METRICS_SHOWN = ('fpr_at_95tpr', 'aupr_error', 'auroc', 'aurc')
SCORES_SHOWN = {
    'mcp': ('MCP', (14.87, 37.70, 97.13)),
    'mc_dropout': ('MC-dropout', ()),
    'mc_dropout_logit_entropy': ("MC-dropout, the paper's variant", (15.15, 38.22, 97.15)),
    'trust_score': ('Trust Score', ()),
    'trust_score_reference': ("Trust Score, the paper's variant", (12.31, 52.18, 97.52)),
    'confidnet': ('ConfidNet', (11.79, 57.37, 97.83)),
    'ensemble': ('ensemble of the three', ()),
    'fusion': ('fusion of all scores', ()),
}
FIRST, LAST = '<!-- python -m benchmarks.results write -->\n', '<!-- end -->\n'


def keep(workdir: Path, title: str) -> dict[str, Any]:
    """Return what the page needs of a finished run, of one seed or of several."""
    found = read_evaluation(workdir / 'evaluation')
    context = run_to_json(found.run)
    about = {key: context[key] for key in ('mode', 'created', 'dataset', 'interval')}
    scores = {
        name: {key: score[key] for key in ('role', 'estimates')}
        for name, score in context['definitions']['scores'].items()
        if name in found.measures.scores
    }
    seeds = [one.seed for one in found.seeds]
    folders = {seed: workdir / f'seed_{seed}' for seed in seeds} if seeds else {found.run.config['seed']: workdir}
    environment = json.loads((folders[next(iter(folders))] / 'environment.json').read_text())
    return rounded(
        {
            'title': title,
            'command': _command(environment['command']),
            **machine(environment),
            'run': {**about, 'definitions': {'scores': scores}},
            'seeds': {str(seed): one_seed(folder) for seed, folder in folders.items()},
            'measures': measures(found, found.measures.seeds),
            'shifts': _shifts(folders),
        }
    )


def _shifts(folders: dict[int, Path]) -> dict[str, Any]:
    """Return table -> column -> score -> what the seeds have, of the shifted sets that all of them measured."""
    found = [read_shifted(folder / 'shift') for folder in folders.values()]
    if not all(found):
        return {}
    tables: dict[str, Any] = {'auroc': {}, 'aurc': {}}
    every = [{one.name: one for one in shifted.sets} for shifted in found if shifted is not None]
    for name, first in every[0].items():
        if not all(name in of_seed for of_seed in every):
            continue
        settings = ('strangers', 'joint_10') if first.is_strangers else ('errors',)
        for setting in settings:
            metric = 'aurc' if setting == 'joint_10' else 'auroc'
            tables[metric][f'{name}{" 10 %" if setting == "joint_10" else ""}'] = {
                score: [of_seed[name].scores[score][setting].metrics[metric] for of_seed in every]
                for score in first.scores
                if all(setting in of_seed[name].scores.get(score, {}) for of_seed in every)
            }
    return tables


def measures(found: Evaluation, summary: SeedsSummary | None) -> dict[str, Any]:
    """Return metrics.json without what no table of the page shows; of several seeds, their summary."""
    value = measures_to_json(dataclasses.replace(found.measures, seeds=summary))
    if summary is not None:
        figures = value['seeds']
        figures.pop('calibration', None)
        shown = {metric.name for metric in main_columns()}
        for rows in figures['scores'].values():
            for name in rows.keys() - shown:
                del rows[name]
        return {'seeds': figures}
    for name in ('comparisons', 'per_class', 'own'):
        value.pop(name, None)
    for score in value['scores'].values():
        score.pop('ci', None)
    return value


def one_seed(folder: Path) -> dict[str, Any]:
    """Return the size and the seconds of one seed's run."""
    found = read_evaluation(folder / 'evaluation')
    context = json.loads((folder / 'evaluation' / 'context.json').read_text())
    classifier = found.measures.classifier
    return {
        'accuracy': classifier.metrics['accuracy'],
        'errors': classifier.num_errors,
        'units': classifier.num_units,
        'train_errors': None if found.run.train_targets is None else found.run.train_targets.num_errors,
        'stages': {
            stage.name: {'steps': stage.num_steps, 'best_step': stage.best_step, 'seconds': stage.seconds}
            for stage in found.run.stages
        },
        'evaluation_seconds': sum(context.get('seconds', {}).values()),
    }


def _command(line: str) -> str:
    """Return the command without what belongs to one machine: where the program, the data and the WORKDIR lie."""
    words = [w for w in line.split()[1:] if not re.match(r'--(workdir|config\.data\.tfds\.data_dir)=', w)]
    return ' '.join(['python -m failpred_jax.main', *words])


def machine(environment: dict[str, Any]) -> dict[str, Any]:
    """Return on what a run ran, from its environment.json."""
    return {
        'machine': f'{environment["processors"]} cores of {_processor()}, {environment["devices"]}',
        'versions': {name: environment['versions'][name] for name in ('jax', 'flax', 'optax')},
    }


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*: (.*)', info.read_text()) if info.exists() else None
    return found.group(1) if found else platform.processor()


def rounded(value: Any) -> Any:
    """Return a tree of results with numbers as the page keeps them."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f'{value:.{DIGITS}g}') if isinstance(value, float) else value


def page(folder: Path) -> str:
    """Return the page from the parts in a folder."""
    names = sorted({file.stem for file in folder.iterdir() if file.suffix in ('.json', '.md')})
    parts = [INTRODUCTION]
    for name in names:
        kept, words = folder / f'{name}.json', folder / f'{name}.md'
        if kept.exists():
            parts.append(section(json.loads(kept.read_text())))
        if words.exists():
            parts.append(words.read_text())
    return '\n'.join(part.strip() + '\n' for part in parts)


def section(kept: dict[str, Any]) -> str:
    """Return the part of the page about one kept run, or about several recipes."""
    return _recipes(kept) if 'recipes' in kept else _run(kept)


def _title(kept: dict[str, Any]) -> list[str]:
    versions = ', '.join(f'{name} {version}' for name, version in kept['versions'].items())
    return [
        f'## {kept["title"]}',
        '',
        f'`{kept["command"]}`, {kept["machine"]}, {versions}, {kept["run"]["created"][:10]}.',
        '',
    ]


def _recipes(kept: dict[str, Any]) -> str:
    """Return the table of recipes and of the scores that each was measured with."""
    rows, metrics = [], [METRICS[name] for name in RECIPE_METRICS]
    for name, measured in kept['recipes'].items():
        summary = measures_from_json(measured).seeds
        if summary is None:
            raise SystemExit(f'the recipe {name} is of one seed; the table shows several')
        accuracy = summary.classifier['accuracy']
        for score, figures in summary.scores.items():
            # As P(correct), before any calibration.
            calibration = summary.calibrated.get(score, {}).get('before', {}).get('ece')
            rows.append(
                [
                    *(name, f'{accuracy.mean:.2%} ± {accuracy.std:.2%}', score),
                    *(over_seeds.cell(figures.get(metric.name), metric) for metric in metrics),
                    over_seeds.cell(calibration, METRICS['ece']),
                ]
            )
    head = ['recipe', 'accuracy', 'score', *map(table.heading, [*metrics, METRICS['ece']])]
    seeds = ', '.join(map(str, kept['seeds']))
    words = f'Mean ± standard deviation over seeds {seeds} (percent, unless marked otherwise):'
    return '\n'.join([*_title(kept), words, '', *table.rule_table(head, rows), ''])


def _run(kept: dict[str, Any]) -> str:
    run, _ = run_from_json(kept['run'])
    measures = measures_from_json(kept['measures'])
    seeds = kept['seeds']
    head = ['seed', 'accuracy', 'test errors', 'training errors', *(f'{s}, s' for s in _stages(seeds)), 'evaluation, s']
    rows = [
        [
            seed,
            f'{one["accuracy"]:.2%}',
            f'{one["errors"]:,} of {one["units"]:,}',
            '-' if one['train_errors'] is None else f'{one["train_errors"]:,}',
            *(f'{one["stages"][stage]["seconds"]:,.0f}' for stage in _stages(seeds)),
            f'{one["evaluation_seconds"]:,.0f}',
        ]
        for seed, one in seeds.items()
    ]
    lines = [*_title(kept), *table.rule_table(head, rows), '']
    shifts = _shift_tables(kept.get('shifts', {}))
    if measures.seeds is not None:
        return '\n'.join(lines) + '\n' + over_seeds.to_markdown(measures.seeds, run) + _wins(measures.seeds) + shifts
    return '\n'.join(lines) + '\n' + table.to_markdown(measures, run) + shifts


def _shift_tables(shifts: dict[str, Any]) -> str:
    """Return the tables of shifted sets: mean and standard deviation over seeds; '' without any."""
    titles = {
        'auroc': 'Shifted inputs, AUROC of finding the strangers, or the errors among shifted images of known classes:',
        'aurc': 'AURC where errors and strangers are to be rejected, and strangers make 10 %:',
    }
    lines = []
    for metric, columns in shifts.items():
        if not columns:
            continue
        scores = list(dict.fromkeys(score for of in columns.values() for score in of))
        rows = [[n, *(over_seeds.cell(_spread(of.get(n)), METRICS[metric]) for of in columns.values())] for n in scores]
        lines += ['', titles[metric], '', *table.rule_table([f'{table.heading(METRICS[metric])}', *columns], rows)]
    return '\n'.join(lines) + '\n' if lines else ''


def _spread(values: list[float] | None) -> Any:
    return None if values is None else over_seeds.spread_of(values)


def _stages(seeds: dict[str, Any]) -> list[str]:
    return list(next(iter(seeds.values()))['stages'])


def _wins(summary: Any) -> str:
    """Return in how many seeds each score is better than the reference; '' with nothing to compare."""
    rows = {}
    for row in summary.paired:
        rows.setdefault(row.a, {})[row.metric] = f'{round(2 * row.a_wins * row.num_seeds) / 2:g}'
    if not rows:
        return ''
    metrics = [metric for metric in compared() if any(metric.name in found for found in rows.values())]
    head = [f'better than {summary.paired[0].b}', *(metric.label for metric in metrics)]
    body = [[name, *(found.get(metric.name, '-') for metric in metrics)] for name, found in rows.items()]
    title = f'In how many of {len(summary.seeds)} seeds (a tie counts one half):'
    return '\n'.join(['', title, '', *table.rule_table(head, body), ''])


def readme(text: str, kept: dict[str, Any]) -> str:
    """Return the README with its table of results made anew."""
    summary = measures_from_json(kept['measures']).seeds
    if summary is None:
        raise SystemExit(f'docs/results/{SHOWN}.json is of one seed; the README shows several')
    scores = summary.scores
    metrics = [METRICS[name] for name in METRICS_SHOWN]
    rows = []
    for name, (called, paper) in SCORES_SHOWN.items():
        beside = [f' ({value:.2f})' for value in paper]
        cells = [over_seeds.cell(scores[name].get(metric.name), metric) for metric in metrics]
        rows.append([called, *(c + b for c, b in zip(cells, [*beside, *[''] * len(cells)], strict=False))])
    made = '\n'.join(table.rule_table(['', *map(table.heading, metrics)], rows)) + '\n'
    before, found, rest = text.partition(FIRST)
    if not found:
        raise SystemExit(f'README.md has no line {FIRST.strip()}')
    return before + FIRST + made + LAST + rest.partition(LAST)[2]


def write(name: str = '', kept: dict[str, Any] | None = None) -> None:
    """Write what was kept, if anything, as docs/results/NAME.json, and both pages."""
    if kept is not None:
        (DOCS / 'results' / f'{name}.json').write_text(json.dumps(kept, ensure_ascii=False) + '\n')
    (DOCS / 'results.md').write_text(page(DOCS / 'results'))
    file, shown = ROOT / 'README.md', json.loads((DOCS / 'results' / f'{SHOWN}.json').read_text())
    file.write_text(readme(file.read_text(), shown))


def main() -> None:
    """Keep a run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='what', required=True)
    one = commands.add_parser('keep', help='a finished run into docs/results/NAME.json')
    one.add_argument('workdir', type=Path)
    one.add_argument('name')
    one.add_argument('--title', required=True)
    commands.add_parser('write', help='docs/results.md from docs/results/')
    args = parser.parse_args()
    if args.what == 'keep':
        write(args.name, keep(args.workdir, args.title))
    else:
        write()


if __name__ == '__main__':
    main()
