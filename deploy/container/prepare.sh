#!/bin/sh
# Makes what compose.yaml needs beside it, once: two passwords nobody has to know, and settings to edit.
# What is there already is left as it is.
set -eu
cd "$(dirname "$0")"

# What compose mounts and copies is read by the containers' users, also where the clone was made for one user.
chmod a+r ../60-marketd.cnf
chmod a+rx health.sh

# Only who may open the folder can read the files in it; the containers, which have users of their
# own, get each file by itself.
mkdir -p secrets
chmod 700 secrets
for name in db-password db-root-password; do
    if [ ! -e "secrets/$name" ]; then
        od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name.new"
        chmod 444 "secrets/$name.new"
        mv "secrets/$name.new" "secrets/$name"
        echo "made secrets/$name"
    fi
done

# No secrets: the container's user reads them.
mkdir -p settings
if [ ! -e settings/marketd.toml ]; then
    cp settings.example.toml settings/marketd.toml
    chmod 755 settings
    chmod 644 settings/marketd.toml
    echo "made settings/marketd.toml: say in it which markets you want"
fi
echo "next: docker compose up --detach --build"
