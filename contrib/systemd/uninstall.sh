#!/bin/sh
# Takes the service away and leaves what it knew: ledger, archive, configuration, keys. Safe to run again.
#   uninstall.sh [--dry-run] [--prefix DIR]
set -eu
prefix=/opt/avwapd dry=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --prefix) prefix=$2; shift ;;
        --help) sed -n '2,3s/^# *//p' "$0"; exit 0 ;;
        *) echo "uninstall.sh: what is $1?" >&2; exit 64 ;;
    esac
    shift
done
units=/etc/systemd/system bin=/usr/local/bin
act() {
    echo "  $*"
    [ -n "$dry" ] || "$@"
}
[ "$(id -u)" = 0 ] || [ -n "$dry" ] || { echo "uninstall.sh: needs root, or --dry-run" >&2; exit 77; }
told() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" "$prefix/host.json" 2>/dev/null || true; }
state=$(told state) config_dir=$(told config_dir)

echo "a position keeps its stop at the venue; flatten first if it shall not stay: avwapd ctl flatten"
if [ -n "$(find "$units" -maxdepth 1 -name 'avwapd*' 2>/dev/null | head -n 1)" ]; then
    for timer in scan restart backup verify; do act systemctl disable --quiet --now "avwapd-$timer.timer" || true; done
    act systemctl disable --quiet --now avwapd.service || true
    for path in "$units"/avwapd.service "$units"/avwapd@.service "$units"/avwapd-*.service "$units"/avwapd-*.timer \
        "$units"/avwapd*.service.d; do
        [ ! -e "$path" ] || act rm -r "$path"
    done
    act systemctl daemon-reload
fi
[ ! -e "$bin/avwapd" ] || act rm "$bin/avwapd"
[ ! -d "$prefix/releases" ] || act rm -r "$prefix/releases"
for path in "$prefix/current" "$prefix/previous" "$prefix/host.json" "$prefix/.lock"; do
    [ ! -L "$path" ] && [ ! -e "$path" ] || act rm "$path"
done
[ ! -d "$prefix" ] || act rmdir --ignore-fail-on-non-empty "$prefix"
echo "left as they are: ${state:-the state folder}, ${config_dir:-the configuration}, and the service's user"
