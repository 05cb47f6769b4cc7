#!/usr/bin/env bash
# From nothing to a report: install, then train, evaluate and report on the digits inside scikit-learn.
# More words are handed on, such as --workdir=DIR or --config.seed=1.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=setup.sh
. "$(dirname "$0")/setup.sh" ''
exec python -m failpred_jax.main --config=configs/digits.py "$@"
