#!/usr/bin/env bash
# run.sh - the tests of devices against a phone and a board that look real to adb and ssh, in a network, a mount
# table and a process table of their own: whatever happens, nothing stays behind and nothing reaches outside.
#
# Usage:   run.sh [pytest arguments]       python: $PYTHON, by default .venv/bin/python of the repository
# Needs:   root on Debian 12 x86_64; what is missing is installed by lookalikes/fetch.sh, which needs a network the
#          first time. Elsewhere the tests that need the look-alikes are skipped, and say why.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
python=${PYTHON:-$root/.venv/bin/python}
export ORT_DISABLE_TELEMETRY=1 FAIRNAS_LOOKALIKES=ready

without_lookalikes() {
  FAIRNAS_LOOKALIKES=$1
  cd "$root"
  exec "$python" -m pytest "$here" "${arguments[@]}"
}

arguments=("$@")
[ "$(id -u)" = 0 ] || without_lookalikes "not root"
[ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null || without_lookalikes "not a Debian on x86_64"
unshare --net --mount --pid --fork true 2>/dev/null || without_lookalikes "no namespaces may be made here"

. "$here/lookalikes/common.sh"
"$here/lookalikes/fetch.sh" || without_lookalikes "lookalikes/fetch.sh failed"
# Inside there is no network to fetch their parts from.
"$python" -c 'from fairnas.latency_tables.runner.bundle import build_bundle
for with_loader in (True, False):
    build_bundle("aarch64", with_loader=with_loader)' || without_lookalikes "the bundles cannot be built"
"$python" -c 'from fairnas.latency_tables.devices.browser.runtime import runtime_files
runtime_files()' || without_lookalikes "the browser's runtime cannot be downloaded"

exec 9>"$LAB/lock"
flock --nonblock 9 || die "another run uses $LAB: wait for it, or set FAIRNAS_LAB to another folder"
suite=
trap '[ -z "$suite" ] || kill -KILL "$suite" 2>/dev/null; emulation_down suite' EXIT
trap 'exit 130' INT TERM
emulation_up suite
cd "$root"
# A network namespace's name is a file in /run/netns, which would otherwise be shared with everybody.
unshare --net --mount --pid --fork --kill-child --mount-proc sh -c '
  ip link set lo up && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && exec "$@"
' sh "$python" -m pytest "$here" "${arguments[@]}" 9>&- &
suite=$!
result=0
wait "$suite" || result=$?
suite=
exit "$result"
