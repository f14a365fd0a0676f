# The machine: is it one of ours, packages, user, room. Sourced by install.sh.
# shellcheck shell=bash
ROOM_FOR_RELEASE_MB=400 # an environment has 80, and is built beside the old one
ROOM_FOR_DATA_MB=1024   # less fills up within days

refuse_without_systemd_and_root() {
    [ "$(id -u)" = 0 ] || die "only root can do this: sudo deploy/install.sh"
    [ -d /run/systemd/system ] || die "this machine was not started by systemd: the service needs it." \
        "Without it there is: marketd run"
}

check_system() {
    # shellcheck source=/dev/null
    local found name
    found=$(. /etc/os-release && echo "${ID:-unknown}:${VERSION_ID:-}")
    name=$(. /etc/os-release && echo "${PRETTY_NAME:-$found}")
    case $found in
    debian:12 | ubuntu:24.04) return ;;
    esac
    [ "$untested" = yes ] || die "this is $name; tested are Debian 12 and Ubuntu 24.04." \
        "--untested-system tries all the same"
    command -v apt-get >/dev/null || die "this is $name, and there is no apt-get"
    note "this is $name, on which nobody has tried this"
}

# check_disk FOLDER MB [HINT]: refuse where its file system has less room.
check_disk() {
    local there=$1 free
    while [ ! -e "$there" ]; do there=$(dirname "$there"); done
    free=$(df --output=avail --block-size=1M "$there" | tail -n 1)
    [ "$free" -ge "$2" ] || die "too little room in $there for $1: $((free)) MB are free, $2 MB are needed${3:-}"
}

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_get() {
    env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --yes --quiet --quiet \
        --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" </dev/null 9>&-
}

# install_packages NAME...: those that are missing. Package lists of a fresh server are empty or old.
install_packages() {
    local each missing=()
    for each in "$@"; do is_installed "$each" || missing+=("$each"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing packages: ${missing[*]}"
    # of an installation that was interrupted
    env DEBIAN_FRONTEND=noninteractive dpkg --configure --pending >/dev/null 2>&1 </dev/null 9>&- || true
    apt_get install "${missing[@]}" >/dev/null 2>&1 || {
        apt_get update || die "apt-get update failed: see above; is the network up?"
        apt_get install "${missing[@]}" >/dev/null || die "apt-get install ${missing[*]} failed: see above"
    }
}

make_user() {
    id marketd >/dev/null 2>&1 || {
        record user
        say "making the system user and group marketd"
        systemd-sysusers "$SOURCE/deploy/marketd.sysusers"
    }
    folder 0755 root:root "$ETC"
    folder 0750 marketd:marketd "$STATE"
    folder 0700 root:root "$BACKUPS"
}
