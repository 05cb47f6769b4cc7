"""What XLA is asked for when it compiles: where it keeps the result, whose kernels it takes, how exact products are."""

import contextlib
import functools
import hashlib
import platform
import tempfile
from pathlib import Path

import jax

from failpred_jax.files import user_cache_folder

# Which operations XLA hands to YNNPACK on a CPU. By default it takes convolutions and matrix products as well, at a
# fifth to a half of the speed of Eigen's, which they fall to otherwise; its sums are many times faster than XLA's own.
# docs/performance.md has the figures.
_CPU_OPTIONS = {'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_REDUCE'}


@functools.cache
def options() -> dict[str, str]:
    """Return the `compiler_options` for `jax.jit` on the default backend; they change speed and rounding only."""
    if jax.default_backend() != 'cpu':
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_CPU_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:
        # A release of XLA without this option (or without it yet): what it does by default is slower, not wrong.
        return {}
    return _CPU_OPTIONS


def full_precision() -> contextlib.AbstractContextManager:
    """Return a context in which matrix products and convolutions of float32 are traced as such.

    By default an accelerator shortens their factors, to TF32 (a GPU) or bfloat16 (a TPU). Training takes that, since it
    is several times as fast and gradients are noise anyway. An evaluation does not: it ranks confidences that differ in
    their last digits. On a CPU this changes nothing.
    """
    return jax.default_matmul_precision('highest')


def keep_compilations() -> None:
    """Keep compiled programs in the user's cache folder, so that a second run starts in seconds.

    JAX_COMPILATION_CACHE_DIR names another folder, and JAX_ENABLE_COMPILATION_CACHE=false turns it off, as JAX has it.
    """
    if jax.config.values['jax_compilation_cache_dir'] is None:
        try:
            # A home folder may be shared by machines whose processors cannot run one another's programs.
            folder = user_cache_folder() / f'xla-{_processor()}'
            folder.mkdir(parents=True, exist_ok=True)
            # A folder that exists may still be one that cannot be written.
            tempfile.TemporaryFile(dir=folder).close()
        except (OSError, RuntimeError):
            # A home that is not there (RuntimeError) or cannot be written costs time, not results.
            return
        jax.config.update('jax_compilation_cache_dir', str(folder))
    # JAX keeps what took a second to compile; a run compiles hundreds of programs that each take a fraction of one.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def _processor() -> str:
    """Return a short digest of the processor's kind and instruction sets."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        known = sorted({line for line in lines if line.startswith(('model name', 'flags', 'Features', 'CPU part'))})
    except OSError:
        known = [platform.processor()]
    return hashlib.blake2b('\n'.join([platform.machine(), *known]).encode(), digest_size=6).hexdigest()
