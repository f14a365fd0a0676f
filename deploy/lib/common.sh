# What every part uses: where things are, how they are said. Sourced by install.sh.
# shellcheck shell=bash
OPT=/opt/marketd
ETC=/etc/marketd
STATE=/var/lib/marketd
BACKUPS=/var/backups/marketd
SETTINGS=$ETC/marketd.toml
PASSWORD=$ETC/db-password
MADE=$ETC/installed # what this script made, so that it is known what may be deleted
UNIT=/etc/systemd/system/marketd.service
LINK=/usr/local/bin/marketd
LOCK=/run/marketd-install.lock # not in /run/lock, where everybody may put a link in its place
OWN_CNF=/etc/mysql/mariadb.conf.d/60-marketd.cnf

changes=0

# say WORDS...: tell of a change that is made now.
say() {
    changes=$((changes + 1))
    echo "$*"
}

# note WORDS...: tell what changes nothing.
note() {
    echo "$*"
}

# die WORDS...: say on standard error what is wrong and what to do, and leave.
die() {
    echo "deploy/install.sh: $*" >&2
    exit 1
}

# put MODE OWNER:GROUP FILE: write standard input to a file, whole or not at all.
put() {
    local new=$3.new
    rm -f "$new"
    (
        umask 077
        cat >"$new"
    )
    chown "$2" "$new"
    chmod "$1" "$new"
    sync "$new"
    mv -f "$new" "$3"
}

# folder MODE OWNER:GROUP FOLDER: make it where it is missing.
folder() {
    [ -d "$3" ] || {
        mkdir -p "$(dirname "$3")"
        mkdir "$3"
        chown "$2" "$3"
        chmod "$1" "$3"
        say "made $3"
    }
}

# made NAME: whether this script made it. record NAME: remember that it is about to.
made() {
    grep -qsx "$1" "$MADE"
}
record() {
    made "$1" || {
        folder 0755 root:root "$ETC"
        { cat "$MADE" 2>/dev/null || true; echo "$1"; } | put 0644 root:root "$MADE"
    }
}

# crash_point NAME: where MARKETD_INSTALL_CRASH_AT says so, end as a power cut would. For tests.
crash_point() {
    [ "${MARKETD_INSTALL_CRASH_AT:-}" != "$1" ] || kill -KILL $$
}

# as_service COMMAND WORDS...: run a command as root, with what the service manager would hand it.
as_service() {
    (
        umask 0027
        env CREDENTIALS_DIRECTORY="$ETC" STATE_DIRECTORY="$STATE" "$@" --config "$SETTINGS"
    )
}

# marketd_of RELEASE WORDS...: run a release's command.
marketd_of() {
    local release=$1
    shift
    as_service "$OPT/releases/$release/bin/marketd" "$@"
}
