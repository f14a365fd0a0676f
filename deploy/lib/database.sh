# The database: which one, its account, its password. Sourced by install.sh.
# shellcheck shell=bash
LOCAL_NAME=marketd # database and account
SERVER_PACKAGES='^(mariadb|mysql|mysql-community|percona-server)-server|^percona-xtradb-cluster'

# has_server: whether a MySQL or MariaDB is installed or runs here, by whomever.
has_server() {
    local packages
    packages=$(
        dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' 2>/dev/null |
            sed -n 's/^installed //p' | grep -E "$SERVER_PACKAGES" | grep -vE -- '-(core|common)' || true
    )
    [ -n "$packages" ] || pgrep -x 'mariadbd|mysqld' >/dev/null
}

# is_own_server: whether the MariaDB here is one that this script installed, or was about to.
is_own_server() {
    [ -e "$OWN_CNF" ] || return 1
    case $(dpkg-query --show --showformat='${db:Status-Status}' mariadb-server 2>/dev/null) in
    '' | not-installed | config-files) ! has_server ;;
    *) return 0 ;;
    esac
}

# choose_database: own (a MariaDB that this script installs), or local (one that is there already).
choose_database() {
    if ! has_server || is_own_server; then echo own; else echo local; fi
}

# database_of_settings: what the settings file uses, as far as this script has to do with it.
database_of_settings() {
    if ! grep -qE "^ *url *= *[\"']mysql://$LOCAL_NAME@localhost/${LOCAL_NAME}[?\"']" "$SETTINGS"; then
        echo kept
    elif is_own_server; then
        echo own
    elif made account; then
        echo local
    else
        echo kept
    fi
}

# install_mariadb: its configuration first, which also tells later that this server is ours.
install_mariadb() {
    [ -e "$OWN_CNF" ] || {
        say "writing $OWN_CNF: MariaDB in 150 MB"
        mkdir -p "$(dirname "$OWN_CNF")"
        put 0644 root:root "$OWN_CNF" <"$SOURCE/deploy/60-marketd.cnf"
    }
    install_packages mariadb-server
    systemctl is-active --quiet mariadb || {
        say "starting MariaDB"
        systemctl enable --now --quiet mariadb 9>&- || die "MariaDB does not start: journalctl -u mariadb"
    }
}

# sql: run the statements on standard input as the server's root, over the unix socket; no secret in argv.
sql() {
    local client
    client=$(command -v mariadb || command -v mysql) || die "no client is installed: mariadb or mysql"
    "$client" --batch --skip-column-names --user=root 9>&-
}

# make_account: database and account of our own, by the unix socket, with a password that nobody knows.
make_account() {
    [ -e "$SETTINGS" ] && database_answers "$ETC" && return
    local socket
    socket=$(socket_of_server) || exit 1
    mysql_url="mysql://$LOCAL_NAME@localhost/$LOCAL_NAME?unix_socket=$socket"
    made account || refuse_foreign_account
    record account
    [ -s "$PASSWORD" ] || {
        say "making a password for the database in $PASSWORD"
        od -An -N24 -tx1 /dev/urandom | tr -d ' \n' | put 0600 root:root "$PASSWORD"
    }
    crash_point password
    say "making the database $LOCAL_NAME and its account $LOCAL_NAME@localhost"
    sql <<END || die "the account $LOCAL_NAME@localhost could not be made: see above"
CREATE DATABASE IF NOT EXISTS \`$LOCAL_NAME\`;
CREATE USER IF NOT EXISTS '$LOCAL_NAME'@'localhost' IDENTIFIED BY '$(cat "$PASSWORD")';
ALTER USER '$LOCAL_NAME'@'localhost' IDENTIFIED BY '$(cat "$PASSWORD")';
GRANT ALL PRIVILEGES ON \`$LOCAL_NAME\`.* TO '$LOCAL_NAME'@'localhost';
END
}

# socket_of_server: where it is, once root can log in there.
socket_of_server() {
    echo 'SELECT @@socket;' | sql 2>/dev/null ||
        die "root cannot log in to the MySQL or MariaDB of this server. Is it running? Else make an account" \
            "for marketd yourself and name it: --mysql-url mysql://USER@HOST/NAME; or use no server: --sqlite"
}

# refuse_unusable_server: a server that is there already, before anything is made for nothing.
refuse_unusable_server() {
    socket_of_server >/dev/null || exit 1
    made account || refuse_foreign_account
}

refuse_foreign_account() {
    local there
    there=$(
        sql <<END
SELECT CONCAT('the account ', user, '@', host) FROM mysql.user WHERE user = '$LOCAL_NAME';
SELECT CONCAT('the database ', schema_name) FROM information_schema.schemata WHERE schema_name = '$LOCAL_NAME';
END
    )
    [ -z "$there" ] || die "${there//$'\n'/ and } is in this server already, and not made by this script." \
        "Name the one to use: --mysql-url mysql://USER@localhost/NAME; or use no server: --sqlite"
}

drop_account() {
    systemctl is-active --quiet mariadb || systemctl is-active --quiet mysql || systemctl start mariadb || true
    sql <<END
DROP DATABASE IF EXISTS \`$LOCAL_NAME\`;
DROP USER IF EXISTS '$LOCAL_NAME'@'localhost';
END
}

# read_password: of --mysql-url, from a file, standard input or the terminal; never from the command line.
read_password() {
    case ${mysql_url#*://} in
    *:*@*) die "a password does not belong into --mysql-url, where others see it, and the shell keeps it:" \
        "change it, leave it out, and it is asked for" ;;
    esac
    given_password=
    if [ -n "$password_file" ]; then
        [ -r "$password_file" ] || die "--mysql-password-file $password_file: cannot be read"
        IFS= read -r given_password <"$password_file" || true
    elif [ -t 0 ]; then
        IFS= read -r -s -p "Password of ${mysql_url%%\?*} (not shown): " given_password || true
        echo
    else
        IFS= read -r given_password || true
    fi
}

# database_answers FOLDER: whether settings and password in this folder open the database; says why not.
database_answers() {
    local found
    found=$(env CREDENTIALS_DIRECTORY="$1" STATE_DIRECTORY="$STATE" "$OPT/current/bin/marketd" check \
        --config "$1/marketd.toml" 2>&1 || true)
    if grep -qE '^(ok|warning) +database:' <<<"$found"; then return 0; fi
    database_trouble=$(grep -E '^FAILED +(database|settings):' <<<"$found" || echo "$found")
    return 1
}
