#!/usr/bin/env bash
# How every launcher starts one process of a run; its words go to failpred_jax.main as they are.
#   bash launch/run.sh --config=configs/digits.py --workdir=runs/digits
# The package must be installed (launch/quickstart.sh does that); .venv is used where it is there and nothing else is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ] && [ -f .venv/bin/activate ]; then
  # shellcheck source=/dev/null
  . .venv/bin/activate
fi
# Huge pages (GLIBC_TUNABLES=glibc.malloc.hugetlb=1) are not asked for: a chunk of steps keeps its memory, so they gained
# nothing measurable (docs/performance.md, "A training step"). Nor are threads set: XLA takes all cores by itself.
# exec: signals reach Python itself. -u: what a process says is in its log when it dies.
exec python -u -m failpred_jax.main "$@"
