# --uninstall: service and program go; what cannot be had again goes only when told. Sourced by install.sh.
# shellcheck shell=bash

uninstall() {
    [ "$delete_data" = no ] || ask_to_delete
    [ ! -e "$PROGRESS" ] || note "an upgrade was interrupted and is given up; its backup is in $BACKUPS"
    local url='' chosen=()
    read_choices
    remove_service
    remove_program
    if [ "$delete_data" = yes ]; then remove_data; fi
    say_what_stays
}

# read_choices: what the settings name elsewhere, which is the operator's to delete.
read_choices() {
    [ -e "$SETTINGS" ] || return 0
    url=$(sed -n "s/^ *url *= *[\"']\(mysql:.*\)[\"'].*/\1/p" "$SETTINGS")
    ! made account || url= # which is ours, and has lines of its own
    mapfile -t chosen < <(
        state_folder
        sed -n "s|^ *url *= *[\"']sqlite://*\(/.*\)[\"'].*|\1|p" "$SETTINGS"
    )
}

ask_to_delete() {
    [ "$yes" = no ] || return 0
    local answer=
    echo "This deletes $ETC, $STATE, $BACKUPS, the user marketd, and the database $LOCAL_NAME with its account" \
        "where this script made them, for good."
    [ -t 0 ] || die "nobody is there to ask: --yes deletes without asking. Nothing was changed"
    IFS= read -r -p "Type the word delete: " answer || true
    [ "$answer" = delete ] || die "nothing was changed"
}

remove_service() {
    [ -e "$UNIT" ] || return 0
    say "stopping the service and removing $UNIT"
    systemctl disable --now --quiet marketd || true
    keep_edited_unit
    rm -f "$UNIT" "$UNIT.new"
    systemctl daemon-reload
    systemctl reset-failed marketd 2>/dev/null || true
}

keep_edited_unit() {
    local each
    for each in "$OPT"/releases/*/deploy/marketd.service; do
        ! cmp -s "$each" "$UNIT" || return 0
    done
    [ "$delete_data" = no ] || return 0
    say "it was edited: a copy is in $ETC/marketd.service"
    put 0644 root:root "$ETC/marketd.service" <"$UNIT"
}

remove_program() {
    if [ "$(readlink "$LINK")" = "$OPT/current/bin/marketd" ]; then rm -f "$LINK"; fi
    [ -e "$OPT" ] || return 0
    say "removing $OPT"
    rm -rf "$OPT"
}

remove_data() {
    if made account && ! has_server; then
        note "the server that held the database $LOCAL_NAME is gone"
    elif made account; then
        say "dropping the database $LOCAL_NAME and its account"
        drop_account || die "the database $LOCAL_NAME was not dropped: see above. No data were deleted"
    fi
    delete_folder "$STATE"
    delete_folder "$BACKUPS"
    ! made user || ! id marketd >/dev/null 2>&1 || {
        say "removing the user marketd"
        userdel marketd 2>/dev/null || true
        ! getent group marketd >/dev/null || groupdel marketd
    }
    delete_folder "$ETC" # last: it knows what was made
}

# delete_folder FOLDER: a link alone, not what it leads to; of a file system of its own what is in it.
delete_folder() {
    [ -e "$1" ] || [ -L "$1" ] || return 0
    say "deleting $1"
    if [ -L "$1" ]; then
        chosen+=("$(readlink -f "$1")")
        rm -f "$1"
    elif mountpoint --quiet "$1"; then
        find "$1" -mindepth 1 -delete
    else
        rm -rf "$1"
    fi
}

say_what_stays() {
    [ "$changes" -gt 0 ] || note "marketd is not installed; nothing to do."
    local each what
    for each in "$ETC:settings and secrets" "$STATE:journal, tokens" "$BACKUPS:backups" \
        "$UNIT.d:changes of yours to the unit"; do
        what=${each#*:} each=${each%%:*}
        [ ! -e "$each" ] || echo "stays: $each ($what)"
    done
    for each in "${chosen[@]}"; do
        case $each in "$STATE" | "$STATE"/*) continue ;; esac
        [ ! -e "$each" ] || echo "stays: $each, which you chose: journal, tokens or prices"
    done
    [ "$delete_data" = no ] || ! id marketd >/dev/null 2>&1 || echo "stays: the user marketd, which was there before"
    ! made account || echo "stays: the database $LOCAL_NAME and its account in MariaDB"
    [ -z "$url" ] || echo "stays: the database $url, which you made"
    [ "$delete_data" = yes ] || [ ! -e "$ETC" ] ||
        echo "To delete all of this too: deploy/install.sh --uninstall --delete-data"
    ! is_own_server || ! is_installed mariadb-server ||
        echo "stays: MariaDB, which may hold other databases. To remove it with all of them:" \
            "apt-get purge mariadb-server; rm $OWN_CNF"
}
