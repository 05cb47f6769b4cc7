"""What the command line asks for: a run of one seed or of several, or a part of one; then the report."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import ml_collections

from failpred_jax import compiler, processes
from failpred_jax.config import Config, read_config
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.evaluate.seeds import summarize_ensemble, summarize_evaluations, with_seeds
from failpred_jax.evaluate.seeds import to_markdown as seeds_to_markdown
from failpred_jax.evaluate.table import to_markdown
from failpred_jax.pipeline import Pipeline
from failpred_jax.predictions import score_file
from failpred_jax.results import Evaluation, read_results, write_evaluation
from failpred_jax.stopping import Stop
from failpred_jax.workdir import Workdir


def execute(
    given: ml_collections.ConfigDict,
    workdir: Path,
    mode: str = 'run',
    force: bool = False,
    stage: str | None = None,
    step: int | None = None,
    torch_checkpoint: str = '',
) -> None:
    """Do what the command line asks for.

    Args:
      given: the experiment, as a config file returns it.
      workdir: where the run lives.
      mode: 'run', 'train', 'evaluate', 'report' or 'import_torch'.
      force: move what the WORKDIR holds aside first.
      stage: evaluate the weights of this stage and those before it; None for all.
      step: evaluate this checkpoint of that stage; None for its best.
      torch_checkpoint: the file to import.

    Raises:
      UserError: something given is wrong, or the run cannot go on.
      Stopped: a signal asked to stop, and everything is saved.
    """
    config = read_config(given)
    if mode in ('evaluate', 'report') and not processes.from_main(lambda: (workdir / 'config.json').exists()):
        raise UserError(f"the WORKDIR '{workdir}' holds no run; --mode={mode} works on a finished one: train it first")
    if mode == 'report':
        _report(workdir)
        return
    if config.seeds and (stage or mode == 'import_torch'):
        raise UserError(
            '--stage and --mode=import_torch are for a run of one seed; give --config.seeds=() and one of its folders: '
            '--workdir=DIR/seed_K'
        )
    compiler.keep_compilations()
    stop = Stop()
    with stop.on_signal(), _given_back(Workdir(workdir, config, force)):
        if config.seeds:
            _execute_seeds(config, workdir, mode, stop)
        else:
            pipeline = Pipeline(config, workdir, stop)
            if mode == 'import_torch':
                pipeline.import_torch(torch_checkpoint)
            if mode in ('run', 'train'):
                pipeline.train()
            if mode in ('run', 'evaluate'):
                results = pipeline.evaluate(stage, step)
                _write(results, to_markdown(results.measures, results.run), workdir)
        if mode == 'run':
            _report(workdir)


@contextlib.contextmanager
def _given_back(folder: Workdir) -> Iterator[None]:
    """Unlock the folder at the end, and give it back as it was if what was asked for turned out to be wrong."""
    try:
        yield
    except (UserError, OSError):
        # The disk may be what is wrong.
        with contextlib.suppress(OSError):
            folder.undo()
        raise
    finally:
        folder.close()


def score(predictions: Path, workdir: Path) -> None:
    """Evaluate a file of anybody's predictions and build its report; see prediction_file.py.

    Raises:
      UserError: the file has problems, or the WORKDIR holds something else.
    """
    compiler.keep_compilations()
    # There is nothing to divide; the other processes of a job wait.
    processes.from_main(lambda: score_file(predictions, workdir))
    _report(workdir)


def _execute_seeds(config: Config, workdir: Path, mode: str, stop: Stop) -> None:
    """Run the pipeline once a seed, each in a folder of its own that is a run like any other, and sum them up."""
    parts = {}
    for seed in config.seeds:
        own = dataclasses.replace(config, seed=seed, seeds=())
        folder = workdir / f'seed_{seed}'
        Workdir(folder, own).close()
        parts[seed] = Pipeline(own, folder, stop)
        if mode in ('run', 'train'):
            say(f'seed {seed}:')
            parts[seed].train()
    if mode == 'train':
        return
    ensemble = None
    if next(iter(parts.values())).data.info.task == 'classification':
        ensemble = summarize_ensemble([pipeline.class_probs() for pipeline in parts.values()])
    found: dict[int, Evaluation] = {}
    for seed, pipeline in parts.items():
        say(f'seed {seed}:')
        found[seed] = pipeline.evaluate(ensemble=ensemble)
        _write(found[seed], to_markdown(found[seed].measures, found[seed].run), workdir / f'seed_{seed}')
    summary = summarize_evaluations(found, config.evaluate)
    _write(with_seeds(found, summary), seeds_to_markdown(summary, next(iter(found.values())).run), workdir)


def _write(results: Evaluation, table: str, workdir: Path) -> None:
    processes.from_main(lambda: write_evaluation(results, table, workdir / 'evaluation'))
    say(table)


def _report(workdir: Path) -> None:
    """Build the report from the evaluation folder alone."""
    processes.from_main(lambda: _build_report(workdir))


def _build_report(workdir: Path) -> None:
    results = read_results(workdir / 'evaluation')
    # plotly takes a second to import, and training does not need it.
    from failpred_jax import report

    say(f'report: {report.build(results, workdir / "report")}')
