#!/usr/bin/env bash
# run.sh - segmentation as users meet it: a segmenter trained, judged and exported, our backbones in
# segmentation_models_pytorch and in MMSegmentation.
#
# Usage:   [VENV=folder] [WHEELS=folder] run.sh [pytest arguments]      VENV: by default build/venv-openmmlab
# Needs:   a network the first time; see tests/openmmlab/setup.sh, which makes the environment.
# Cost:    about 2 minutes on 2 cores once the environment is there.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
venv=$(readlink -m "${VENV:-$root/build/venv-openmmlab}")
"$root/tests/openmmlab/setup.sh" "$venv"
export ORT_DISABLE_TELEMETRY=1
cd "$root"
exec "$venv/bin/python" -m pytest "$here" "$@"
