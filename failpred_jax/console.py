"""What is said to people: plain sentences, once for the whole job."""

import sys

import tqdm

from failpred_jax import processes

_told: set[str] = set()


def say(text: str) -> None:
    """Print a line, once for the whole job, without breaking a progress bar."""
    if processes.is_main_process():
        tqdm.tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


def say_once(text: str) -> None:
    """Print a line the first time it is said in this process."""
    if text not in _told:
        _told.add(text)
        say(text)
