#!/usr/bin/env bash
# Install with what the tests need, and run them all. More words go to pytest, such as -k metrics.
set -euo pipefail
# The browser tests need a system package, which only CI may install unasked; elsewhere they say so and are skipped.
if [ "${CI:-}" = true ] && ! command -v chromedriver >/dev/null && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null || echo 'no Chromium: browser tests will be skipped'
fi
# shellcheck source-path=SCRIPTDIR source=setup.sh
. "$(dirname "$0")/setup.sh" test
ruff check .
ruff format --check .
pyright
# A file stays on one worker, since its tests share what is compiled; in order, since the longest come early.
exec python -m pytest -n "$(nproc)" --dist loadfile --no-loadscope-reorder "$@"
