#!/usr/bin/env bash
# phone.sh - a phone look-alike (Pixel 8) that a real adb client reaches at 10.77.0.2:5555: the AOSP adb
# daemon in a network namespace, in front of an emulated arm64 userland (mksh as sh, toybox, getprop).
#
# Usage:   phone.sh up            a fresh phone, empty /data/local/tmp; no-op if one is up in the same mode
#          AUTH=1 phone.sh up     one that stays "unauthorized" until the client's key is trusted
#          phone.sh trust KEY.pub puts a client key into /adb_keys (then adb disconnect and connect)
#          phone.sh kill          ends adbd and all it runs at once, like a phone unplugged mid-command
#          phone.sh revive        starts it again in the same mode, files kept (adb disconnect and connect)
#          phone.sh status        exit 0 if up, 3 if not
#          phone.sh down          ends it; leaves no process, mount or namespace
# Then:    adb connect 10.77.0.2:5555     (adb disconnect before down)
#          ip netns exec fairnas-phone ... runs a host program in the phone's network (for adb reverse)
# Files:   $LAB/phone: root/ (the phone's file system), adbd.log (LAB is $FAIRNAS_LAB, by default
#          /var/tmp/fairnas-lab)
# Needs:   root, Debian 12 x86_64 with apt; installs qemu-user-static and what build_adbd.sh needs.
# Cost:    the first up 35 s (30 of it builds adbd) and 75 MB of disk, later ones 1 s.
#          One phone a machine: names and address are fixed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"

netns=fairnas-phone host_link=fn-phone host_ip=10.77.0.1 device_ip=10.77.0.2 port=5555
home=$LAB/phone root=$LAB/phone/root hardware=$LAB/phone/hardware
pid_file=$LAB/phone/adbd.pid log=$LAB/phone/adbd.log mode_file=$LAB/phone/mode
shell_uid=2000   # Android's "shell" user, which adbd and its commands run as

build_root() {
  local variant=$1 name
  rm -rf --one-file-system "$root"
  mkdir -p "$root"/{system,data/local/tmp,proc,sys,dev,sbin,etc,tmp}
  unpack_arm64 "$root" libc6 libcrypt1 libgcc-s1 libstdc++6 mksh toybox
  mv "$root/bin" "$root/system/bin"
  ln -s system/bin "$root/bin"
  ln -s mksh "$root/system/bin/sh"
  for name in $(chroot "$root" /system/bin/toybox); do
    [ -e "$root/system/bin/$name" ] || ln -s toybox "$root/system/bin/$name"
  done
  install_native "$root" "$LAB/adbd/adbd-$variant" /sbin/adbd
  # Emulated, it would take seconds for every bundle.
  install_native "$root" "$(command -v sha256sum)" /system/bin/sha256sum
  printf 'root:x:0:0:root:/:/system/bin/sh\nshell:x:%s:%s:shell:/:/system/bin/sh\n' $shell_uid $shell_uid >"$root/etc/passwd"
  printf 'root:x:0:\nshell:x:%s:\n' $shell_uid >"$root/etc/group"
  chown $shell_uid:$shell_uid "$root/data/local/tmp"
  chmod 771 "$root/data/local/tmp"
  write_properties
}

write_properties() {
  cat >"$root/system/build.prop" <<'PROPS'
ro.product.manufacturer=Google
ro.product.brand=google
ro.product.model=Pixel 8
ro.product.device=shiba
ro.product.name=shiba
ro.product.cpu.abi=arm64-v8a
ro.product.cpu.abilist=arm64-v8a
ro.hardware=shiba
ro.soc.manufacturer=Google
ro.soc.model=Tensor G3
ro.build.version.release=14
ro.build.version.sdk=34
ro.build.id=LOOKALIKE
ro.build.fingerprint=google/shiba/shiba:14/LOOKALIKE/1:user/release-keys
ro.serialno=FAIRNASPHONE01
sys.boot_completed=1
PROPS
  cat >"$root/system/bin/getprop" <<'GETPROP'
#!/system/bin/sh
# getprop [NAME [DEFAULT]]
while IFS='=' read -r name value; do
  if [ $# -eq 0 ]; then echo "[$name]: [$value]"
  elif [ "$name" = "$1" ]; then echo "$value"; exit
  fi
done </system/build.prop
[ $# -eq 0 ] || echo "${2:-}"
GETPROP
  chmod 755 "$root/system/bin/getprop"
}

start_adbd() {
  start_device $netns "$pid_file" "$log" "$here/phone.sh" boot
  wait_for_port $device_ip $port "$log"
}

boot() {   # internal: runs inside the phone's namespaces and becomes adbd
  record_pid
  hostname localhost
  mount_device_root "$root" "$hardware"
  exec env -i PATH=/system/bin HOME=/ ANDROID_ROOT=/system ANDROID_DATA=/data ADBD_PORT=$port \
    "$(command -v chroot)" --userspec=$shell_uid:$shell_uid --groups=$shell_uid "$root" /sbin/adbd
}

up() {
  local mode=open
  [ "${AUTH:-0}" != 1 ] || mode=auth
  if device_pid $netns "$pid_file" >/dev/null; then
    [ "$(cat "$mode_file")" != $mode ] || return 0
    stop_device $netns "$pid_file"
  fi
  need_packages qemu-user-static iproute2
  "$here/build_adbd.sh"
  mkdir -p "$home"
  emulation_up phone
  write_hardware "$hardware" pixel8
  build_root $mode
  echo $mode >"$mode_file"
  link_up $netns $host_link $host_ip $device_ip
  start_adbd
}

status() {
  local pid
  if pid=$(device_pid $netns "$pid_file"); then
    echo "phone: up, adb connect $device_ip:$port, pid $pid, mode $(cat "$mode_file")"
  elif netns_exists $netns; then
    echo "phone: killed (phone.sh revive starts it again)"; return 3
  else
    echo "phone: down"; return 3
  fi
}

case ${1:-} in
  up) require_root; up; status ;;
  trust) [ -r "${2:-}" ] || die "usage: phone.sh trust KEY.pub"; cat "$2" >>"$root/adb_keys"; chmod 644 "$root/adb_keys" ;;
  kill) require_root; stop_device $netns "$pid_file" ;;
  revive)
    require_root
    netns_exists $netns || die "the phone is down: phone.sh up"
    device_pid $netns "$pid_file" >/dev/null || start_adbd
    status ;;
  status) status || exit ;;
  down) require_root; stop_device $netns "$pid_file"; link_down $netns $host_link; emulation_down phone ;;
  boot) boot ;;
  *) die "usage: phone.sh up|down|status|kill|revive|trust KEY.pub" ;;
esac
