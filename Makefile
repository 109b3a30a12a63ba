# `make demo` and `make test` set up everything they need; Python ≥ 3.11 and make are enough to begin with.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help
help: ## Show what there is to make
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; this is " + sys.version.split()[0] + " (choose another with make PYTHON=…)")'
	@echo "==> virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> installing the locked packages (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(READY) ## Create the virtual environment

.PHONY: demo
demo: $(READY) ## Show the main job on a real API server (KEEP=1 leaves it running)
	@$(BIN)/pipebell demo $(if $(KEEP),--keep)

.PHONY: test
test: $(READY) ## Run all tests, in parts side by side (JOBS=2); with ARGS, one pytest with these
	@$(BIN)/pipebell cluster build
	@$(BIN)/python $(if $(strip $(ARGS)),-m pytest $(ARGS),-m tests.parts $(if $(JOBS),--jobs $(JOBS)))

.PHONY: test-integrations
test-integrations: $(READY) ## Airflow, Prefect, Dagster and dbt as they are (PRODUCTS=dbt,airflow-3 for some of them)
	@PIPEBELL_INTEGRATIONS=$(or $(PRODUCTS),all) $(BIN)/python -m pytest -rs tests/integrations --timeout 1800 $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure speed on a real API server: everything (docs/performance.md; ARGS="--only incidents")
	@$(BIN)/pipebell cluster build
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

.PHONY: bench-quick
bench-quick: $(READY) ## Measure the essentials of it, in two minutes
	@$(BIN)/pipebell cluster build
	@PYTHONPATH=tests $(BIN)/python -m bench --quick

.PHONY: bench-peers
bench-peers: $(READY) ## Measure a peer beside Pipebell, in one run (docs/performance.md)
	@$(BIN)/pipebell cluster build
	@PYTHONPATH=tests $(BIN)/python -m bench.peers

.PHONY: fuzz
fuzz: $(READY) ## Throw 100,000 hostile inputs at every door, in ten minutes (FUZZ_SECONDS=60 for less)
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(or $(FUZZ_SECONDS),600) $(ARGS)

.PHONY: soak
soak: $(READY) ## Three replicas through kills and outages under load, 20 minutes (SOAK_SECONDS=240 for less)
	@$(BIN)/pipebell cluster build
	@PYTHONPATH=tests $(BIN)/python -m soak --seconds $(or $(SOAK_SECONDS),1200) $(ARGS)

.PHONY: soak-digests
soak-digests: $(READY) ## 1,000 events into digests through kills, an outage and an older release, 8 minutes
	@$(BIN)/pipebell cluster build
	@PYTHONPATH=tests $(BIN)/python -m soak.digests $(ARGS)

.PHONY: soak-incidents
soak-incidents: $(READY) ## 1,000 pipelines fail and recover through kills and outages, 10 minutes (INCIDENT_SECONDS=120 for less)
	@$(BIN)/pipebell cluster build
	@PYTHONPATH=tests $(BIN)/python -m soak.incidents --seconds $(or $(INCIDENT_SECONDS),600) $(ARGS)

.PHONY: storms
storms: $(READY) ## Incidents through 500 random storms of two replicas in one process, ten minutes (STORMS=50 for less)
	@PIPEBELL_STORMS=$(or $(STORMS),500) $(BIN)/python -m pytest -q tests/engine/upkeep/test_incidents_in_storms.py $(ARGS)

.PHONY: test-e2e
test-e2e: $(READY) ## Image and chart on a real node (KUBECONFIG and PIPEBELL_E2E_LOAD, or PIPEBELL_E2E_NODE)
	@PIPEBELL_E2E=$(or $(E2E),required) $(BIN)/python -m pytest -rs tests/e2e_node $(ARGS)

.PHONY: check
check: $(READY) ## Formatting, lint, types, layers, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pipebell.cli.generate --check

.PHONY: generate
generate: $(READY) ## Write crds/ from the models, and manifests/ from the chart
	@$(BIN)/python -m pipebell.cli.generate
	@$(BIN)/python -m pipebell.cli.render_manifests

.PHONY: format
format: $(READY) ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

# Three of the same versions: for development, for the operator's image, and for building the wheel in it.
.PHONY: lock
lock: $(READY) ## Pin every package again, newest versions
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) --upgrade --extra operator --extra local --group dev -o requirements.lock pyproject.toml
	@$(COMPILE) -c requirements.lock --extra operator -o requirements-operator.lock pyproject.toml
	@$(COMPILE) -c requirements.lock --group build -o requirements-build.lock

.PHONY: screenshots
screenshots: $(READY) ## Photograph the messages that docs/destinations shows (installs Chromium where it can)
	@PYTHONPATH=tests $(BIN)/python -m pictures $(ARGS)

.PHONY: clean
clean: ## Remove what was made here; the control plane stays in the user's cache
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
