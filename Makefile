# make demo: the main job on the embedded digits. make check: the fast loop: format, lint, types, quick tests. make test: format, lint,
# types and tests, as CI runs them. make test-all: and every network of the catalogue where that takes the smallest of each family.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo check test test-all lint format docs gallery clean

demo: .venv/installed
	$(BIN)/python -m striate demo

check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal -m 'not slow and not exhaustive'

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal -m 'not exhaustive'

test-all: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python docs/reference/pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "striate needs Python 3.11 or newer but $(PYTHON) is older; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making .venv and installing striate, PyTorch and the tools of the tests: up to 3 GB are fetched, once"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@

gallery: .venv/installed
	$(BIN)/python docs/pictures/gallery.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
