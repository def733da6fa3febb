# Each target does its own set-up: the first call installs everything into .venv, later ones need no network.
#
#   make run                    train on Python's standard library for 5 minutes, then show what came out
#   make run MINUTES=20         the same, for longer
#   make test                   all tests           (make test ARGS="tests/unit -x" for some)
#   make lint                   ruff, mypy and the layers
#   make bench                  the figures about speed, in about 40 minutes (make bench BENCH=quality for the others)
#   make clean                  remove .venv and caches; models, runs and training data stay
#   make format                 let ruff format the code
#
# PYTHON=python3.12             another Python (3.11 or newer) than python3
# TORCH_INDEX=URL               take torch from this package index, such as PyTorch's one of CPU builds

PYTHON ?= python3
MINUTES ?= 5
ARGS ?=
BENCH ?= throughput scaling decode preparation reducer
TORCH_INDEX ?=

BIN := .venv/bin
# The stamp's name changes with what must be installed, and with the place: an editable installation knows its path.
STAMP := .venv/.installed-$(shell { cat pyproject.toml constraints.txt; pwd; } | cksum | cut -d ' ' -f 1)

.PHONY: help run test lint format bench clean

help:
	@sed -n 's/^#  *make/make/p' Makefile

run: $(STAMP)
	@$(BIN)/python -m cllm demo --minutes $(MINUTES) $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(foreach name,$(BENCH),$(BIN)/python -m benchmarks.$(name) $(ARGS) &&) true

clean:
	@test -L .venv || rm -rf .venv
	rm -rf .bootstrap.lock build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis artefacts
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -rf src/*.egg-info

$(STAMP):
	@$(PYTHON) tools/bootstrap.py $(STAMP) $(TORCH_INDEX)
