# Releases: each version has an environment of its own, and a link says which is used. Sourced by install.sh.
# shellcheck shell=bash

# What is installed of a clone: the Python packages that setup.cfg names, what describes them, this folder.
release_parts() {
    sed -n '/^packages =/,/^[^ ]/s/^    \([a-z_]*\).*/\1/p' "$SOURCE/setup.cfg" | sort -u
    printf '%s\n' setup.cfg pyproject.toml deploy
}

# release_name: version and content, so that the same clone has the same name, whatever git knows of it.
release_name() {
    local version content
    version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' "$SOURCE/supervisor/version.py")
    content=$(
        release_parts | (cd "$SOURCE" && xargs -I{} find {} -type f ! -name '*.py[co]') | sort |
            (cd "$SOURCE" && xargs -d '\n' sha256sum) | sha256sum
    )
    echo "$version-${content:0:12}"
}

# release_in_use: the name of the release that the link leads to; nothing where there is none.
release_in_use() {
    local target
    target=$(readlink "$OPT/current") || return 0
    basename "$target"
}

# is_complete NAME: whether it was built to the end, and runs: a new Python of the system may have ended that.
is_complete() {
    [ -e "$OPT/releases/$1/complete" ] && "$OPT/releases/$1/bin/marketd" --version >/dev/null 2>&1
}

refuse_other_release() {
    local used
    used=$(release_in_use)
    [ ! -e "$OPT/upgrade" ] || die "an upgrade was interrupted: deploy/install.sh --upgrade ends it first"
    [ -z "$used" ] || [ "$used" = "$1" ] || ! is_complete "$used" ||
        die "marketd $used is installed, this clone is $1; nothing was changed. To bring it up to date:" \
            "deploy/install.sh --upgrade"
}

# build_release NAME: make its environment, whole or not at all; the one in use is not touched.
build_release() {
    local release=$OPT/releases/$1
    local copy=$release/source # the clone is somebody's: no file in it may become root's
    is_complete "$1" && return
    say "building marketd $1 in $release (a minute or two)"
    rm -rf "$release"
    mkdir -p "$copy"
    copy_sources "$copy"
    PYTHON=/usr/bin/python3 "$SOURCE/deploy/make_venv.sh" "$release" ||
        die "no environment could be made in $release: see above"
    crash_point built-half
    "$release/bin/python" -I -m pip --quiet --disable-pip-version-check --no-cache-dir \
        install "${copy}[rest]" ||
        die "marketd $1 could not be built: see above; what is installed was not touched"
    rm -rf "$copy"
    "$release/bin/marketd" --version >/dev/null || die "marketd $1 does not run: see above"
    cp -r "$SOURCE/deploy" "$release/deploy"
    sync --file-system "$release"
    touch "$release/complete"
}

copy_sources() {
    local each
    while read -r each; do cp -r "$SOURCE/$each" "$1/"; done < <(release_parts)
    cp "$SOURCE"/README.md "$SOURCE"/LICENSE "$1/"
}

# switch_to NAME: let the link lead to this release, in one step.
switch_to() {
    [ "$(release_in_use)" != "$1" ] || return 0
    say "marketd $1 is the one in use"
    ln -sfn "releases/$1" "$OPT/current.new"
    mv -fT "$OPT/current.new" "$OPT/current"
}

make_link() {
    [ "$(readlink "$LINK")" = "$OPT/current/bin/marketd" ] || {
        [ ! -e "$LINK" ] || [ -L "$LINK" ] || die "$LINK is there already and not ours: move it away"
        mkdir -p "$(dirname "$LINK")"
        ln -sfn "$OPT/current/bin/marketd" "$LINK"
        say "linked $LINK"
    }
}

# prune_releases NAME...: delete all others.
prune_releases() {
    local each keep
    for each in "$OPT"/releases/*; do
        for keep in "$@"; do [ "$(basename "$each")" != "$keep" ] || continue 2; done
        say "deleting the old release $each"
        rm -rf "$each"
    done
}
