# The settings file: written once, from the defaults; from then on it is the operator's. Sourced by install.sh.
# shellcheck shell=bash

# write_settings: where there are none, and only ones by which the database answers.
write_settings() {
    [ ! -e "$SETTINGS" ] || return 0
    local fresh=$ETC/new
    rm -rf "$fresh"
    mkdir -m 0700 "$fresh"
    "$OPT/current/bin/marketd" init --config "$fresh/marketd.toml" </dev/null >/dev/null
    [ "$database" = sqlite ] || set_key url "$mysql_url" "$fresh/marketd.toml"
    case $database in
    url) printf '%s' "$given_password" | put 0600 root:root "$fresh/db-password" ;;
    own | local) cp -p "$PASSWORD" "$fresh/db-password" ;;
    esac
    database_answers "$fresh" || {
        rm -rf "$fresh"
        die "the database does not answer; no settings were written. Put it right and give the command" \
            "again: $database_trouble"
    }
    [ "$database" != url ] || [ -z "$given_password" ] || {
        say "keeping the database's password in $PASSWORD"
        mv -f "$fresh/db-password" "$PASSWORD"
    }
    say "writing the settings, $SETTINGS"
    put 0640 root:marketd "$SETTINGS" <"$fresh/marketd.toml"
    rm -rf "$fresh"
}

# set_key NAME VALUE FILE: give the first such key, which is commented out, a value.
set_key() {
    local value=${2//[\\&|]/\\&}
    sed -i "0,/^#$1 =.*/s|^#$1 =.*|$1 = \"$value\"|" "$3"
    grep -qF "$1 = \"$2\"" "$3" || die "$3: the key $1 could not be set"
}
