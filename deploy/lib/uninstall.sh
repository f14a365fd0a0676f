# --uninstall: service and program go; what cannot be had again goes only when told. Sourced by install.sh.
# shellcheck shell=bash

uninstall() {
    [ "$delete_data" = no ] || ask_to_delete
    [ ! -e "$PROGRESS" ] || note "an upgrade was interrupted and is given up; its backup is in $BACKUPS"
    local url
    url=$(sed -n "s/^ *url *= *[\"']\(mysql:.*\)[\"'].*/\1/p" "$SETTINGS" 2>/dev/null || true)
    ! made account || url= # which is ours, and has lines of its own
    remove_service
    remove_program
    if [ "$delete_data" = yes ]; then remove_data; fi
    say_what_stays
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
    local each
    for each in "$ETC" "$STATE" "$BACKUPS"; do
        [ ! -e "$each" ] || {
            say "deleting $each"
            rm -rf "$each"
        }
    done
    ! id marketd >/dev/null 2>&1 || {
        say "removing the user marketd"
        userdel marketd 2>/dev/null || true
        ! getent group marketd >/dev/null || groupdel marketd
    }
}

say_what_stays() {
    [ "$changes" -gt 0 ] || note "marketd is not installed; nothing to do."
    local each what
    for each in "$ETC:settings and secrets" "$STATE:journal, tokens" "$BACKUPS:backups" \
        "$UNIT.d:changes of yours to the unit"; do
        what=${each#*:} each=${each%%:*}
        [ ! -e "$each" ] || echo "stays: $each ($what)"
    done
    ! made account || echo "stays: the database $LOCAL_NAME and its account in MariaDB"
    [ -z "$url" ] || echo "stays: the database $url, which you made"
    [ "$delete_data" = yes ] || [ ! -e "$ETC" ] ||
        echo "To delete all of this too: deploy/install.sh --uninstall --delete-data"
    ! is_own_server || ! is_installed mariadb-server ||
        echo "stays: MariaDB, which may hold other databases. To remove it with all of them:" \
            "apt-get purge mariadb-server; rm $OWN_CNF"
}
