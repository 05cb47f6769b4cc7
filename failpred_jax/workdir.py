"""The WORKDIR of a run: whose it is, who may write to it, and what made it."""

import datetime
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from failpred_jax import config as config_lib
from failpred_jax import devices, files, processes
from failpred_jax.config import Config
from failpred_jax.errors import UserError
from failpred_jax.files import read_json, write_json
from failpred_jax.locking import LOCK, LockedFolder

_PACKAGES = (
    'failpred_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scikit-learn',
    'tensorflow-datasets', 'clu', 'plotly',
)  # fmt: skip

# What a run writes into its WORKDIR before it knows that it can start.
PREPARED = ('config.json', 'environment.json', 'split.npz', 'data.json')
# The config that a stage was trained with, in its folder.
TRAINED_WITH = 'trained_with.json'
STAGE_FOLDERS = ('baseline', 'confidence', 'finetune', 'crossfit')


class Workdir:
    """The WORKDIR of a run that this process has locked; give it back with `close`, or as it was with `undo`.

    It belongs to the config that something was trained with in it; until then, any config may take it. With `force`,
    whatever it holds is moved aside first: nothing is ever deleted.

    Raises:
      UserError: it cannot be made or written, another run is using it, or it belongs to another config.
    """

    def __init__(self, path: Path, config: Config, force: bool = False):
        self.path = path
        self._folder: LockedFolder | None = None
        self._before: dict[str, bytes | None] = {}
        self._trained: frozenset[str] = frozenset()
        processes.from_main(lambda: self._take(config_lib.to_dict(config), force))

    def _take(self, config: dict[str, Any], force: bool) -> None:
        folder = self._folder = LockedFolder(self.path)
        try:
            self._check_contents(config, folder, force)
            files.sweep(self.path)
            self._before = {name: _content(self.path / name) for name in PREPARED}
            self._trained = _marks_of_training(self.path)
            write_json(self.path / 'config.json', config)
        except BaseException:
            folder.undo()
            raise

    def _contents(self) -> list[str]:
        # What --mode=check leaves is of no run.
        return sorted(
            p.name
            for p in self.path.iterdir()
            if p.name != LOCK and not files.is_unfinished(p) and not re.fullmatch(r'check(_\d+)?', p.name)
        )

    def _check_contents(self, config: dict[str, Any], folder: LockedFolder, force: bool) -> None:
        file, contents = self.path / 'config.json', self._contents()
        if contents and force:
            folder.move_aside()
        elif contents and not file.exists():
            raise UserError(
                f"the WORKDIR '{self.path}' is not empty and holds no run ({', '.join(contents[:5])}); choose "
                'another with --workdir=DIR, or move what is there aside with --force'
            )
        elif file.exists() and has_trained(self.path):
            self._compare(file, config)
        elif file.exists() and not self._is_made_by(config):
            for name in _of_stages(contents):
                shutil.rmtree(self.path / name)
            for name in ('split.npz', 'data.json'):
                (self.path / name).unlink(missing_ok=True)

    def _is_made_by(self, config: dict[str, Any]) -> bool:
        try:
            return read_json(self.path / 'config.json') == config
        except ValueError:
            return False

    def _compare(self, file: Path, config: dict[str, Any]) -> None:
        try:
            there = read_json(file)
        except ValueError as error:
            raise UserError(f'{file} cannot be read ({error}); restore it, or start afresh with --force') from error
        self._check_number_of_seeds(there, config)
        if config['seeds']:
            # Each seed's folder has its own.
            there = {**there, 'seed': config['seed']}
        changed = config_lib.obstacles(there, config)
        if changed:
            raise UserError(
                '\n'.join(
                    [
                        f"the WORKDIR '{self.path}' was made by another config:",
                        *(f'  - {line}' for line in changed),
                        'choose another with --workdir=DIR, or move the old one aside with --force',
                    ]
                )
            )
        for folder in (self.path / name for name in STAGE_FOLDERS):
            # Older versions did not say it in the folder of each stage.
            if folder.is_dir() and not (folder / TRAINED_WITH).exists():
                write_json(folder / TRAINED_WITH, there)

    def _check_number_of_seeds(self, there: dict[str, Any], config: dict[str, Any]) -> None:
        """Refuse a run of one seed where there is one of several, and the other way round; more or fewer are fine."""
        if there.get('seeds') and not config['seeds']:
            raise UserError(
                f"the WORKDIR '{self.path}' holds a run of several seeds ({', '.join(map(str, there['seeds']))}), each "
                'in a folder that is a run of its own; give --workdir=DIR/seed_K, or choose another with --workdir=DIR'
            )
        if config['seeds'] and not there.get('seeds'):
            raise UserError(
                f"the WORKDIR '{self.path}' holds a run of one seed, {there['seed']}; to make it one of several, move "
                f"what it holds into a new folder 'seed_{there['seed']}' in a new WORKDIR, and name that with "
                '--workdir=DIR'
            )

    def undo(self) -> None:
        """Give the folder back as it was, if nothing was saved in it since; else do nothing."""
        if self._folder is None:
            return  # Another process has it.
        if self._before['config.json'] is not None:
            if _marks_of_training(self.path) != self._trained:
                return  # It has trained as the new config says.
            for name, content in self._before.items():
                if content is not None and content != _content(self.path / name):
                    with files.whole_file(self.path / name) as file:
                        file.write(content)
        elif not any(self.path.rglob('checkpoints/*')) and not self._others():
            for name in _of_stages(self._contents()):
                shutil.rmtree(self.path / name)
            for name in PREPARED:
                (self.path / name).unlink(missing_ok=True)
            self._folder.undo()

    def _others(self) -> list[str]:
        """Return what the folder holds besides what a run leaves in it before its first checkpoint."""
        ours = {*PREPARED, *_of_stages(self._contents())}
        return [name for name in self._contents() if name not in ours]

    def close(self) -> None:
        """Unlock the folder."""
        if self._folder is not None:
            self._folder.close()


