# Two commands do everything on a machine that has Python, make and a package index:
#   make demo    a small library of real documents and photographs, searched and asked (DOCS=folder: your own)
#   make test    lint, types, tests
#   make kills   a longer check of the store
#   make test-models   conversion and export against PyTorch and transformers, in an environment of their own
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test kills test-models clean

demo: $(VENV)/.base
	@$(BIN)/python examples/demo.py $(if $(DOCS),"$(DOCS)")

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# Kills a process that writes, at 200 random moments, and looks for what it lost; half an hour.
kills: $(VENV)/.dev
	COMMONPLACE_KILLS=200 $(BIN)/python -m pytest --timeout 7200 tests/store/test_upkeep.py -k kill

# The tiny models are made anew by the library itself, then converted, exported and compared live; a few minutes.
MODELS := .venv-models
test-models: $(MODELS)/.done
	$(MODELS)/bin/python -m tests.encoders.tiny.make --weights .tiny-models
	COMMONPLACE_TINY=.tiny-models $(MODELS)/bin/python -m pytest tests/encoders/test_convert.py tests/encoders/live_export.py

$(MODELS)/.done: pyproject.toml
	$(PYTHON) -m venv $(MODELS)
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,export]"
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .demo .venv-models .tiny-models
