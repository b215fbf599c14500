# SPDX-License-Identifier: Apache-2.0
# Every target makes what it needs; `make` alone lists them. On Windows see README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Further words for the command a target ends in: make test ARGS="-k predictor -x"
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo show test test-slow test-gpu lint style types contracts format changelog
.PHONY: bench bench-short bench-gpu dev constraints wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# A stamp per kind of environment; without a change below it, nothing is installed again.
$(VENV)/.ready-%: pyproject.toml constraints.txt scripts/setup_env.sh
	@sh scripts/setup_env.sh "$(PYTHON)" "$(VENV)" $*

# System libraries of Qt; looked at after Qt itself is installed.
$(VENV)/.qt: scripts/system_packages.sh
	@sh scripts/system_packages.sh "$(VENV)" install
	@touch $@

demo: $(VENV)/.ready-run ## segment a real microscopy image offline, compare with the truth
	@$(BIN)/napari-sam demo $(ARGS)

show: $(VENV)/.ready-app $(VENV)/.qt ## the same, then open the result in napari
	@$(BIN)/napari-sam demo --show $(ARGS)

test: $(VENV)/.ready-test $(VENV)/.qt ## run the tests (all but slow, gpu, network)
	@sh scripts/run_tests.sh "$(VENV)" $(ARGS)

test-slow: $(VENV)/.ready-test $(VENV)/.qt ## run the tests with full-size models
	@sh scripts/run_tests.sh "$(VENV)" -m "slow and not gpu and not network" \
		--timeout 900 $(ARGS)

test-gpu: $(VENV)/.ready-test ## run the tests that need a GPU, parity with SAM included
	@sh scripts/run_tests.sh "$(VENV)" -m gpu --timeout 900 $(ARGS)

bench: $(VENV)/.ready-bench $(VENV)/.qt ## measure everything beside the reference, write docs/performance.md
	@sh scripts/run_benchmarks.sh "$(VENV)" $(ARGS)

bench-short: $(VENV)/.ready-bench ## the same in two minutes; fails far below the goals
	@$(BIN)/python benchmarks/compare.py --short --gate $(ARGS)

bench-gpu: $(VENV)/.ready-bench ## measure a CUDA GPU beside the reference
	@$(BIN)/python benchmarks/compare_gpu.py --out docs/performance/gpu.json $(ARGS)
	@$(BIN)/python benchmarks/write_report.py

lint: style types contracts ## style, types and import contracts

style: $(VENV)/.ready-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.ready-lint
	@$(BIN)/mypy

contracts: $(VENV)/.ready-lint
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.ready-lint ## let ruff repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

dev: $(VENV)/.ready-dev ## all tools, and the checks before each commit
	@$(BIN)/pre-commit install

changelog: $(VENV)/.ready-dev ## show the change log of the next release
	@$(BIN)/towncrier build --draft

constraints: $(VENV)/.ready-dev $(VENV)/.ready-app ## write constraints.txt from what is installed
	@sh scripts/freeze_constraints.sh "$(VENV)" > constraints.new
	@mv constraints.new constraints.txt

wheel: $(VENV)/.ready-dev ## build wheel and source archive into dist/
	@$(BIN)/python -m build

clean: ## remove the environment and everything built
	rm -rf "$(VENV)" build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
