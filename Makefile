# run      the demo daemon, in the foreground; Ctrl-C ends it
# test     check, then every test but the campaigns
# check    lint, format, types, floors, no machine's name and no secret
# bench    speed, beside its limits
# campaign long seeded runs
# lock     the newest versions that fit together, with hashes
# clean    back to a fresh checkout

.DEFAULT_GOAL := test
.PHONY: run test check bench campaign lock clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
SETUP := .venv/.stamp
ENGINE := .venv/.compiled
# Bytecode is kept: a suite of hundreds of short processes would compile all sources each time.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

run: $(ENGINE)
	@mkdir -p .state/demo
	@AVWAPD_STATE_DIR=.state/demo exec $(BIN)/avwapd run --config etc/demo.toml

test: $(SETUP)
	@$(MAKE) -f $(firstword $(MAKEFILE_LIST)) --jobs=2 --output-sync=target check $(ENGINE)
	@$(BIN)/python -m tests.side_by_side

check: $(SETUP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.tidy.lint

bench: $(ENGINE)
	@$(BIN)/python -m bench

campaign: $(ENGINE)
	@$(BIN)/python -m pytest -m campaign tests

# -------------------------------------------------------------- the set-up
# The lock names every package, tool and build backend with its hashes; nothing else is installed.
# pip brings uv (checked by hash as well) and uv brings the rest, several times faster;
# where uv cannot reach an index that pip is configured for, pip does it all.

$(SETUP): requirements.lock pyproject.toml
	@mkdir -p .state
	@flock .state/setup.lock $(MAKE) -f $(firstword $(MAKEFILE_LIST)) locked-setup

.PHONY: locked-setup
locked-setup:
	@set -eu; \
	if [ $(SETUP) -nt requirements.lock ] && [ $(SETUP) -nt pyproject.toml ]; then exit 0; fi; \
	new_enough='import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c "$$new_enough" 2>/dev/null; then \
	    for python in $(PYTHON) python3.11 python3 none; do \
	        if [ $$python = none ]; then \
	            echo 'make: no Python 3.11 or newer with venv found (Debian: python3-venv); say make PYTHON=…' >&2; exit 1; \
	        fi; \
	        if $$python -c "$$new_enough" 2>/dev/null; then break; fi; \
	    done; \
	    echo "set-up: .venv with $$($$python --version)" >&2; \
	    $$python -m venv --clear .venv; \
	fi; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1; \
	if [ -n "$${PIP_CERT:-}" ]; then export SSL_CERT_FILE="$${SSL_CERT_FILE:-$$PIP_CERT}"; fi; \
	awk '/^[^ #]/ { keep = /^uv==/ } keep' requirements.lock > .venv/uv.lock; \
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .venv/uv.lock; \
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
	    || $(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .; \
	touch $(SETUP)

# The engine's machine code goes to the user's cache, in a folder named by the hash of its sources.
$(ENGINE): $(SETUP) avwapd/compiled.py $(wildcard avwapd/core/*.py)
	@echo 'set-up: compiling the engine (once)' >&2
	@$(BIN)/python -m avwapd.research.precompile
	@touch $(ENGINE)

# ---------------------------------------------------------------- the lock
# Universal: one file for every Python from 3.11. No address of an index is in it, so any mirror serves.
# Starts from nothing, so that every version moves; needs any uv (python3 -m pip install uv).

lock: UV := $(firstword $(wildcard $(BIN)/uv) uv)
lock:
	@UV_PYTHON_DOWNLOADS=never $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	    --output-file requirements.lock pyproject.toml
	@git diff --stat -- requirements.lock 2>/dev/null || true

clean:
	rm -rf .venv .state dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find avwapd tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
