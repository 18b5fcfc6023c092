# Every target does its own set-up: `make test` on a fresh clone is enough.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed
WORKERS ?= 2
UV ?= uv

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: setup
setup: $(STAMP) engine ## Make .venv from the hash lock, install the package into it, and have a Pulumi engine

.PHONY: engine
engine: $(STAMP) ## Have a Pulumi engine: an installed one, the vendor's, or one built from Go modules (once, about 5 min)
	@folder=$$($(PY) tools/engine/ensure); echo "engine: $$folder"

.PHONY: browser
browser: $(STAMP) ## Have a Chromium for the tests of pages: an installed one, or Debian's package (as root)
	@path=$$($(PY) tools/browser/ensure); echo "browser: $$path"

# Without a browser the other tests run all the same, and those of pages fail with the sentence that this prints.
.PHONY: try-browser
try-browser: $(STAMP)
	@$(PY) tools/browser/ensure >/dev/null || true

.PHONY: demo
demo: setup ## Run the first example from preview to destroy, and check each step
	@$(PY) examples/demo.py

.PHONY: test
test: setup try-browser ## Run every test
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal --timeout 900 $(ARGS)

.PHONY: check
check: $(STAMP) ## The part that takes under a minute: lint, format, types, layers, unit and house tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PY) -m pytest -n $(WORKERS) -q -m "not slow and not e2e and not faults" tests/unit tests/house $(ARGS)

.PHONY: bench
bench: setup ## Measure the figures that the README claims, each against its counterpart
	@$(PY) -m benchmarks $(ARGS)

.PHONY: faults
faults: setup ## The full fault campaigns: 50 rounds each, 100 of reconciliation, 10000 operations on sessions (ARGS="--rounds N --only NAME")
	@$(PY) -m tests.faults $(ARGS)

.PHONY: lock
lock: ## Resolve requirements/dev.in and both pyproject.toml anew into requirements/dev.txt (needs uv)
	@command -v $(UV) >/dev/null || { echo "uv is needed: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 --all-extras --no-emit-package atlas-session $(ARGS) \
	  pyproject.toml sdk/python/pyproject.toml requirements/dev.in -o requirements/dev.txt

.PHONY: clean
clean: ## Remove what the other targets made in this folder (the cached engine stays)
	rm -rf $(VENV) .demo .benchmarks .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock is whole, so pip resolves nothing: left to itself it prefers a newer release of what an extra names.
# Redone when the lock or the package's own metadata change; an environment that was left half made is begun anew.
$(STAMP): requirements/dev.txt pyproject.toml sdk/python/pyproject.toml tools/venv
	@echo "setup: installing the locked packages into $(VENV)" >&2
	@tools/venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable sdk/python --editable .
	@touch $@
