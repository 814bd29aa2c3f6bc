# Each target sets up what it needs. `make demo` and `make test` are all that a newcomer types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .venv-clients
# The CPU build of torch is not on PyPI: taken from where pip is told to look, else from PyTorch's own index.
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PLATFORM ?= cpu
# What the packages need of the system beside what every Debian has: vLLM's CPU build.
LIBRARIES := $(if $(filter cpu,$(PLATFORM)),libnuma.so.1=libnuma1)
LOCKED := --extra train --extra eval --extra demo --extra dev

SHELL := bash -o pipefail

.PHONY: help setup clients demo test fresh serve lint format lock docs clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: $(VENV)/.installed ## Create .venv from the pinned list

$(VENV)/.installed: requirements/$(PLATFORM).txt pyproject.toml
	@requirements/venv $(PYTHON) $(VENV) $(LIBRARIES)
	@echo "Installing the pinned packages into $(VENV) (3 GB; some minutes the first time)"
	@test $(PLATFORM) != cpu \
	  || requirements/install $(VENV) --no-deps '$(TORCH)' 2>/dev/null \
	  || requirements/install $(VENV) --no-deps --index-url $(TORCH_INDEX) '$(TORCH)'
	@requirements/install $(VENV) --no-deps -r requirements/$(PLATFORM).txt
	@requirements/install $(VENV) --no-deps --no-build-isolation -e .
	@touch $@

clients: $(CLIENTS)/.installed ## Create .venv-clients, with the clients that the tests use

$(CLIENTS)/.installed: requirements/clients.txt
	@requirements/venv $(PYTHON) $(CLIENTS)
	@echo "Installing the pinned clients into $(CLIENTS) (0.7 GB)"
	@requirements/install $(CLIENTS) --no-deps -r requirements/clients.txt
	@touch $@

demo: setup ## The whole loop on three real domains; FRESH=1 starts over
	@HF_HUB_OFFLINE=1 $(BIN)/python -m locum.demo $(if $(FRESH),--fresh)

test: setup clients ## Run the test suite
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses 2

serve: setup ## Serve what is registered
	@$(BIN)/locum serve

fresh: ## As root: setup and the demo's first steps on a bare Debian 12, and the Dockerfile's steps
	@.ci/fresh

lint: setup ## Format check, lint, types, Dockerfile
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile

format: setup ## Put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup ## Write what the documentation takes from the code
	@$(BIN)/cog -r docs/cli.md docs/data.md docs/serving.md docs/suites.md

lock: ## Pin everything anew: requirements/cpu.txt, gpu.txt and clients.txt
	@test -x .lock-venv/bin/uv || { requirements/venv $(PYTHON) .lock-venv && requirements/install .lock-venv uv==0.13.9; }
	@for platform in cpu gpu; do \
	  .lock-venv/bin/uv pip compile pyproject.toml requirements/$$platform.in $(LOCKED) --extra $$platform \
	    --override requirements/exclude-$$platform.txt --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	    --custom-compile-command "make lock" --quiet --output-file requirements/$$platform.txt || exit 1; \
	done
	@.lock-venv/bin/uv pip compile --group clients --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	  --custom-compile-command "make lock" --quiet --output-file requirements/clients.txt

clean: ## Remove what can be made again, but no trained adapter
	@rm -rf $(VENV) $(CLIENTS) .lock-venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
