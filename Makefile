# Every target sets up what it needs: .venv from the hashed locks, then the package itself.
#   make demo    see the whole thing in two minutes         make test   run the default test suite
#   make lint    style and types                            make bench  run the benchmarks
#   make docs    write docs/commands.md, build the pages    make lock   resolve the locks again (needs uv)
#   make serve   a live city on a page of this machine, see docs/service.md
#   make mutation   break core terms on purpose and count what the tests notice (long)

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PACKAGE := --no-deps --no-build-isolation --editable .

.PHONY: demo serve test lint style types bench docs mutation lock develop clean

demo: $(VENV)/.runtime
	$(BIN)/echoscape demo

serve: develop
	$(BIN)/echoscape serve --store sqlite:///sample.db --sample

test: develop
	$(BIN)/python -m pytest

lint: style types

style: develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: develop
	$(BIN)/pyright

bench: develop
	@set -e; for file in $(sort $(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python $$file; done

mutation: develop
	$(BIN)/python tools/mutate.py --rows docs/mutation_rows.json

docs: develop
	$(BIN)/python tools/write_commands.py
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html

develop: $(VENV)/.develop

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Echoscape needs Python 3.11 or newer, which was not found;" \
	  "install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Echoscape needs" \
	  "Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/.python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install $(PACKAGE)
	@touch $@

$(VENV)/.develop: requirements-dev.lock pyproject.toml | $(VENV)/.python
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install $(PACKAGE)
	@touch $(VENV)/.runtime $@

COMPILE := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group build
lock:
	$(COMPILE) --extra cli --extra plot --extra embree --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --extra test --extra lint --extra docs \
	  --extra postgres --extra service --extra cluster --extra stream --extra cli --extra plot --extra embree \
	  --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements.lock --extra postgres --extra service --extra cli --extra plot --extra embree \
	  --output-file requirements-service.lock
	@! grep -nE '://|^-|file:' requirements.lock requirements-dev.lock requirements-service.lock

clean:
	rm -rf $(VENV) .venv-peers build dist docs/_build
