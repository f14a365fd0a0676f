#!/bin/sh
# Puts MariaDB's server binaries in place for the tests, from Debian's packages where they are missing.
# Only the core packages: they bring no service, so nothing is started or enabled. The tests start
# their own private servers.
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
packages="mariadb-server-core mariadb-client-core"

have_mariadb() {
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null &&
        command -v my_print_defaults >/dev/null
}

cannot() {
    echo "marketd: the tests need MariaDB's server binaries: $1." \
        "Install them (no server needs to run): apt-get install $packages" >&2
    exit 1
}

# Without a terminal sudo must fail instead of asking for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo --non-interactive "$@"
    fi
}

install_packages() {
    # shellcheck disable=SC2086  # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet \
        --no-install-recommends -o DPkg::Lock::Timeout=120 $packages </dev/null
}

have_mariadb && exit 0
command -v apt-get >/dev/null || cannot "this is no Debian, there is no apt-get"
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || cannot "not root, and there is no sudo"
echo "installing $packages"
# The package lists of a fresh machine are empty or old: get them and try again.
install_packages 2>/dev/null || {
    as_root apt-get update --quiet --quiet -o DPkg::Lock::Timeout=120 || cannot "apt-get update failed"
    install_packages || cannot "apt-get install failed"
}
have_mariadb || cannot "they are not on the path after installing $packages"
