# make demo | test | check | bench | chaos | lock | clean      arguments are handed on: make test ARGS="-k journal"
#
# The first of them makes .venv and installs what requirements.lock pins, wheels only, hashes checked.
# It is done again only when requirements.lock or pyproject.toml changed.

PYTHONS := python3 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(PYTHONS); do "$$p" -c "$(NEW_ENOUGH)" 2>/dev/null && { echo "$$p"; break; }; done)

BIN := .venv/bin
INSTALLED := .venv/installed.stamp
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK_VENV := build/lock-venv
ARGS ?=
WORKERS ?= 2

.PHONY: help demo test check bench chaos lock clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile

demo: $(INSTALLED)
	@exec $(BIN)/ssmd up --demo $(ARGS)

# Two processes share the tests: half of the time goes into waiting for real ones. One alone: make test WORKERS=0
test: $(INSTALLED)
	@exec $(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py tests/test_sizes.py tests/test_docs.py

bench: $(INSTALLED)
	@exec $(BIN)/python -m bench $(ARGS)

chaos: $(INSTALLED)
	@exec $(BIN)/pytest $(if $(findstring chaos/,$(ARGS)),,chaos) $(ARGS)

# A .venv without our stamp or without pip was made by something else, or only half: it is made anew.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c "$(NEW_ENOUGH)" || { \
	  echo "ssmd needs Python 3.11 or newer; found: $$("$(or $(PYTHON),python3)" --version 2>&1)." \
	    "Name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -e $@ && $(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@echo "installing what requirements.lock pins into .venv"
	@$(PIP) --require-hashes --no-deps --only-binary :all: -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

# The one set of pins, for people, CI and images. It keeps what is pinned already; ARGS=--upgrade takes the newest,
# ARGS="--upgrade-package trio" one of them. uv is used here only, in an environment that is thrown away.
lock:
	@rm -rf $(LOCK_VENV)
	"$(PYTHON)" -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: uv
	$(LOCK_VENV)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	| $(LOCK_VENV)/bin/uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 \
	    --only-binary :all: --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --quiet --output-file requirements.lock $(ARGS)
	@rm -rf $(LOCK_VENV)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
