#!/bin/sh
# Makes the environment in folder $1 with the first Python that is new enough, or says what is missing.
set -eu

for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "marketd: $python cannot make environments: apt install python3-venv" >&2
            exit 1
        fi
        exec "$python" -m venv "$1"
    fi
done
found=$("${PYTHON:-python3}" --version 2>&1) || found="no ${PYTHON:-python3}"
echo "marketd: Python 3.11 or newer is missing (found: $found)." \
    "Install it, or name one: make PYTHON=/path/to/python3" >&2
exit 1
