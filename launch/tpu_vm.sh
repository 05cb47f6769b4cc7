#!/usr/bin/env bash
# Run on all workers of a Cloud TPU slice, from your own machine. More words go to failpred_jax.main:
#   NAME=my-slice ZONE=us-east5-b bash launch/tpu_vm.sh --config.seed=1
# Each worker runs the same command; jax tells them apart. Started again, it goes on where it stopped.
set -euo pipefail

NAME="${NAME:?the name of the TPU, as in: NAME=my-slice ZONE=us-east5-b bash launch/tpu_vm.sh}"
ZONE="${ZONE:?the zone of the TPU, such as ZONE=us-east5-b}"
CONFIG="${CONFIG:-configs/cifar10.py}"
# Worker 0 alone reads and writes it. Its own disk goes when the slice is deleted: mount one that stays for long runs.
WORKDIR="${WORKDIR:-runs/tpu}"
# Where the repository is copied to on the workers, in their home folder.
FOLDER="${FOLDER:-failpred_jax}"

cd "$(dirname "${BASH_SOURCE[0]}")/.."

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}

on_all_workers "mkdir -p $FOLDER"
gcloud compute tpus tpu-vm scp --recurse --zone="$ZONE" --worker=all \
  failpred_jax configs launch pyproject.toml setup.cfg README.md "$NAME:$FOLDER/"
on_all_workers "cd $FOLDER && { [ -d .venv ] || python3 -m venv .venv; } \
  && .venv/bin/python -m pip install --quiet --editable . 'jax[tpu]'"
# %q: a word with spaces or brackets arrives at the workers as it was given here.
words=$(printf ' %q' --config="$CONFIG" --workdir="$WORKDIR" "$@")
on_all_workers "cd $FOLDER && bash launch/run.sh$words"
