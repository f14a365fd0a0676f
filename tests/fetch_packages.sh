#!/bin/sh
# Fetches what the tests' booted machines install: they have no network. Packages go to .cache/machine.
# Without root, or without apt, those tests are skipped; under CI (environment variable) that is an error.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd)
folder=.cache/machine
host_packages="systemd systemd-sysv dbus iproute2 python3 python3-venv"

cannot() {
    echo "marketd: the tests of the installed service are skipped: $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
}

[ "$(id -u)" = 0 ] || cannot "they need root"
command -v apt-get >/dev/null || cannot "this is no Debian, there is no apt-get"

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet --quiet --no-install-recommends \
        -o DPkg::Lock::Timeout=120 -o Dir::Cache::archives="$archives" "$@" </dev/null
}

# The package lists of a fresh machine are empty or old: get them and try again.
fetch() {
    apt "$@" 2>/dev/null || {
        apt-get update --quiet --quiet -o DPkg::Lock::Timeout=120
        apt "$@"
    }
}

mkdir -p "$folder/debs/partial" "$folder/wheels"
missing=$(for each in $host_packages; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$each" 2>/dev/null | grep -q '^installed$' || echo "$each"
done)
archives=/var/cache/apt/archives
# shellcheck disable=SC2086  # a list of names
[ -z "$missing" ] || fetch install $missing
archives=$here/$folder/debs
fetch install --download-only mariadb-server

# Wheels for Debian's own Python: the machines have no other.
sources=$(cat setup.cfg pyproject.toml | sha256sum)
if [ "$(cat "$folder/fetched" 2>/dev/null)" != "$sources" ]; then
    rm -rf "$folder/venv" "$folder/fetched"
    /usr/bin/python3 -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip --quiet --disable-pip-version-check download \
        --dest "$folder/wheels" '.[rest]' 'setuptools>=77' wheel
    rm -rf "$folder/venv" "$folder"/wheels/marketd*
    echo "$sources" >"$folder/fetched"
fi
