# Each target sets up what it needs. `make demo` and `make test` are all that a newcomer types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch is not on PyPI: taken from where pip is told to look, else from PyTorch's own index.
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PLATFORM ?= cpu
LOCKED := --extra train --extra eval --extra demo --extra dev

SHELL := bash -o pipefail

.PHONY: help setup demo test serve lint format lock docs clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: $(VENV)/.installed ## Create .venv from the pinned list

$(VENV)/.installed: requirements/$(PLATFORM).txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Locum needs Python 3.11 or newer, found $$($(PYTHON) -V); try: make PYTHON=python3.11"; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (3 GB; some minutes the first time)"
	@test $(PLATFORM) != cpu \
	  || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps '$(TORCH)' 2>/dev/null \
	  || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --index-url $(TORCH_INDEX) '$(TORCH)'
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off --no-deps -r requirements/$(PLATFORM).txt \
	  | awk '/^(Collecting|Requirement already)/ {printf "\r  %d packages fetched", ++n; fflush()} \
	         /^Installing collected/ {printf "\r  %d packages fetched, installing them\n", n; fflush()}'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## The whole loop on three real domains; FRESH=1 starts over
	@HF_HUB_OFFLINE=1 $(BIN)/python -m locum.demo $(if $(FRESH),--fresh)

test: setup ## Run the test suite
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses 2

serve: setup ## Serve what is registered
	@$(BIN)/locum serve

lint: setup ## Format check, lint, types, Dockerfile
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile

format: setup ## Put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup ## Write what the documentation takes from the code
	@$(BIN)/cog -r docs/cli.md docs/serving.md docs/suites.md

lock: ## Pin everything anew: requirements/cpu.txt and requirements/gpu.txt
	@test -x .lock-venv/bin/uv || { $(PYTHON) -m venv .lock-venv && .lock-venv/bin/pip install --quiet uv==0.13.9; }
	@for platform in cpu gpu; do \
	  .lock-venv/bin/uv pip compile pyproject.toml requirements/$$platform.in $(LOCKED) --extra $$platform \
	    --override requirements/exclude-$$platform.txt --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	    --custom-compile-command "make lock" --quiet --output-file requirements/$$platform.txt || exit 1; \
	done

clean: ## Remove what can be made again, but no trained adapter
	@rm -rf $(VENV) .lock-venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
