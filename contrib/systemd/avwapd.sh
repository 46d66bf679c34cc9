#!/bin/sh
# avwapd as its service sees the world, for a person at a shell. Root becomes the service's user first, so that nothing
# in the state folder ever belongs to root.
set -eu
export AVWAPD_STATE_DIR="${AVWAPD_STATE_DIR:-@STATE@}" AVWAPD_CACHE_DIR="${AVWAPD_CACHE_DIR:-@CACHE@}"
export RUNTIME_DIRECTORY="${RUNTIME_DIRECTORY:-@RUNTIME@}"
if [ "$(id -u)" = 0 ]; then
    # The account's keys, as the units get them: a kill has to work with the service dead. The token of live trading is
    # not among them: whoever arms types it.
    for file in @CREDENTIALS@/*; do
        name=${file##*/}
        case $name in LIVE_CONFIRM_TOKEN | *[!A-Z0-9_]* | [0-9]*) continue ;; esac
        [ ! -f "$file" ] || export "$name=$(cat "$file")"
    done
    exec setpriv --reuid @USER@ --regid @GROUP@ --init-groups -- @PROGRAM@ --config @CONFIG@ "$@"
fi
exec @PROGRAM@ --config @CONFIG@ "$@"
