# Each target works on a fresh clone: it makes .venv and installs what it needs; a second call installs nothing.
# PYTHON is only used to make .venv.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

export HF_HUB_OFFLINE := 1
export HF_DATASETS_OFFLINE := 1
export DO_NOT_TRACK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench data clean

help:
	@echo "make demo    curate the sample data in data/ (ARGS=folder: where to; prefine-demo if left out)"
	@echo "make test    all tests, in two processes (ARGS: passed to pytest; --cov for branch coverage, -n0 for one process)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   benchmarks, one JSON line each"
	@echo "make data    write data/ again from its generator"
	@echo "make clean   remove .venv and caches"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prefine needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

# A dev install is also a run install, so `make demo` after `make test` installs nothing.
.venv/.installed-run: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	$(BIN)/python -m pip check
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip check
	@touch $@ .venv/.installed-run

demo: .venv/.installed-run
	$(BIN)/prefine demo $(ARGS)

test: .venv/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# The peers that benchmarks compare with.
.venv/.installed-bench: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	@touch $@ .venv/.installed-dev .venv/.installed-run

bench: .venv/.installed-bench
	@set -e; for file in tests/benchmarks/bench_*.py; do PYTHONPATH=. $(BIN)/python "$$file" $(ARGS); done

data: .venv/.installed-run
	$(BIN)/python data/generate.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
