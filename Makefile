# Needs only Python (3.11 or newer), git and make. Everything else goes into .venv.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
READY := $(VENV)/.ready

.PHONY: setup run test check audit bench soak lock docs clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@: > $(READY)

run: setup
	@exec $(BIN)/anjuan serve --demo

test: setup
	$(BIN)/python -m pytest -q -n 3 --dist loadfile tests

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.architecture.documents --check
	$(BIN)/python -m tests.architecture.weaknesses

# As in `check`, but fails where there is no network: what was not looked up is not known to be without weaknesses.
audit: setup
	$(BIN)/python -m tests.architecture.weaknesses --strict

bench: setup
	$(BIN)/python -m tests.bench

soak: setup
	ANJUAN_SOAK=1 $(BIN)/python -m pytest -q tests/e2e tests/property tests/contract/test_any_request_at_all.py

docs: setup
	$(BIN)/python -m tests.architecture.documents

lock: setup
	$(BIN)/uv lock --quiet
	$(BIN)/uv export --quiet --frozen --no-emit-project --no-header --no-annotate --all-groups -o requirements.lock > /dev/null
	$(BIN)/uv export --quiet --frozen --no-emit-project --no-header --no-annotate --no-default-groups -o requirements-run.lock > /dev/null

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
