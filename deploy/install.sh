#!/bin/bash
# Installs, upgrades and removes marketd as a service of systemd, from a clone: see usage below.
# Every step looks first whether it is done already, so that the script can be interrupted and run again.
set -Eeuo pipefail
shopt -s inherit_errexit
trap 'echo "deploy/install.sh: failed at: $BASH_COMMAND. It can be given again" >&2' ERR

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # not a developer's own Python
umask 022
export LC_ALL=C.UTF-8
unset CDPATH PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT # nor his habits
SOURCE=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
# shellcheck source=deploy/lib/common.sh
. "$SOURCE/deploy/lib/common.sh"
# shellcheck source=deploy/lib/system.sh
. "$SOURCE/deploy/lib/system.sh"
# shellcheck source=deploy/lib/release.sh
. "$SOURCE/deploy/lib/release.sh"
# shellcheck source=deploy/lib/database.sh
. "$SOURCE/deploy/lib/database.sh"
# shellcheck source=deploy/lib/settings.sh
. "$SOURCE/deploy/lib/settings.sh"
# shellcheck source=deploy/lib/service.sh
. "$SOURCE/deploy/lib/service.sh"
# shellcheck source=deploy/lib/upgrade.sh
. "$SOURCE/deploy/lib/upgrade.sh"
# shellcheck source=deploy/lib/uninstall.sh
. "$SOURCE/deploy/lib/uninstall.sh"

usage() {
    cat <<END
Installs marketd from this clone as a service that starts with the server.

  sudo deploy/install.sh [--sqlite | --mysql-url URL [--mysql-password-file FILE]]
  sudo deploy/install.sh --upgrade
  sudo deploy/install.sh --uninstall [--delete-data [--yes]]

Without a word about the database: an account and a database named marketd in the MariaDB or MySQL that
runs on this server; where there is none, MariaDB is installed, with a configuration for 1 GB of memory
($OWN_CNF). A server that is there already is never replaced, nor its configuration touched.

  --sqlite            the embedded database, no server: a file in $STATE
  --mysql-url URL     mysql://USER@HOST[:PORT]/NAME: an account and a database that you made. Its password
                      is asked for, or read from standard input, or from the first line of a file:
  --mysql-password-file FILE
  --upgrade           from the installed version to this clone's. The new one is built beside it, then
                      a backup is made, then it is switched. Refused while real trades are open. A version
                      that is not ready within 120 s is taken back: its database and journal are set
                      aside, the backup is restored, and prices stored since are brought back from there
  --uninstall         removes the service and the program; settings, data, MariaDB and the user stay
  --delete-data       with --uninstall: settings, secrets, data, backups of upgrades, the user, and the
                      database and its account where this script made them. Asks first
  --yes               do not ask
  --untested-system   go on where this is neither Debian 12 nor Ubuntu 24.04

Given again it changes nothing that is right, and never your settings.

  $ETC/marketd.toml      settings, readable by the group marketd; edit, then: systemctl reload marketd
  $ETC/db-password       password of the database, for root only; the service is handed a copy
  $STATE               the journal, tokens, what is remembered over a restart
  $OPT/current           the program, a link into releases/; $LINK leads to it
  $UNIT
  $BACKUPS           what upgrades put there: the newest two are kept
Members of the group marketd may use marketd's commands: sudo usermod --append --groups marketd YOU
END
}

wrong_usage() {
    echo "deploy/install.sh: $*; see --help" >&2
    exit 2
}

action=install database='' mysql_url='' password_file='' delete_data=no yes=no untested=no
while [ $# -gt 0 ]; do
    case $1 in
    --sqlite) database=sqlite ;;
    --mysql-url | --mysql-password-file)
        [ $# -ge 2 ] || wrong_usage "$1 needs a value"
        if [ "$1" = --mysql-url ]; then mysql_url=$2; else password_file=$2; fi
        shift
        ;;
    --upgrade) action=upgrade ;;
    --uninstall) action=uninstall ;;
    --delete-data) delete_data=yes ;;
    --yes) yes=yes ;;
    --untested-system) untested=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) wrong_usage "${1%%=*} is not known" ;; # not what follows: it may be a secret
    esac
    shift
done
[ -z "$mysql_url" ] || [ -z "$database" ] || wrong_usage "--sqlite and --mysql-url exclude each other"
[ -z "$mysql_url" ] || database=url
[ -z "$password_file" ] || [ -n "$mysql_url" ] || wrong_usage "--mysql-password-file goes with --mysql-url"
[ "$action" = install ] || [ -z "$database" ] || wrong_usage "--$action asks for no database"
[ "$action" = uninstall ] || [ "$delete_data" = no ] || wrong_usage "--delete-data goes with --uninstall"

install() {
    local new is_new=no
    new=$(release_name)
    refuse_other_release "$new"
    if [ -e "$SETTINGS" ]; then
        [ -z "$database" ] || note "$SETTINGS is there already and stays as it is: --sqlite and --mysql-url" \
            "are for a first installation"
        database=$(database_of_settings)
    elif [ -z "$database" ]; then
        database=$(choose_database)
    fi
    [ "$database" != url ] || [ -e "$SETTINGS" ] || read_password
    [ "$database" != local ] || [ -e "$SETTINGS" ] || refuse_unusable_server
    is_complete "$new" || is_new=yes
    [ "$is_new" = no ] || check_disk "$OPT" "$ROOM_FOR_RELEASE_MB"
    [ -e "$SETTINGS" ] || check_disk "$STATE" "$ROOM_FOR_DATA_MB"
    install_packages python3 python3-venv ca-certificates
    [ "$database" != own ] || install_mariadb
    make_user
    build_release "$new"
    [ "$is_new" = no ] || stop_service # of a version that runs, but could not be started again
    switch_to "$new"
    make_link
    [ "$database" != own ] && [ "$database" != local ] || make_account
    write_settings
    put_unit "$new"
    start_service
    say_next_steps
}

case $password_file in '' | /*) ;; *) password_file=$PWD/$password_file ;; esac
cd / # what lies in the folder that it is given in, above all the clone's Python, is not the installed one's
refuse_without_systemd_and_root
[ "$action" = uninstall ] || check_system
exec 9>"$LOCK"
flock --nonblock 9 || die "another deploy/install.sh is running"
case $action in
install) install ;;
upgrade) upgrade ;;
uninstall) uninstall ;;
esac
