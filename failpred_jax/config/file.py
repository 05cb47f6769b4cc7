"""The config file of an experiment: read, and what is wrong with it said with its line."""

import importlib.machinery
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_collections

from failpred_jax.errors import UserError, line_of

# The name that a config file has as a module.
_MODULE = 'failpred_config_file'


def load_config(path: str, argument: str | None) -> ml_collections.ConfigDict:
    """Return what get_config() of a config file returns, locked.

    Args:
      path: of the file, which is there.
      argument: what get_config is called with; None for nothing.

    Raises:
      UserError: it cannot be read, fails, takes another number of arguments, or returns something else.
    """
    try:
        loader = importlib.machinery.SourceFileLoader(_MODULE, path)
        module = ModuleType(_MODULE)
        module.__file__ = path
        # Where dataclasses look for it.
        sys.modules[_MODULE] = module
        loader.exec_module(module)
    except Exception as error:  # whatever a user's own file raises as it is read
        raise UserError(config_file_problem(error, path)) from error
    if not callable(getattr(module, 'get_config', None)):
        raise UserError(f"the config file '{path}' has no function get_config(); write one that returns a ConfigDict")
    arguments = () if argument is None else (argument,)
    _check_arguments(module.get_config, path, arguments)
    try:
        found = module.get_config(*arguments)
    except Exception as error:
        if isinstance(error, UserError) and Path(path).parent == Path(__file__).parent:
            # No file of the user's: what is wrong is a run whose options were asked for (plain.py).
            raise
        raise UserError(config_file_problem(error, path)) from error
    if isinstance(found, dict):
        found = ml_collections.ConfigDict(found)
    if not isinstance(found, ml_collections.ConfigDict):
        raise UserError(f"get_config() returned {type(found).__name__}; it must return a ConfigDict ('{path}')")
    return found.lock()


def config_file_problem(error: BaseException, file: str) -> str:
    """Return in which line of the config file it failed and why."""
    where = f"the config file '{file}' failed{line_of(error, file)}"
    # ConfigDict hands on what its keys raise as an AttributeError.
    ours = next((cause for cause in (error, *error.args) if isinstance(cause, UserError)), None)
    return f'{where}: {ours}' if ours else f'{where}: {type(error).__name__}: {error}'


def _check_arguments(get_config: Callable[..., Any], path: str, given: tuple[str, ...]) -> None:
    try:
        inspect.signature(get_config).bind(*given)
    except TypeError:
        if given:
            raise UserError(
                f"':{given[0]}' is given, but get_config() of the config file '{path}' takes no argument: it has no "
                f'recipes; write --config={path}'
            ) from None
        raise UserError(
            f"get_config() of the config file '{path}' needs an argument; write --config={path}:ARGUMENT"
        ) from None
