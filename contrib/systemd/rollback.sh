#!/bin/sh
# See: rollback.sh --help. Runs from the checkout it lies in, with any Python 3.11 or newer; --python names another.
set -eu
checkout=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
export PYTHONPATH="$checkout" PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" -m avwapd deploy --checkout "$checkout" --back "$@"
