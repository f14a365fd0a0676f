#!/bin/sh
# Unhealthy (1) where the daemon does not run or does not answer, and never for what lies outside: a
# venue that is down is no reason to start anything again.
set -u

marketd status --state-dir "$STATE_DIRECTORY" >/dev/null
case $? in
    3 | 4) exit 1 ;;
    *) exit 0 ;;
esac
