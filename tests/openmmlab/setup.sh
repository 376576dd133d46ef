#!/usr/bin/env bash
# setup.sh - an environment with MMDetection and MMSegmentation (the maintained packages, onedl-*) beside fairnas
# (editable), for the tests and experiments of backbones. It is apart from .venv: nothing else needs so many packages.
#
# Usage:   [WHEELS=folder] [PYTHON=python3.11] setup.sh [VENV]      VENV: by default build/venv-openmmlab
# WHEELS:  a folder with a wheel of onedl-mmcv that has its compiled operators. Without one they are compiled here, once
#          (20 minutes on 2 cores), and the wheel is kept in the user's cache, by the version of torch.
# Needs:   a network; to compile, a C++20 compiler.
# Cost:    a minute or two; under a second where nothing changed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
venv=$(readlink -m "${1:-$root/build/venv-openmmlab}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fairnas/wheels
mmcv=$(sed -n 's/^onedl-mmcv==/onedl_mmcv-/p' "$here/constraints.txt")

die() { echo "setup: $*" >&2; exit 2; }
say() { echo "setup: $*"; }

# What is installed depends on these, and on where the editable project is.
state=$(cd "$root" && { echo "$root"; cat pyproject.toml constraints.txt "$here/constraints.txt" "$here/setup.sh"; } | sha256sum)
if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$state" ]; then
  exit 0
fi

if [ -x "$root/.venv/bin/uv" ]; then uv=$root/.venv/bin/uv; else uv=$(command -v uv || true); fi
python=${PYTHON:-}
for each in "$root/.venv/bin/python" python3.11 python3.12 python3.13 python3; do
  [ -n "$python" ] || { "$each" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$each; }
done
[ -n "$python" ] || die "no Python 3.11 or newer with venv found: name one with PYTHON="

if [ -n "$uv" ]; then again=(--reinstall); else again=(--force-reinstall); fi

install() {
  local constraints=(-c "$root/constraints.txt" -c "$here/constraints.txt")
  if [ -n "$uv" ]; then
    "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" "${constraints[@]}" "$@"
  else
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${constraints[@]}" "$@"
  fi
}

# Compiled operators belong to one Python and, through its C++ interface, to one torch.
suitable_wheel() {
  local tag wheel
  tag=$("$venv/bin/python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
  for wheel in "$1/$mmcv-$tag-$tag-"*"_$(uname -m).whl"; do
    [ ! -f "$wheel" ] || { echo "$wheel"; return; }
  done
}

compile() {
  say "compiling the operators of onedl-mmcv for torch $torch: about 20 minutes on 2 cores, once"
  # Its setup.py imports pkg_resources, which later versions of setuptools lack.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'setuptools<81' wheel ninja psutil
  mkdir -p "$1"
  # It asks for C++17, and torch's headers for C++20 since 2.14: of two such options the last holds.
  printf '#!/bin/sh\nexec %s "$@" -std=c++20\n' "${CXX:-c++}" > "$venv/bin/c++20"
  chmod +x "$venv/bin/c++20"
  MMCV_WITH_OPS=1 FORCE_CUDA=0 MAX_JOBS=${MAX_JOBS:-$(nproc)} CXX=$venv/bin/c++20 PATH="$venv/bin:$PATH" \
    "$venv/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation --no-binary onedl-mmcv \
    -c "$here/constraints.txt" --wheel-dir "$1" onedl-mmcv \
    || die "onedl-mmcv cannot be compiled: see above, or give WHEELS= a folder with a wheel of it"
}

mkdir -p "$(dirname "$venv")"
exec 9> "$venv.lock"
flock 9
[ "$(cat "$venv/.installed" 2>/dev/null)" != "$state" ] || exit 0
rm -f "$venv/.installed"
say "$venv"
# An installation that was killed leaves packages that look installed and are not; then it starts again.
if [ -e "$venv/.unfinished" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  "$python" -m venv --clear "$venv"
fi
touch "$venv/.unfinished"
cd "$root"
install -e . pytest pytest-timeout hypothesis

# The operators of another torch do not fit.
torch=$("$venv/bin/python" -c 'import torch; print(torch.__version__)')
if [ "$(cat "$venv/.torch" 2>/dev/null)" != "$torch" ]; then
  kept=$cache/torch-$torch
  wheel=$(suitable_wheel "${WHEELS:-$kept}")
  [ -n "$wheel" ] || wheel=$(suitable_wheel "$kept")
  [ -n "$wheel" ] || compile "$kept"
  install --no-deps "${again[@]}" "${wheel:-$(suitable_wheel "$kept")}"
  echo "$torch" > "$venv/.torch"
fi
install -e '.[detection,segmentation]'
# OpenCV is asked for twice, in one folder; this one of the two needs no display.
"$venv/bin/python" -c 'import cv2' 2>/dev/null || install --no-deps "${again[@]}" opencv-python-headless
"$venv/bin/python" -c 'import mmcv.ops, mmdet, mmseg' || die "the installed packages do not work together: see above"
echo "$state" > "$venv/.installed"
rm -f "$venv/.unfinished"
