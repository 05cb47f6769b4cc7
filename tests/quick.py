"""XLA's flags for tests, whose time is compilation, of programs that run once.

With these a small program compiles in less than half of the time. XLA ends a process whose flags it does not know, and
makes no promise to keep these: they are tried first, and without them the tests take longer, no more.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

QUICK = (
    '--xla_backend_optimization_level=0', '--xla_cpu_use_fusion_emitters=false',
    '--xla_cpu_parallel_codegen_split_count=1',
)  # fmt: skip


def as_for_users() -> dict[str, bool] | None:
    """Return compiler options for what has to hold to the last bit in the code that XLA makes for users."""
    is_other = '--xla_cpu_use_fusion_emitters=false' in os.environ.get('XLA_FLAGS', '')
    return {'xla_cpu_use_fusion_emitters': True} if is_other else None


def known(flags: Sequence[str]) -> str:
    """Return those of the flags that this release of XLA knows, as XLA_FLAGS takes them."""
    if _works(flags):
        return ' '.join(flags)
    return ' '.join(flag for flag in flags if _works([flag]))


def _works(flags: Sequence[str]) -> bool:
    given = os.environ | {'XLA_FLAGS': ' '.join(flags), 'JAX_PLATFORMS': 'cpu'}
    code = 'import jax; jax.devices()'
    return not subprocess.run([sys.executable, '-c', code], env=given, capture_output=True, check=False).returncode
