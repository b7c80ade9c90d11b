# Two commands do everything on a machine that has Python, make and a package index:
#   make demo    a small library of real documents and photographs, searched and asked (DOCS=folder: your own)
#   make test    lint, types, tests
#   make kills   a longer check of the store: kills and damage, with a table
#   make soak    a store in use for a long time: memory, index and disk, with a table
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test kills soak clean

demo: $(VENV)/.base
	@$(BIN)/python examples/demo.py $(if $(DOCS),"$(DOCS)")

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# Kills a process at 200 of its writes and damages every file, looks for what was lost or is wrong; an hour.
kills: $(VENV)/.dev
	$(BIN)/python benchmarks/kills.py

# A million adds, updates, deletes and searches; an hour.
soak: $(VENV)/.dev
	$(BIN)/python benchmarks/soak.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .demo
