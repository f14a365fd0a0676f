#!/bin/bash
# Becomes PID 1 of a throw-away machine: the host's own systemd over an overlay of `/`.
# Only tests/machines.py calls it, as root, inside new mount, pid, uts, ipc, cgroup and net namespaces.
#
#   boot_machine.sh FOLDER LAYER UPPER [SOURCE:TARGET ...]
#
# FOLDER holds the mount points. LAYER is what an earlier machine wrote, to begin with a copy of; - for none.
# UPPER is a folder that keeps what is written (with its .work beside it), or - for a tmpfs that ends with
# the machine. Each SOURCE of the host is seen read-only at TARGET. Nothing of the host is changed.
set -eu
folder=$1 layer=$2 upper=$3
shift 3
root=$folder/root

mount --make-rprivate /
mount -t tmpfs -o size=4g,mode=0755 tmpfs "$folder"
mkdir "$root"
if [ "$upper" = - ]; then
    upper=$folder/upper
    mkdir "$upper" "$folder/work"
    work=$folder/work
else
    work=$upper.work
fi
# a copy, because overlayfs takes no layer that lies inside another one, and all lie inside /
[ "$layer" = - ] || cp -a "$layer/." "$upper"
mount -t overlay -o "lowerdir=/,upperdir=$upper,workdir=$work" overlay "$root"

# --- the kernel's file systems ------------------------------------------------------------------

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# The kernel's settings are the host's: systemd must not change them. The network's are our own.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
: >"$root/dev/console"
mount --bind "$folder.console" "$root/dev/console"

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # version 2 alone
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=0755 tmpfs "$root/sys/fs/cgroup"
    while IFS=: read -r _ controllers _; do
        case $controllers in
        '') type=cgroup2 name=unified options=rw ;;
        name=*) type=cgroup name=${controllers#name=} options=none,$controllers ;;
        *) type=cgroup name=$controllers options=$controllers ;;
        esac
        mkdir "$root/sys/fs/cgroup/$name"
        mount -t "$type" -o "$options" cgroup "$root/sys/fs/cgroup/$name"
    done </proc/self/cgroup
    [ -d "$root/sys/fs/cgroup/unified" ] || {
        mkdir "$root/sys/fs/cgroup/unified"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    }
fi

for name in run tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$name"; done
chmod 0755 "$root/run"
mkdir "$root/run/lock"

# --- a quiet machine: only what a small server needs ----------------------------------------------

units=$root/etc/systemd/system
mkdir -p "$units"
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service \
    systemd-logind.service systemd-resolved.service systemd-networkd.service systemd-sysctl.service \
    systemd-modules-load.service systemd-remount-fs.service systemd-firstboot.service \
    systemd-journal-flush.service systemd-update-utmp.service e2scrub_reap.service getty.target; do
    ln -sf /dev/null "$units/$unit"
done
[ -e "$root/etc/marketd-tests" ] || { # the host's own services, once; those a test enables stay
    rm -rf "$units"/*.wants "$units"/dbus-org.freedesktop.*
    : >"$root/etc/marketd-tests"
}
rm -rf "$root/var/log/journal"
rm -f "$root/usr/sbin/policy-rc.d" # containers forbid packages to start their services
: >"$root/etc/fstab"
echo machine >"$root/etc/hostname"
hostname machine
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n' >"$root/etc/systemd/journald.conf.d/tests.conf"

for bind in "$@"; do
    mkdir -p "$root${bind#*:}"
    mount --bind "${bind%%:*}" "$root${bind#*:}"
    mount -o remount,bind,ro "$root${bind#*:}"
done

ip link set lo up 2>/dev/null || true # systemd does it where there is no ip
mkdir -p "$root/.host"
cd "$root"
pivot_root . .host
cd /
umount -l /.host
mount --make-rshared / # a systemd in a container leaves it, and LoadCredential= needs it
exec env -i container=marketd-tests TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=0 </dev/null >/dev/console 2>&1
