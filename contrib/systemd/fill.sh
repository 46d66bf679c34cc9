#!/bin/sh
# The unit templates beside this script, with their placeholders filled in, into the folder DEST.
#   fill.sh DEST            settings from the environment: PREFIX PROGRAM CONFIG CONFIG_DIR SERVICE_USER SERVICE_GROUP KEEP
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dest=${1:?usage: fill.sh DEST}
: "${PREFIX:=/opt/avwapd}" "${CONFIG_DIR:=/etc/avwapd}" "${SERVICE_USER:=avwapd}" "${KEEP:=14}"
: "${SERVICE_GROUP:=$SERVICE_USER}" "${CONFIG:=$CONFIG_DIR/avwapd.toml}"
: "${PROGRAM:=$PREFIX/current/venv/bin/avwapd}"

mkdir -p "$dest"
for template in "$here"/*.service "$here"/*.timer; do
    name=$(basename "$template")
    # Whole beside its place, then renamed: systemd never reads half a unit.
    sed -e "/^@HARDENING@\$/{
        r $here/hardening.conf
        d
        }" "$template" | sed \
        -e "s|@PROGRAM@|$PROGRAM|g" -e "s|@CONFIG@|$CONFIG|g" -e "s|@CONFIG_DIR@|$CONFIG_DIR|g" \
        -e "s|@USER@|$SERVICE_USER|g" -e "s|@GROUP@|$SERVICE_GROUP|g" -e "s|@KEEP@|$KEEP|g" \
        > "$dest/.$name.new"
    if grep -v '^#' "$dest/.$name.new" | grep -q '@[A-Z_]\{2,\}@'; then
        echo "fill.sh: a placeholder is left in $name" >&2
        exit 1
    fi
    chmod 0644 "$dest/.$name.new"
    mv "$dest/.$name.new" "$dest/$name"
done
