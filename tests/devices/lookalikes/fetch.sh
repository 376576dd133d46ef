#!/usr/bin/env bash
# fetch.sh - everything the look-alikes need from a network: Debian packages installed, arm64 packages downloaded,
# the adb daemon built. Afterwards phone.sh and board.sh run in a network of their own.
#
# Usage:   fetch.sh         does only what is not done yet
# Needs:   root, Debian 12 x86_64 with apt.
# Cost:    60 s and 110 MB downloaded on the first run, under a second later.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
require_root

need_packages qemu-user-static iproute2 openssh-server openssh-client
command -v adb >/dev/null || need_packages adb
"$here/build_adbd.sh"
download_arm64 libc6 libc-bin libcrypt1 libgcc-s1 libstdc++6 zlib1g mksh toybox busybox-static
