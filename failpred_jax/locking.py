"""A folder that one process has to itself, and how it is moved aside: nothing is ever deleted."""

import datetime
import fcntl
from pathlib import Path
from typing import IO

from failpred_jax.errors import UserError

LOCK = '.lock'


class LockedFolder:
    """A WORKDIR that this process has made, if it was not there, and locked; give it back with `close` or `undo`.

    Raises:
      UserError: it cannot be made or written.
      InUse: another process has it.
    """

    def __init__(self, path: Path):
        self.path = path
        # A WORKDIR may be a link to where there is room; the link is never touched.
        self._place = path.resolve()
        self._lock: IO[str] | None = None
        self.moved_to: Path | None = None
        self.is_new = not self._place.exists()
        self._has_new_lock = not (self._place / LOCK).exists()
        self._make()
        self._take()

    def _make(self) -> None:
        try:
            self._place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(self._unwritable(error)) from error

    def _unwritable(self, error: OSError) -> str:
        return (
            f"the WORKDIR '{self.path}' cannot be written: {error.strerror or error}; choose another with "
            '--workdir=DIR, or change its permissions'
        )

    def _take(self) -> None:
        try:
            lock = (self._place / LOCK).open('a')
        except OSError as error:
            raise UserError(self._unwritable(error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise InUse(
                f"another run is using the WORKDIR '{self.path}'; wait for it, or choose another with --workdir=DIR"
            ) from error
        except OSError:
            pass  # Some network file systems have no locks; a run there is not refused for it.
        self._lock = lock

    def move_aside(self) -> None:
        """Rename the folder to NAME.old-TIME and make it anew, keeping the lock; a link to it stays."""
        stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
        target = self._place.with_name(f'{self._place.name}.old-{stamp}')
        number = 1
        while target.exists():
            target = self._place.with_name(f'{self._place.name}.old-{stamp}-{number}')
            number += 1
        try:
            self._place.rename(target)
        except OSError as error:
            raise UserError(
                f"the WORKDIR '{self.path}' cannot be moved aside to '{target}': {error.strerror or error}; choose "
                'another with --workdir=DIR'
            ) from error
        self.moved_to = target
        self.close()
        self._make()
        self._take()
        print(f'moved the old WORKDIR to {target}')

    def undo(self) -> None:
        """Give the folder back as it was before it was locked; to be called while it holds nothing but the lock."""
        self.close()
        if self.is_new or self.moved_to or self._has_new_lock:
            # It may be somebody's folder of something else.
            (self._place / LOCK).unlink(missing_ok=True)
        if self.is_new or self.moved_to:
            self._place.rmdir()
        if self.moved_to:
            self.moved_to.rename(self._place)

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class InUse(UserError):  # noqa: N818  (a finding, which some callers get round)
    """Another process has locked the folder."""
