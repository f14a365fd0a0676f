# The service: its unit file, starting it, waiting until it is ready. Sourced by install.sh.
# shellcheck shell=bash
READY_WITHIN_S=${MARKETD_READY_WITHIN_S:-120} # shorter in tests only

# put_unit RELEASE: its unit file, unless somebody edited the one that is there: then beside it.
# The one there is nobody's work where it equals that of any release.
put_unit() {
    local ours=$OPT/releases/$1/deploy/marketd.service each
    cmp -s "$ours" "$UNIT" && return
    if [ -e "$UNIT" ]; then
        for each in "$OPT"/releases/*/deploy/marketd.service ''; do cmp -s "$each" "$UNIT" && break; done
        if [ -z "$each" ]; then
            cmp -s "$ours" "$UNIT.new" || {
                put 0644 root:root "$UNIT.new" <"$ours"
                say "$UNIT was edited and stays; this version's is in $UNIT.new"
            }
            return
        fi
    fi
    say "writing $UNIT"
    put 0644 root:root "$UNIT" <"$ours"
    rm -f "$UNIT.new"
    systemctl daemon-reload
}

# start_service: enable and start it, where it is not; leave with what it said where it gets not ready.
start_service() {
    systemctl is-enabled --quiet marketd 2>/dev/null || {
        say "the service starts with the server from now on"
        systemctl enable --quiet marketd
    }
    systemctl is-active --quiet marketd && return
    say "starting marketd"
    systemctl reset-failed marketd 2>/dev/null || true
    systemctl start --no-block marketd
    wait_ready || {
        last_words
        die "marketd is not ready within $READY_WITHIN_S s: see above, and journalctl -u marketd"
    }
}

# wait_ready: until systemd has heard READY=1; false where that takes too long, or will never be.
wait_ready() {
    local until=$((SECONDS + READY_WITHIN_S)) state
    while [ $SECONDS -lt $until ]; do
        state=$(systemctl show --property ActiveState --value marketd)
        case $state in
        active) return 0 ;;
        failed) return 1 ;;
        esac
        sleep 0.3
    done
    return 1
}

last_words() {
    journalctl --unit marketd --lines 15 --no-pager --output cat >&2 || true
}

say_next_steps() {
    [ "$changes" -gt 0 ] || {
        note "Nothing to do: marketd $(release_in_use) is installed and runs."
        return
    }
    cat <<END

marketd $(release_in_use) runs. What comes next:
  sudo usermod --append --groups marketd ${SUDO_USER:-YOU}    then log in again: marketd's commands without sudo
  sudo nano $SETTINGS    which venue, which markets; it says what each key does
  sudo marketd token set VENUE            where the venue needs an account's token
  sudo marketd check                      is all well? then: sudo systemctl reload marketd
  marketd status                          who is in which state
  sudo journalctl -u marketd -f           what happens
END
}
