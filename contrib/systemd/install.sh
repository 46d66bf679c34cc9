#!/bin/sh
# Installs avwapd as a service; run as root from a checkout. Safe to run again: what is there stays.
#   install.sh [--dry-run] [--no-enable] [--prefix DIR] [--config-dir DIR] [--user NAME] [options of deploy.sh]
# Of deploy.sh, for a machine without a network: --wheel FILE --wheels DIR, or --site DIR.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
prefix=/opt/avwapd config_dir=/etc/avwapd user=avwapd dry='' enable=yes
state=/var/lib/avwapd cache=/var/cache/avwapd runtime=/run/avwapd units=/etc/systemd/system bin=/usr/local/bin
program_options=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --no-enable) enable='' ;;
        --prefix) prefix=$2; shift ;;
        --config-dir) config_dir=$2; shift ;;
        --user) user=$2; shift ;;
        --help) sed -n '2,4s/^# *//p' "$0"; exit 0 ;;
        --*=*) program_options="$program_options $1" ;;
        --now | --quick) program_options="$program_options $1" ;;
        --*) program_options="$program_options $1=$2"; shift ;;
        *) echo "install.sh: what is $1?" >&2; exit 64 ;;
    esac
    shift
done
config=$config_dir/avwapd.toml

act() { # told; done unless --dry-run
    echo "  $*"
    [ -n "$dry" ] || "$@"
}
put() { # standard input into a file that is not there yet, or that differs: put FILE MODE OWNER [keep]
    content=$(cat)
    if [ -e "$1" ] && { [ "${4:-}" = keep ] || [ "$(cat "$1")" = "$content" ]; }; then return 0; fi
    echo "  write $1"
    [ -z "$dry" ] || return 0
    printf '%s\n' "$content" > "$1.new"
    chmod "$2" "$1.new"
    chown "$3" "$1.new"
    mv "$1.new" "$1"
}

[ "$(id -u)" = 0 ] || [ -n "$dry" ] || { echo "install.sh: needs root, or --dry-run" >&2; exit 77; }
command -v systemctl >/dev/null || { echo "install.sh: no systemd here" >&2; exit 69; }

echo "user and folders"
getent group "$user" >/dev/null || act groupadd --system "$user"
getent passwd "$user" >/dev/null || act useradd --system --gid "$user" --home-dir "$state" --no-create-home \
    --shell /usr/sbin/nologin "$user"
[ -d "$prefix/releases" ] || act install -d -m 0755 "$prefix" "$prefix/releases"
[ -d "$config_dir" ] || act install -d -m 0750 -g "$user" "$config_dir"
[ -d "$config_dir/credentials" ] || act install -d -m 0700 "$config_dir/credentials"
for folder in "$state" "$state/backups" "$cache"; do
    [ -d "$folder" ] || act install -d -m 0700 -o "$user" -g "$user" "$folder"
done

echo "configuration"
put "$config" 0640 "root:$user" keep <<EOF
# Settings of this machine: only what differs from the defaults, which the package's avwapd.toml lists with their units.
# Secrets have no place here: one file each in $config_dir/credentials, named like the variable (docs/deploy.md).
EOF
put "$prefix/host.json" 0644 root:root <<EOF
{"user": "$user", "group": "$user", "config": "$config", "config_dir": "$config_dir", "state": "$state",
 "cache": "$cache", "runtime": "$runtime", "units": "$units", "credentials": "$config_dir/credentials"}
EOF

echo "command"
sed -e "s|@STATE@|$state|; s|@CACHE@|$cache|; s|@RUNTIME@|$runtime|; s|@CONFIG@|$config|g" \
    -e "s|@USER@|$user|; s|@GROUP@|$user|; s|@PROGRAM@|$prefix/current/venv/bin/avwapd|g" \
    -e "s|@CREDENTIALS@|$config_dir/credentials|g" "$here/avwapd.sh" | put "$bin/avwapd" 0755 root:root

echo "credentials"
for unit in avwapd avwapd-scan avwapd-verify avwapd-health avwapd-alert@; do
    lines=$(for file in "$config_dir"/credentials/*; do
        if [ -f "$file" ]; then echo "LoadCredential=$(basename "$file"):$file"; fi
    done)
    [ -n "$lines" ] || continue
    [ -d "$units/$unit.service.d" ] || act install -d -m 0755 "$units/$unit.service.d"
    printf '[Service]\n%s\n' "$lines" | put "$units/$unit.service.d/credentials.conf" 0644 root:root
done

echo "release and units"
if [ -e "$prefix/current" ]; then
    echo "  $(readlink "$prefix/current") is in use; deploy.sh brings another"
    [ -n "$dry" ] || systemctl daemon-reload
else
    # shellcheck disable=SC2086 # the options are words
    act "$here/deploy.sh" --prefix "$prefix" --why "installed" $program_options
fi

if [ -n "$enable" ]; then
    echo "enabled"
    act systemctl enable --quiet avwapd.service
    for timer in scan restart backup verify; do act systemctl enable --quiet --now "avwapd-$timer.timer"; done
fi
echo "next: settings in $config, keys in $config_dir/credentials, install.sh again, avwapd check --mode all,"
echo "      systemctl start avwapd.service"
