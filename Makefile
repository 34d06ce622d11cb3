# make dev     serve the examples: real NATS, Postgres and Valkey, API, worker, scheduler   [PORT= DATA_DIR= ARGS=]
# make test    run every test, two files at a time                                          [ARGS="-k name" JOBS=]
# make chaos   rounds of load under faults; nothing may be lost, doubled or out of order   [SEED= ARGS="--rounds 5"]
#              `make chaos-deep` plays each fault by itself, and many histories of a thread against their model
# make lint    ruff and pyright
# make audit   ask OSV for known vulnerabilities of what requirements.lock names; passes where it cannot be reached
# make bench   measure speed beside bare langgraph, judge it, write bench/results.md       [PEER_URL= ARGS="--rounds 1"]
# make docs    write docs/settings.md and docs/asyncapi.json from the code
# make lock    write the lock files from pyproject.toml                                     [ARGS=--upgrade]
# make js      install the JavaScript packages that the tests use; `make lock-js` writes its lock file
#
# All of them set up .venv first, from the locked and hashed packages, and do so again only after a lock or
# pyproject.toml has changed. PYTHON= names another interpreter: by default it is the system's, where that is new enough and can make a
# venv, else the python3 of the PATH. Distributions build theirs with optimisations that a version manager leaves out, and all
# that is served takes a tenth less of the CPU (docs/performance.md).

PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo /usr/bin/python3 || echo python3)
PORT ?= 2024
DATA_DIR ?= .treadle
ARGS ?=
# Files of tests that run side by side: they wait for servers and processes more than they compute.
# They begin in the order of their names, and so with those of tests/chaos, which take longest.
JOBS ?= 2

BIN := .venv/bin
PIP := python -m pip --disable-pip-version-check --quiet install
RUNTIME := .venv/runtime.stamp
DEV := .venv/dev.stamp
SERVED := .venv/served/bin
JS := tests/js/node_modules/.stamp
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock" --group build $(ARGS)

.DELETE_ON_ERROR:
.PHONY: dev test chaos chaos-deep js lint audit bench docs lock lock-js clean

dev: $(RUNTIME)
	$(BIN)/treadle dev --config examples/langgraph.json --port $(PORT) --data-dir $(DATA_DIR) $(ARGS)

test: $(DEV) $(JS)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

js: $(JS)

chaos: $(DEV)
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos-deep: $(DEV)
	CHAOS_EXAMPLES=2000 CHAOS_EACH_FAULT=1 CHAOS_TRIES=50 POISON_INNOCENT=4 $(BIN)/python -m pytest -q \
		$(addprefix tests/chaos/test_,thread_model.py single_faults.py races.py poison.py) $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

audit: $(DEV)
	$(BIN)/python .ci/audit.py

bench: $(DEV) $(SERVED)/.stamp
	SERVED_PYTHON=$(SERVED)/python $(BIN)/python -m bench $(ARGS)

docs: $(RUNTIME)
	$(BIN)/python -m treadle.settings > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m treadle_api.bus.asyncapi > docs/asyncapi.json.new
	mv docs/asyncapi.json.new docs/asyncapi.json

lock: $(DEV)
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock

# Neither file names a server: where packages come from is the machine's own setting, what they are is in their hashes.
lock-js:
	cd tests/js && npm install --package-lock-only && node unlink.mjs

clean:
	rm -rf .venv tests/js/node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Treadle needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		     "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

$(RUNTIME): requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing Treadle into .venv"
	$(BIN)/$(PIP) --require-hashes --no-deps -r requirements.lock
	$(BIN)/$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

# The development lock holds all that the runtime lock holds.
$(DEV): requirements-dev.lock pyproject.toml | .venv/bin/python
	@echo "Installing Treadle and the development tools into .venv"
	$(BIN)/$(PIP) --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/$(PIP) --no-build-isolation --no-deps --editable .
	@touch $(RUNTIME) $@

# What `make dev` serves from where nothing else is installed: to be measured.
$(SERVED)/.stamp: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing Treadle alone into .venv/served"
	$(PYTHON) -m venv .venv/served
	$(SERVED)/$(PIP) --require-hashes --no-deps -r requirements.lock
	$(SERVED)/$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(JS): tests/js/package-lock.json tests/js/package.json
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || { \
		echo "The tests run the JavaScript client: they need node 20 or newer, with npm, on the PATH." >&2; exit 1; }
	@echo "Installing the JavaScript client into tests/js/node_modules"
	cd tests/js && npm ci --silent
	@touch $@
