"""What is registered and what can be set, as tables. The documentation's tables are made by it.

python -m failpred_jax.catalog [KIND ...]: models, sources, classifier_losses, losses, optimizers, schedules, recipes,
scores, metrics, corruptions, options.
"""

import contextlib
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from failpred_jax.config import Config
from failpred_jax.config.owners import Entry, walk
from failpred_jax.errors import UserError, nearest
from failpred_jax.options import ANY
from failpred_jax.registry import (
    CLASSIFIER_LOSSES,
    CORRUPTIONS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    RECIPES,
    SCHEDULES,
    SCORES,
    SOURCES,
    Registry,
)

REGISTRIES = {
    'models': MODELS,
    'sources': SOURCES,
    'classifier_losses': CLASSIFIER_LOSSES,
    'losses': LOSSES,
    'optimizers': OPTIMIZERS,
    'schedules': SCHEDULES,
    'recipes': RECIPES,
    'scores': SCORES,
    'metrics': METRICS,
    'corruptions': CORRUPTIONS,
}
KINDS = (*REGISTRIES, 'options')


def table(kind: str) -> str:
    """Return the Markdown table of everything of a kind.

    Args:
      kind: one of KINDS.

    Raises:
      UserError: another kind.
    """
    if kind not in KINDS:
        raise UserError(f"there is no table of '{kind}'{nearest(kind, KINDS)} (allowed: {', '.join(KINDS)})")
    if kind == 'options':
        options = [
            (f'`{path}`', f'`{entry.default!r}`', _allowed(entry), entry.metadata['help'])
            for path, entry in walk(Config)
        ]
        return _markdown(('option', 'default', 'allowed', 'is'), options)
    registry = REGISTRIES[kind]
    return _markdown(
        (registry.kind, 'is', 'reference'), [(f'`{name}`', *_described(registry, name)) for name in registry]
    )


def _described(registry: Registry, name: str) -> tuple[str, str]:
    """Return (what an entry is, its reference), from what it declares or else from its docstring."""
    entry: Any = registry[name]
    texts = [inspect.getdoc(entry) or '']
    if registry in (MODELS, SOURCES, RECIPES, OPTIMIZERS, SCHEDULES):
        # One a file, which says what it is about.
        texts.insert(0, inspect.getdoc(inspect.getmodule(entry)) or '')
    is_ = getattr(entry, 'description', '') or getattr(entry, 'definition', '') or texts[0].split('\n\n')[0]
    references = [text.partition('Reference:')[2].split('\n\n')[0] for text in texts]
    reference = getattr(entry, 'reference', '') or next(filter(None, references), '')
    return ' '.join(is_.split()), ' '.join(reference.split())


def _allowed(entry: Entry) -> str:
    """Return what an option may be: its rule, or the type where any value of it is allowed."""
    rule = entry.metadata['rule']
    return getattr(entry.kind, '__name__', str(entry.kind)) if rule is ANY else rule.words()


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines)


def main(argv: Sequence[str]) -> int:
    """Print the tables of the given kinds, or of all, and return the exit code."""
    try:
        tables = [table(kind) for kind in argv[1:] or KINDS]
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    with contextlib.suppress(BrokenPipeError):
        # `| head` has read what it wanted.
        print('\n\n'.join(tables), flush=True)
        return 0
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
