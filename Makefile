# make demo: set up, train under noise, show before and after.   make test: set up, check, run the tests.
SHELL  := /bin/bash
PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile --constraint constraints.txt
SEEDS  ?= 5
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup demo test check bench pages site torture clean

help:
	@echo "make demo    set up, train the shipped policy with DVPO under flipped rewards, write report.html"
	@echo "make test    set up, check, run the tests"
	@echo "make check   ruff, pyright on the core, architecture tests"
	@echo "make bench   every benchmark, $(SEEDS) seeds (long; leave the machine alone)"
	@echo "make torture kill runs at random, compare them bit by bit with runs that were left alone (6 minutes)"
	@echo "make pages   docs/critics/ and docs/reference/, from docstrings, recipes, glossary, help texts and benchmarks/"
	@echo "make site    the documentation as build/site/index.html"
	@echo "make setup   only make .venv"

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Critica needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 demo" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "Could not make .venv: on Debian and Ubuntu, install the package python3-venv, then try again." >&2; exit 1; }
	@touch $@

.venv/.lean: .venv/.python pyproject.toml constraints.txt
	@echo "Setting up .venv: about a minute, once." >&2
	@$(PIP) --editable '.[reasoning]'
	@touch $@

.venv/.dev: .venv/.lean
	@echo "Adding what the tests need." >&2
	@$(PIP) --editable '.[reasoning,dev]'
	@touch $@

setup: .venv/.lean

demo: setup
	@$(BIN)/critica demo

check: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/architecture

# One thread a process: two threads of torch in one process are slower than two processes, and repeat less exactly.
test: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/pyright
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2

bench: setup
	@$(BIN)/critica bench all --seeds $(SEEDS)

site: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo build/site/index.html

pages: setup
	@$(BIN)/python -m critica.cli.critic_pages
	@$(BIN)/python -m critica.cli.estimator_page
	@$(BIN)/python -m critica.cli.site_pages

torture: setup
	@$(BIN)/critica bench torture

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis
