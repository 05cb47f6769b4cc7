"""What the commands that work on a run share: opening it, and building its report."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from failpred_jax import compiler, processes
from failpred_jax.config import DecideConfig, read_config, read_decide
from failpred_jax.config.plain import decide_options_of
from failpred_jax.console import say
from failpred_jax.decided import FOLDER, decide_run, decide_seeds, read_seeds
from failpred_jax.decided import try_decisions as decided_try
from failpred_jax.errors import UserError
from failpred_jax.experiment import Experiment
from failpred_jax.files import read_json
from failpred_jax.results import read_evaluation
from failpred_jax.results.beside import files_beside, with_beside
from failpred_jax.results.decisions import POLICY
from failpred_jax.several_seeds import SeveralSeeds
from failpred_jax.shift.images import check_paths
from failpred_jax.stopping import Stop, Stopped
from failpred_jax.workdir import Workdir


@contextlib.contextmanager
def opened(
    given: Any, workdir: Path, force: bool = False, one_seed_for: str = ''
) -> Iterator[Experiment | SeveralSeeds]:
    """Yield a run, of one seed or of several as its config says, whose WORKDIR is locked until the block ends.

    If the block ends in an error before anything was trained, the WORKDIR is given back as it was.

    Args:
      given: the experiment, as a config file returns it.
      workdir: where the run lives.
      force: move what the WORKDIR holds aside first.
      one_seed_for: what was asked for that a run of several seeds cannot do; '' for nothing.

    Raises:
      UserError: something given is wrong, or the run cannot go on.
      Stopped: a signal asked to stop, and everything is saved.
    """
    config = read_config(given)
    if config.seeds and one_seed_for:
        raise UserError(
            f'{one_seed_for} is for a run of one seed, but config.seeds is {config.seeds}; give --config.seeds=() and '
            'one of its folders: --workdir=DIR/seed_K'
        )
    # Before the data are read, which may take long.
    processes.from_main(lambda: check_paths(config.evaluate.shifts))
    compiler.keep_compilations()
    stop = Stop()
    with stop.on_signal():
        folder = Workdir(workdir, config, force)
        try:
            yield SeveralSeeds(config, workdir, stop) if config.seeds else Experiment(config, workdir, stop)
        except (Exception, Stopped, KeyboardInterrupt):
            # The disk may be what is wrong.
            with contextlib.suppress(OSError):
                folder.undo()
            raise
        finally:
            folder.close()


def check_holds_run(workdir: Path, mode: str) -> None:
    """Raise a UserError if there is no run in the WORKDIR."""
    if not processes.from_main(lambda: (workdir / 'config.json').exists()):
        raise UserError(f"the WORKDIR '{workdir}' holds no run; --mode={mode} works on a finished one: train it first")


def decide_options(given: Any, workdir: Path | None, own: Mapping[str, Any]) -> DecideConfig:
    """Return the options of decisions: those of the config, or else those with which the WORKDIR's run was made.

    Args:
      given: the experiment, as a config file returns it; None without one.
      workdir: of a run; None where there is none.
      own: option -> value, which comes before.
    """
    options: Mapping[str, Any] = {}
    if given is not None:
        options = dataclasses.asdict(read_config(given).decide)
    elif workdir is not None:
        options = decide_options_of(workdir)
    return read_decide({**options, **own})


def decide(workdir: Path, options: DecideConfig, again: bool = True, is_asked: bool = True) -> bool:
    """Make the decisions of an evaluated run, or of each seed of several; see `decided`."""

    def make() -> bool:
        if seeds := _seeds_of(workdir):
            return decide_seeds(workdir, seeds, options, again, is_asked)
        return decide_run(workdir, options, again, is_asked)

    return processes.from_main(make)


def try_decisions(workdir: Path, options: DecideConfig, output: Path) -> None:
    """Make the decisions of an evaluated run into a folder elsewhere; see `decided`."""
    if _seeds_of(workdir):
        raise UserError('--output is for one run; name the folder of one of the seeds, --workdir=DIR/seed_0')
    processes.from_main(lambda: decided_try(workdir, options, output))


def _seeds_of(workdir: Path) -> tuple[int, ...]:
    """Return the seeds of a WORKDIR's run, as its config says; () for a run of one, or a file of predictions."""
    try:
        return tuple(map(int, read_json(workdir / 'config.json').get('seeds') or ()))
    except (OSError, ValueError, TypeError, AttributeError):
        return ()


def build_report(workdir: Path, again: bool = True) -> None:
    """Build the report from the evaluation folder alone.

    Args:
      workdir: holds the evaluation folder.
      again: also if there is a report that was built after the evaluation.
    """
    processes.from_main(lambda: _build_report(workdir, again))


def _build_report(workdir: Path, again: bool) -> None:
    page, metrics = workdir / 'report' / 'index.html', workdir / 'evaluation' / 'metrics.json'
    seeds = _seeds_of(workdir)
    policies = [workdir / f'seed_{seed}' / FOLDER / POLICY for seed in seeds]
    files = (metrics, *files_beside(workdir), *policies)
    made = max(path.stat().st_mtime_ns for path in files if path.exists())
    if not again and page.exists() and page.stat().st_mtime_ns >= made:
        say(f'report: {page}')
        return
    results = with_beside(read_evaluation(workdir / 'evaluation'), workdir)
    if seeds:
        results = dataclasses.replace(results, decisions=None, seed_decisions=read_seeds(workdir, seeds))
    # plotly takes a second to import, and training does not need it.
    from failpred_jax import report

    say(f'report: {report.build(results, workdir / "report")}')
