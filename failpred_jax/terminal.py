"""The program's last message, on terminals and in logs of any encoding. Imports nothing slow.

console.py says what a run has to say; this module can be used before jax is loaded.
"""

import codecs
import contextlib
import io
import os
import sys
import unicodedata

# For output that is not UTF-8: a table is worth more with '+/-' in it than not at all.
_PLAIN = {'±': '+/-', '×': 'x', '–': '-', '—': '-', '…': '...', '↑': '^', '↓': 'v', '≥': '>=', '≤': '<=', '’': "'"}
# How XLA, whose exceptions have no class of their own for it, begins to say that memory ran out.
_EXHAUSTED = 'RESOURCE_EXHAUSTED'

OUT_OF_MEMORY = (
    'out of memory ({}); lower the batch size (config.<stage>.batch_size, config.evaluate.batch_size) or what is kept '
    'in memory (config.data.device_budget_mb, config.data.host_budget_mb), or use a larger device; the same WORKDIR '
    'can be used, and earlier files are intact'
)
LOST_IN_JOB = (
    'this process cannot go on, and the job ends with it. If the lines above tell of a lost connection, another '
    'process was lost first: see what it says. Run the same command again to continue from the last checkpoint'
)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = []
    for character in error.object[error.start : error.end]:
        base = unicodedata.normalize('NFKD', character).encode('ascii', 'ignore').decode()
        found.append(_PLAIN.get(character, base or '?'))
    return ''.join(found), error.end


codecs.register_error('plain', _plain)


def in_ascii(text: str) -> str:
    """Return text in ASCII, for what can draw no other letters: 'ö' as 'o', what has no such letter as '?'."""
    return text.encode('ascii', 'plain').decode()


def never_fail_to_print() -> None:
    """Let stdout and stderr write what their encoding lacks in plain letters, whatever the locale is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='plain')


def tell(kind: str, process: str, text: str) -> None:
    """Print how the program ends to stderr, with the process that says so ('' for a process that is alone)."""
    with contextlib.suppress(OSError):
        print(f'{kind}: {process}{": " if process else ""}{text}', file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:
        # Python would fail again at its end, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on the host or on a device."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _EXHAUSTED in str(error))


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its name if it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
