#!/usr/bin/env bash
# board.sh - a Raspberry Pi 4 look-alike that a real ssh client reaches at 10.78.0.2: OpenSSH's sshd in a
# network namespace, every session in a chroot of Debian arm64 packages run through qemu-user.
#
# Usage:   board.sh up       a fresh board, empty /home/pi; no-op if one is up
#          board.sh cut      takes the link down as if the cable were pulled (packets vanish, no reset)
#          board.sh mend     puts it back
#          board.sh status   exit 0 if up, 3 if not
#          board.sh down     ends it; leaves no process, mount or namespace
# Then:    ssh -F $LAB/board/ssh_config board uname -m        prints aarch64; scp -F ... likewise
#          user pi, key authentication only, strict host key check, ConnectTimeout 3
# Files:   $LAB/board: ssh_config, user_key, known_hosts, sshd.log, root/ (the board's file system)
#          (LAB is $FAIRNAS_LAB, by default /var/tmp/fairnas-lab)
# Needs:   root, Debian 12 x86_64 with apt; installs openssh-server and qemu-user-static.
# Cost:    the first up 7 s and 45 MB of disk, later ones 1 s.
#          One board a machine: names and address are fixed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"

netns=fairnas-board host_link=fn-board host_ip=10.78.0.1 device_ip=10.78.0.2
home=$LAB/board root=$LAB/board/root hardware=$LAB/board/hardware
pid_file=$LAB/board/sshd.pid log=$LAB/board/sshd.log
chroot_point=/run/board   # in a private mount namespace, see boot

build_root() {
  rm -rf --one-file-system "$root"
  mkdir -p "$root"/{home/pi,root,proc,sys,dev,etc,tmp,usr/bin,bin}
  unpack_arm64 "$root" libc6 libc-bin libgcc-s1 libstdc++6 zlib1g busybox-static mksh
  chroot "$root" /bin/busybox --install -s /bin
  ln -s mksh "$root/bin/bash"
  # Emulated, it would take seconds for every bundle.
  install_native "$root" "$(command -v sha256sum)" /bin/sha256sum
  cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/bash
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
pi:x:1000:1000:pi:/home/pi:/bin/bash
PASSWD
  printf 'root:x:0:\npi:x:1000:\n' >"$root/etc/group"
  printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n' >"$root/etc/os-release"
  chown 1000:1000 "$root/home/pi"
  chmod 1777 "$root/tmp"
}

write_ssh_files() {
  local key
  for key in host_key user_key; do
    [ -e "$home/$key" ] || ssh-keygen -q -t ed25519 -N '' -C "fairnas-$key" -f "$home/$key"
  done
  echo "$device_ip $(cut -d' ' -f1,2 "$home/host_key.pub")" >"$home/known_hosts"
  cat >"$home/ssh_config" <<CONF
Host board
  HostName $device_ip
  User pi
  IdentityFile $home/user_key
  IdentitiesOnly yes
  UserKnownHostsFile $home/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 3
  ServerAliveInterval 2
  ServerAliveCountMax 2
CONF
  cat >"$home/sshd_config" <<CONF
ListenAddress $device_ip
HostKey $home/host_key
AuthorizedKeysFile $home/user_key.pub
AuthenticationMethods publickey
AllowUsers pi
UsePAM no
# The lab may lie below a world-writable directory such as /var/tmp.
StrictModes no
PidFile none
ChrootDirectory $chroot_point
SetEnv QEMU_CPU=cortex-a72 PATH=/usr/bin:/bin
Subsystem sftp internal-sftp
CONF
}

boot() {   # internal: runs inside the board's namespaces and becomes sshd
  record_pid
  hostname raspberrypi
  mount_device_root "$root" "$hardware"
  # sshd refuses a ChrootDirectory with a world-writable parent: give it one on a private /run. It also
  # looks users up outside the chroot: let it see the board's /etc/passwd there, too.
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir /run/sshd $chroot_point
  mount --rbind "$root" $chroot_point
  mount --bind "$root/etc/passwd" /etc/passwd
  exec /usr/sbin/sshd -D -e -f "$home/sshd_config"
}

up() {
  if device_pid $netns "$pid_file" >/dev/null; then mend; return; fi
  need_packages qemu-user-static iproute2 openssh-server openssh-client
  mkdir -p "$home"
  emulation_up board
  write_hardware "$hardware" rpi4
  build_root
  write_ssh_files
  link_up $netns $host_link $host_ip $device_ip
  mend
  start_device $netns "$pid_file" "$log" "$here/board.sh" boot
  wait_for_port $device_ip 22 "$log"
}

# The link goes down at the board's end, so that the host keeps its route: without one the packets for
# the board would leave this machine by its default route.
cut_link() { ip -n $netns link set eth0 down; }
mend() { ip -n $netns link set eth0 up; }

status() {
  local pid
  pid=$(device_pid $netns "$pid_file") || { echo "board: down"; return 3; }
  if ip -n $netns link show eth0 | grep -q ',UP'; then
    echo "board: up, ssh -F $home/ssh_config board, pid $pid"
  else
    echo "board: link cut (board.sh mend puts it back)"; return 3
  fi
}

case ${1:-} in
  up) require_root; up; status ;;
  cut) require_root; cut_link ;;
  mend) require_root; mend ;;
  status) status || exit ;;
  down) require_root; stop_device $netns "$pid_file"; link_down $netns $host_link; emulation_down board ;;
  boot) boot ;;
  *) die "usage: board.sh up|down|status|cut|mend" ;;
esac
