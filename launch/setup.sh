# shellcheck shell=bash
# Sourced by the other scripts: go to the repository's root and have an environment with the package in it.
#   . launch/setup.sh EXTRAS       such as '' or 'test'
# Uses the active virtual environment or conda environment if there is one, else makes .venv here.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "error: failpred_jax needs Python 3.11 or newer; none of python3 ... python3.14 on PATH is" >&2
  exit 2
}

if [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ]; then
  if [ ! -x .venv/bin/python ]; then
    python=$(find_python) || exit 2
    "$python" -m venv .venv || { echo "error: $python cannot make a virtual environment (is its venv package there?)" >&2; exit 2; }
  fi
  # shellcheck source=/dev/null
  . .venv/bin/activate
fi

# Installing again costs seconds when nothing changed, and is right when something did.
python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}" || {
  echo "error: the installation failed; see pip's message above (is the package index reachable?)" >&2
  exit 2
}