def has_trained(workdir: Path) -> bool:
    """Return whether anything in a WORKDIR was trained or imported: a checkpoint after step 0, or what needs one."""
    if any(workdir.rglob('result.json')) or (workdir / 'evaluation').exists():
        return True
    # A damaged one, which was set aside, still has its number in front.
    steps = (re.match(r'\d+', path.name) for path in workdir.rglob('checkpoints/*'))
    return any(step and int(step[0]) > 0 for step in steps)


def _marks_of_training(workdir: Path) -> frozenset[str]:
    found = (*workdir.rglob('checkpoints/*'), *workdir.rglob('result.json'))
    return frozenset(str(path) for path in found)


def _of_stages(names: Iterable[str]) -> list[str]:
    """Return those of the names that are folders of stages, or of the seeds that have them."""
    return [name for name in names if name in STAGE_FOLDERS or re.fullmatch(r'seed_\d+', name)]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def read_record(file: Path) -> Any:
    """Return the content of a JSON file of a WORKDIR, on every process; None if it is not there."""

    def read() -> Any:
        try:
            return read_json(file) if file.exists() else None
        except ValueError as error:
            raise UserError(f'{file} cannot be read ({error}); restore it, or start afresh with --force') from error

    return processes.from_main(read)


def environment() -> dict[str, Any]:
    """Return versions, devices and commit, for environment.json."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = 'not installed'
    return {
        'python': platform.python_version(),
        'platform': platform.platform(),
        'processors': os.cpu_count(),
        'devices': devices.describe(),
        'git_commit': _git_commit(),
        'command': ' '.join(sys.argv),
        'created': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'versions': versions,
    }


def _git_commit() -> str:
    """Return the commit of the package's own checkout, with '+' if it has changes; 'unknown' outside of one."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent
        done = subprocess.run(['git', '-C', folder, *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        # A package inside somebody else's repository is not that repository's commit.
        if not git('ls-files', __file__):
            return 'unknown'
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
