# --upgrade: to the clone's version and, where that gets not ready, back again. Sourced by install.sh.
#
# $OPT/upgrade exists from the moment the old version is stopped until one of the two is ready; it says
# how far things are, so that an upgrade that was interrupted is gone on with by giving the command again.
# shellcheck shell=bash
PROGRESS=$OPT/upgrade
KEPT_BACKUPS=2

upgrade() {
    local new
    [ -e "$OPT/current" ] || die "marketd is not installed here: deploy/install.sh without --upgrade does that"
    new=$(release_name)
    if [ -e "$PROGRESS" ]; then
        resume
    elif ! is_complete "$(release_in_use)"; then
        die "marketd $(release_in_use) does not run any more, so it cannot make a backup (did the system get a" \
            "new Python?). deploy/install.sh without --upgrade puts this clone's version in its place, with" \
            "all settings and data; there is no way back from that"
    elif [ "$(release_in_use)" = "$new" ]; then
        note "marketd $new is installed already."
        return
    else
        begin "$new"
    fi
    go_on
    [ "$to" = "$new" ] || note "This clone is $new: deploy/install.sh --upgrade brings it."
}

# begin NEW: all that leaves the old version running.
begin() {
    from=$(release_in_use) to=$1
    refuse_open_trades
    check_disk "$OPT" "$ROOM_FOR_RELEASE_MB"
    rm -f "$BACKUPS"/before-*.backup.new # of an upgrade that was killed
    check_disk "$BACKUPS" $((ROOM_FOR_DATA_MB + $(size_of_database_mb))) "; backups of earlier upgrades may go"
    install_packages python3 python3-venv ca-certificates
    folder 0700 root:root "$BACKUPS"
    build_release "$to"
    since_us=$(date +%s%6N)
    make_backup
    crash_point backed-up
    step=switch
    write_progress
}

# go_on: from the step that $PROGRESS tells.
go_on() {
    if [ "$step" = switch ]; then
        switch_over
        if wait_ready; then
            finish
            return
        fi
        step=back
        write_progress
    fi
    take_back
}

write_progress() {
    printf '%s\n' "step=$step" "from=$from" "to=$to" "backup=$backup" "since_us=$since_us" |
        put 0600 root:root "$PROGRESS"
}

resume() {
    local name value
    while IFS='=' read -r name value; do
        case $name in step | from | to | backup | since_us) declare -g "$name=$value" ;; esac
    done <"$PROGRESS"
    note "going on with the upgrade from $from to $to that was interrupted"
}

# --- before ---------------------------------------------------------------------------------------

# refuse_open_trades: a restart with real money at stake is refused. Paper trades are settled later.
refuse_open_trades() {
    local open
    open=$( (marketd_of "$from" status --json 2>/dev/null || true) | "$OPT/releases/$from/bin/python" -I -c '
import json, sys
trading = json.loads(sys.stdin.read() or "{}").get("trading") or {}
print(trading.get("open_real") or 0)')
    [ "$open" = 0 ] || die "$open real trades are open; nothing was changed. Wait until they are settled:" \
        "marketd drain on, then marketd trades --open"
}

# state_folder: where the state is, should somebody have moved it.
state_folder() {
    local moved
    moved=$(sed -n "s/^[[:blank:]]*state_dir[[:blank:]]*=[[:blank:]]*[\"']\([^\"']*\)[\"'].*/\1/p" "$SETTINGS")
    echo "${moved:-$STATE}"
}

size_of_database_mb() {
    local sum=0 each
    for each in "$(state_folder)"/*.db "/var/lib/mysql/$LOCAL_NAME"; do
        [ ! -e "$each" ] || sum=$((sum + $(du --summarize --block-size=1M "$each" | cut -f1)))
    done
    echo "$sum"
}

# make_backup: by the old version, while it runs. A daemon that has never run has nothing to lose.
make_backup() {
    backup=
    [ -e "$(state_folder)/journal.db" ] || return 0
    backup=$BACKUPS/before-$to-$since_us.backup
    say "backing up to $backup; marketd $from runs on meanwhile"
    marketd_of "$from" backup "$backup" ||
        die "there is no backup, so nothing was changed: see above. Where the fault is that version's own:" \
            "deploy/install.sh --uninstall keeps settings and data, and deploy/install.sh then installs this" \
            "clone's; there is no way back from that"
}

# --- there ----------------------------------------------------------------------------------------

# switch_over: stop the old version, start the new one.
switch_over() {
    stop_service
    crash_point stopped
    switch_to "$to"
    put_unit "$to"
    crash_point switched
    say "bringing the database up to date"
    marketd_of "$to" migrate || note "it could not be brought up to date yet, see above; the start tries again"
    crash_point migrated
    start_fresh
}

finish() {
    rm -f "$PROGRESS"
    say "marketd $to is ready; before it was $from"
    prune_releases "$to" "$from"
    prune_backups
    [ -z "$backup" ] || note "The backup from before is kept: $backup"
}

stop_service() {
    case $(systemctl show --property ActiveState --value marketd) in inactive | failed) return 0 ;; esac
    say "stopping marketd"
    systemctl stop marketd
}

start_fresh() {
    say "starting marketd $(release_in_use)"
    systemctl daemon-reload
    systemctl reset-failed marketd 2>/dev/null || true
    systemctl start --no-block marketd
}

# prune_backups: of upgrades, all but the newest. Their names end with the time.
prune_backups() {
    local each
    find "$BACKUPS" -name 'before-*.backup' -printf '%T@ %p\n' | sort -rn | tail -n "+$((KEPT_BACKUPS + 1))" |
        cut -d' ' -f2- | while read -r each; do
        note "deleting the old backup $each"
        rm -f "$each"
    done
}

# --- and back -------------------------------------------------------------------------------------

# take_back: the old version, with the data of the backup and what was stored since.
take_back() {
    echo "marketd $to did not get ready within $READY_WITHIN_S s, or ended for good; what it said last:" >&2
    last_words
    say "going back to marketd $from"
    systemctl stop marketd
    crash_point back-stopped
    [ -z "$backup" ] || restore_backup
    crash_point back-restored
    switch_to "$from"
    put_unit "$from"
    start_fresh
    rm -f "$PROGRESS" # whatever comes now, a mended version may be upgraded to
    wait_ready || {
        last_words
        die "marketd $from, which ran before, is not ready either: see above. The backup is $backup"
    }
    die "marketd $from runs again; $to did not get ready (journalctl -u marketd says why)." \
        "${backup:+The backup is kept: $backup}"
}

# restore_backup: first the new version puts its tables aside, for only it knows them all; what it cannot
# do the old one does as far as it can.
restore_backup() {
    as_service "$OPT/releases/$to/bin/python" -I -m supervisor.commands.set_aside ||
        note "marketd $to could not put its tables aside"
    as_service "$OPT/releases/$from/bin/python" -I -m supervisor.commands.take_back "$backup" \
        --since-us "$since_us" ||
        die "the backup $backup could not be restored: see above. marketd is stopped, nothing is lost." \
            "deploy/install.sh --upgrade tries again"
}
