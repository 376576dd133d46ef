# common.sh - functions shared by fetch.sh, phone.sh, board.sh and build_adbd.sh. Sourced, never run.
#
# What the scripts keep (downloads, the adbd build, roots, keys, logs, pid files) lies in $LAB.
# Needs: root, Debian 12 x86_64 with apt. Cost: 200 MB of disk for everything that is kept.

LAB=$(realpath -m "${FAIRNAS_LAB:-/var/tmp/fairnas-lab}")
BINFMT=/proc/sys/fs/binfmt_misc

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
set -E
trap 'say "failed in line $LINENO: $BASH_COMMAND"' ERR
require_root() { [ "$(id -u)" = 0 ] || die "must run as root"; }

# need_packages PACKAGE...: installs the Debian packages that are missing.
need_packages() {
  local package missing=()
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# ---- Debian arm64 and source packages -----------------------------------------------------------

# debian_apt ARG...: apt-get with lists of its own: arm64 binaries and sources from the Debian mirrors
# this machine already uses. The system's lists and architectures stay as they are.
debian_apt() {
  local apt=$LAB/apt file
  if [ -z "$(find "$apt/ready" -mtime -1 2>/dev/null)" ]; then
    mkdir -p "$apt/sources" "$apt/lists/partial"
    for file in $(grep -ls debian-archive-keyring /etc/apt/sources.list.d/*.sources || true); do
      sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$apt/sources/${file##*/}"
    done
    find /etc/apt -name '*.list' -exec cat {} + |
      sed -nE 's|^deb (.*/debian(-security)?/? .*)|deb \1\ndeb-src \1|p' >"$apt/sources/one-line.list"
    cat >"$apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Sandbox::User "root";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources";
Dir::State::Lists "$apt/lists";
Dir::State::status "/dev/null";
CONF
    # without Error-Mode=any apt-get calls an update without a network a success
    apt-get -c "$apt/apt.conf" -o APT::Update::Error-Mode=any -qq update || die "cannot fetch Debian's package lists"
    touch "$apt/ready"
  fi
  apt-get -c "$apt/apt.conf" -qq "$@"
}

# download_arm64 PACKAGE...: downloads Debian arm64 packages, once.
download_arm64() {
  local package
  mkdir -p "$LAB/debs"
  for package; do
    ls "$LAB/debs/${package}"_*.deb >/dev/null 2>&1 || (cd "$LAB/debs" && debian_apt download "$package")
  done
}

# unpack_arm64 ROOT PACKAGE...: unpacks Debian arm64 packages into ROOT.
unpack_arm64() {
  local root=$1 package; shift
  download_arm64 "$@"
  for package; do dpkg-deb -x "$LAB/debs/${package}"_*.deb "$root"; done
  rm -rf "$root"/usr/share/{doc,man,info,lintian}
}

# install_native ROOT PROGRAM PATH: one of this machine's own programs at PATH in ROOT, with its libraries.
install_native() {
  local root=$1 program=$2 path=$3 library
  rm -f "$root$path"
  cp -L "$program" "$root$path"
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do cp -L --parents "$library" "$root"; done
}

# ---- arm64 emulation ----------------------------------------------------------------------------

# emulation_up USER / emulation_down USER: lets the kernel run arm64 programs through qemu-user, also
# inside a chroot. The last USER to leave undoes what we did; an entry that was there stays.
emulation_up() {
  mkdir -p "$LAB/emulation/users"
  if [ ! -e "$BINFMT/register" ]; then
    mount -t binfmt_misc binfmt_misc "$BINFMT"
    touch "$LAB/emulation/mounted"
  fi
  if [ ! -e "$BINFMT/qemu-aarch64" ]; then
    cat /usr/lib/binfmt.d/qemu-aarch64.conf >"$BINFMT/register"
    touch "$LAB/emulation/registered"
  fi
  grep -q '^flags:.*F' "$BINFMT/qemu-aarch64" || die "qemu-aarch64 is registered without the F flag (no use in a chroot)"
  touch "$LAB/emulation/users/$1"
}

emulation_down() {
  rm -f "$LAB/emulation/users/$1"
  [ -z "$(ls "$LAB/emulation/users" 2>/dev/null)" ] || return 0
  if [ -e "$LAB/emulation/registered" ] && [ -e "$BINFMT/qemu-aarch64" ]; then echo -1 >"$BINFMT/qemu-aarch64"; fi
  if [ -e "$LAB/emulation/mounted" ] && [ -e "$BINFMT/register" ]; then umount "$BINFMT"; fi
  rm -rf "$LAB/emulation"
}

# ---- network namespaces -------------------------------------------------------------------------

netns_exists() { [ -e "/run/netns/$1" ]; }

# link_up NETNS HOST_LINK HOST_IP DEVICE_IP: a namespace with eth0 at DEVICE_IP, reached over a veth pair.
link_up() {
  local netns=$1 host_link=$2 host_ip=$3 device_ip=$4
  ! netns_exists "$netns" || return 0
  ip netns add "$netns"
  ip link add "$host_link" type veth peer name eth0 netns "$netns"
  ip addr add "$host_ip/30" dev "$host_link"
  ip link set "$host_link" up
  ip -n "$netns" addr add "$device_ip/30" dev eth0
  ip -n "$netns" link set lo up
  ip -n "$netns" link set eth0 up
}

link_down() {
  local netns=$1 host_link=$2
  if [ -e "/sys/class/net/$host_link" ]; then ip link del "$host_link"; fi
  if netns_exists "$netns"; then ip netns del "$netns"; fi
}

# ---- the device's processes ---------------------------------------------------------------------

# start_device NETNS PID_FILE LOG COMMAND...: runs COMMAND as pid 1 of its own pid, mount and host-name
# namespaces inside NETNS. COMMAND calls record_pid first. Ending that one process ends everything it
# started and unmounts everything it mounted, so nothing can be left behind.
start_device() {
  local netns=$1 pid_file=$2 log=$3; shift 3
  rm -f "$pid_file"
  PID_FILE=$pid_file setsid ip netns exec "$netns" \
    unshare --pid --fork --mount --uts --propagation private "$@" </dev/null >"$log" 2>&1 &
}

# record_pid: /proc is still the host's here, so its "self" is our pid as the host sees it.
record_pid() { local pid; read -r pid _ </proc/self/stat; echo "$pid" >"$PID_FILE"; }

# device_pid NETNS PID_FILE: prints the pid if that process still lives in NETNS (so it is ours).
device_pid() {
  local pid
  pid=$(cat "$2" 2>/dev/null) && [ "$(ip netns identify "$pid" 2>/dev/null)" = "$1" ] && echo "$pid"
}

stop_device() {
  local pid
  if pid=$(device_pid "$1" "$2"); then
    kill -KILL "$pid"
    while [ -e "/proc/$pid" ]; do sleep 0.05; done
  fi
  rm -f "$2"
}

# wait_for_port IP PORT LOG: up to 10 seconds for a listener.
wait_for_port() {
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  tail -n 20 "$3" >&2
  die "nothing listens on $1:$2 after 10 s"
}

# ---- look-alike hardware ------------------------------------------------------------------------

# write_hardware DIR pixel8|rpi4: DIR/cpuinfo and DIR/sys with the cores, clocks, topology and thermal
# zones of that device, and what its firmware calls it (static values).
write_hardware() {
  local dir=$1 kind=$2 features clusters zones model cluster span list part khz cpu first last zone number=0
  case $kind in
    pixel8)
      features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop asimddp i8mm bf16"
      clusters="0-3:0xd46:1704000 4-7:0xd4d:2367000 8-8:0xd4e:2914000"   # cores:part:highest kHz
      zones="BIG:41000 MID:39000 LITTLE:38000 battery:31500"
      model="" ;;
    rpi4)
      features="fp asimd evtstrm crc32 cpuid"
      clusters="0-3:0xd08:1800000"
      zones="cpu-thermal:45200"
      model="Raspberry Pi 4 Model B Rev 1.4" ;;
    *) die "unknown hardware $kind" ;;
  esac
  local cpus=$dir/sys/devices/system/cpu freq topology
  rm -rf "$dir"; mkdir -p "$cpus/cpufreq"; : >"$dir/cpuinfo"
  for cluster in $clusters; do
    IFS=: read -r span part khz <<<"$cluster"
    first=${span%-*}; last=${span#*-}; list=$span
    [ "$first" != "$last" ] || list=$first
    for cpu in $(seq "$first" "$last"); do
      printf '%s\t: %s\n' processor "$cpu" BogoMIPS 49.15 Features "$features" "CPU implementer" 0x41 \
        "CPU architecture" 8 "CPU variant" 0x0 "CPU part" "$part" "CPU revision" 3 >>"$dir/cpuinfo"
      echo >>"$dir/cpuinfo"
      freq=$cpus/cpu$cpu/cpufreq; topology=$cpus/cpu$cpu/topology; mkdir -p "$freq" "$topology"
      echo "$khz" | tee "$freq"/{cpuinfo_max_freq,scaling_max_freq,scaling_cur_freq} >/dev/null
      echo 300000 | tee "$freq"/{cpuinfo_min_freq,scaling_min_freq} >/dev/null
      echo schedutil >"$freq/scaling_governor"
      echo 0 >"$topology/physical_package_id"
      echo "$cpu" | tee "$topology"/{core_id,thread_siblings_list} >/dev/null
      echo "$list" | tee "$topology"/{core_siblings_list,cluster_cpus_list} "$freq/related_cpus" >/dev/null
    done
    ln -s "../cpu$first/cpufreq" "$cpus/cpufreq/policy$first"
  done
  echo "0-$last" | tee "$cpus"/{possible,present,online} >/dev/null
  echo "$last" >"$cpus/kernel_max"
  if [ -n "$model" ]; then   # firmware ends it with a zero byte
    mkdir -p "$dir/sys/firmware/devicetree/base"
    printf '%s\0' "$model" >"$dir/sys/firmware/devicetree/base/model"
  fi
  for zone in $zones; do
    mkdir -p "$dir/sys/class/thermal/thermal_zone$number"
    echo "${zone%:*}" >"$dir/sys/class/thermal/thermal_zone$number/type"
    echo "${zone#*:}" >"$dir/sys/class/thermal/thermal_zone$number/temp"
    number=$((number + 1))
  done
}

# mount_device_root ROOT HARDWARE: /proc, /sys and /dev of the look-alike. Call it after start_device.
mount_device_root() {
  local root=$1 hardware=$2 node
  mount -t proc proc "$root/proc"
  mount --bind "$hardware/cpuinfo" "$root/proc/cpuinfo"
  mount --bind "$hardware/sys" "$root/sys"
  mount -o remount,bind,ro "$root/sys"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
  done
  mknod -m 666 "$root/dev/tty" c 5 0
  mkdir "$root/dev/pts"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
}
