"""The WORKDIR of a run: whose it is, who may write to it, and what made it."""

import datetime
import fcntl
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from failpred_jax import config as config_lib
from failpred_jax import devices, files, processes
from failpred_jax.config import Config
from failpred_jax.errors import UserError
from failpred_jax.files import read_json, write_json

_PACKAGES = (
    'failpred_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scikit-learn',
    'tensorflow-datasets', 'clu', 'plotly',
)  # fmt: skip

# What a run writes into its WORKDIR before it knows that it can start.
PREPARED = ('config.json', 'environment.json', 'split.npz')


class Workdir:
    """A WORKDIR that this process has locked; give it back with `close`, or as it was with `undo`.

    With `force`, whatever it holds is moved aside first: nothing is ever deleted.

    Raises:
      UserError: it cannot be made or written, another run is using it, or it belongs to another config.
    """

    def __init__(self, path: Path, config: Config, force: bool = False):
        self.path = path
        self._lock: Any = None
        self._moved_to: Path | None = None
        self._is_new_folder = False
        self._before: dict[str, bytes | None] = {}
        processes.from_main(lambda: self._take(config_lib.to_dict(config), force))

    def _take(self, config: dict[str, Any], force: bool) -> None:
        self._make()
        is_new_lock = not (self.path / '.lock').exists()
        self._take_lock()
        try:
            self._check_config(config, force)
            files.sweep(self.path)
        except BaseException:
            self.close()
            if is_new_lock and not self._moved_to:
                # It may be somebody's folder of something else.
                (self.path / '.lock').unlink()
            raise

    def _make(self) -> None:
        self._is_new_folder = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(self._unwritable(error)) from error

    def _unwritable(self, error: OSError) -> str:
        return (
            f"the WORKDIR '{self.path}' cannot be written: {error.strerror or error}; choose another with "
            '--workdir=DIR, or change its permissions'
        )

    def _take_lock(self) -> None:
        try:
            self._lock = (self.path / '.lock').open('a')
        except OSError as error:
            raise UserError(self._unwritable(error)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise UserError(
                f"another run is using the WORKDIR '{self.path}'; wait for it, or choose another with --workdir=DIR"
            ) from error
        except OSError:
            # Some network file systems have no locks; a run there is not refused for it.
            return

    def _check_config(self, config: dict[str, Any], force: bool) -> None:
        file = self.path / 'config.json'
        contents = sorted(p.name for p in self.path.iterdir() if p.name != '.lock' and not files.is_unfinished(p))
        if contents and force:
            self._move_aside()
        elif contents and not file.exists():
            raise UserError(
                f"the WORKDIR '{self.path}' is not empty and holds no run ({', '.join(contents[:5])}); choose "
                'another with --workdir=DIR, or move what is there aside with --force'
            )
        elif file.exists():
            self._compare(file, config)
        self._before = {name: _content(self.path / name) for name in PREPARED}
        write_json(file, config)

    def _compare(self, file: Path, config: dict[str, Any]) -> None:
        try:
            there = read_json(file)
        except ValueError as error:
            raise UserError(f'{file} cannot be read ({error}); restore it, or start afresh with --force') from error
        changed = config_lib.differences(there, config)
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

    def _move_aside(self) -> None:
        """Rename the folder to NAME.old-TIME and make it anew, keeping the lock."""
        stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
        target = self.path.with_name(f'{self.path.name}.old-{stamp}')
        number = 1
        while target.exists():
            target = self.path.with_name(f'{self.path.name}.old-{stamp}-{number}')
            number += 1
        self.path.rename(target)
        self._moved_to = target
        self.close()
        self._make()
        self._take_lock()
        print(f'moved the old WORKDIR to {target}')

    def undo(self) -> None:
        """Give the folder back as it was, if nothing was trained in it since; else do nothing.

        So whoever mends what was wrong can use the same WORKDIR, which would else belong to the wrong config.
        """
        if not processes.is_main_process():
            return
        if self._before['config.json'] is not None:
            for name, content in self._before.items():
                if content is not None and content != _content(self.path / name):
                    with files.whole_file(self.path / name) as file:
                        file.write(content)
        elif all(path.is_dir() or path.name in (*PREPARED, '.lock') for path in self.path.rglob('*')):
            for path in self.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != '.lock':
                    path.unlink()
            if self._is_new_folder or self._moved_to:
                shutil.rmtree(self.path)
            if self._moved_to:
                self._moved_to.rename(self.path)

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


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
