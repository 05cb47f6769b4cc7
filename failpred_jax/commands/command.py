"""What a command is: its flags, its checks, its help and what it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failpred_jax.errors import UserError


@dataclass(frozen=True)
class Flag:
    """A flag of the command line, written --name=value.

    Attributes:
      name: without dashes.
      kind: str, int, float or bool.
      default: its value if it is not given.
      value: what to write for the value in the help, such as 'FILE'; '' for a bool.
      help: what it does, in one or more lines.
    """

    name: str
    kind: type
    default: Any
    value: str
    help: str


@dataclass(frozen=True)
class Given:
    """What the command line gives a command.

    Attributes:
      mode: the command's name.
      flags: every flag of the command and every shared one -> its value.
      config: the experiment, as its config file returns it; None if --config is missing.
      config_name: name of the config file without .py; '' if --config is missing.
    """

    mode: str
    flags: Mapping[str, Any]
    config: Any
    config_name: str

    @property
    def workdir(self) -> Path:
        """The WORKDIR: --workdir, or runs/NAME for NAME.py."""
        return Path(self.flags['workdir'] or Path('runs') / self.config_name)


def no_check(given: Given) -> None:
    """Accept whatever is given."""


@dataclass(frozen=True)
class Command:
    """One value of --mode.

    Attributes:
      summary: what it does, in one line of the help.
      run: does it; called on every process of a job, after all have joined. Imports what is slow itself.
      flags: those that it alone has. Two commands may share a Flag by naming the same one.
      instead: flag of other commands -> what to do here instead, in words.
      check: raises a UserError for flags that are not allowed together; called before anything slow is imported.
      needs_config: whether it works on the experiment of --config=FILE.
      can_force: whether --force makes sense: it writes a WORKDIR from nothing.
      needs_jax: whether it computes with JAX; what does not runs where JAX is not installed, and in one process.
    """

    summary: str
    run: Callable[[Given], None]
    flags: tuple[Flag, ...] = ()
    check: Callable[[Given], None] = no_check
    needs_config: bool = True
    can_force: bool = True
    needs_jax: bool = True
    instead: Mapping[str, str] = field(default_factory=dict)

    def check_given(self, given: Given) -> None:
        """Raise a UserError if the command cannot start from what is given."""
        if self.needs_config and given.config is None:
            raise UserError(
                '--config=FILE is missing; name the experiment, such as --config=configs/digits.py, or an example that '
                'comes with the package, such as --config=digits'
            )
        if given.flags['force'] and not self.can_force:
            raise UserError(
                f'--force starts a run afresh, but --mode={given.mode} works on a finished one; leave it out'
            )
        self.check(given)
