# `make help` lists the targets. Any of Python 3.11 to 3.13 will do, and each can have an environment of its own:
# make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON_HERE := $(shell tools/scripts/find-python 3.11 3.12 3.13)
PYTHON ?= $(PYTHON_HERE)
PYTHON313 ?= $(shell tools/scripts/find-python 3.13)
VENV ?= .venv
PORT ?= 7071
MODEL ?= model/xor/1
TARGET ?= 3.13
TESTS ?= --cov

BIN := $(VENV)/bin
INSTALL := pip install --require-hashes --only-binary :all: --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup start test suite contract train export package wheelhouse lock audit doctor bench bench-peers \
	check-infra lint clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /' | awk -F': ' '{ printf "make %-12s %s\n", $$1, $$2 }'

setup: $(VENV)/installed  ## create .venv and install everything that development needs

$(VENV)/installed: requirements/dev.lock.txt requirements/keras2.lock.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 was found. Install one, or name it: make setup PYTHON=..."; exit 1; }
	@echo "Installing into $(VENV) (about 1.8 GB; takes a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/$(INSTALL) -r requirements/dev.lock.txt
	@$(BIN)/$(INSTALL) --no-deps -r requirements/keras2.lock.txt
	@touch $@

start: setup  ## serve on http://localhost:7071, by func where it is installed (PORT=8080 for another port)
	@if command -v func >/dev/null; then \
		echo "Try the models on http://localhost:$(PORT)/api/playground"; . $(BIN)/activate && exec func start --port $(PORT); \
	else exec $(BIN)/python -m tools.local_host --port $(PORT); fi

test: suite contract  ## run all tests

suite: setup .venv-clients/installed
	$(BIN)/python -m pytest $(TESTS)

# Microsoft's runtime needs Python 3.13.
contract:  ## run the function folders in Microsoft's own worker runtime
	@if [ -z "$(PYTHON313)" ]; then echo "SKIPPED tests/contract: Python 3.13 was not found (make contract PYTHON313=...)"; \
	else $(MAKE) --no-print-directory .venv-contract/installed && .venv-contract/bin/python -m pytest tests/contract; fi

.venv-contract/installed: requirements/contract.lock.txt
	@echo "Installing into .venv-contract ..."
	@$(PYTHON313) -m venv .venv-contract
	@.venv-contract/bin/$(INSTALL) -r requirements/contract.lock.txt
	@touch $@

.venv-clients/installed: requirements/clients.lock.txt
	@echo "Installing the protocols' clients into .venv-clients ..."
	@$(PYTHON_HERE) -m venv .venv-clients
	@.venv-clients/bin/$(INSTALL) -r requirements/clients.lock.txt
	@touch $@

train: setup  ## train the XOR model and plot it (MODEL=digits: the model of handwritten digits)
	$(BIN)/python -m training.$(if $(findstring digits,$(MODEL)),digits,train)

export: setup  ## export a model for serving (MODEL=model/xor/1; IMAGE=1 SCALE=-1..1 PREPROCESS= CLASSES= THRESHOLD= FLAGS=)
	$(BIN)/python -m export $(MODEL) $(if $(IMAGE),--image) $(if $(SCALE),--scale=$(SCALE)) \
		$(if $(PREPROCESS),--preprocess=$(PREPROCESS)) $(if $(CLASSES),--classes=$(CLASSES)) \
		$(if $(THRESHOLD),--threshold=$(THRESHOLD)) $(FLAGS)

package: setup  ## build the deployment package in dist/ and prove that it works (TARGET=3.13-aarch64, WITH_TENSORFLOW=1)
	@$(BIN)/python -m tools.package --target $(TARGET) $(if $(WITH_TENSORFLOW),--with-tensorflow)

wheelhouse: setup  ## collect every production wheel in dist/, to install without a network (TARGET=3.13)
	@$(BIN)/python -m tools.package.wheelhouse --target $(TARGET)

lock: setup  ## pin and hash what requirements.txt needs, for all targets, in requirements/pylock.*.toml
	@tools/scripts/lock

audit: setup  ## look for known vulnerabilities in the libraries of the locks (needs the network)
	@tools/scripts/audit

doctor: setup  ## check the app before it is deployed; print what will fail and how to fix it
	@$(BIN)/python -m tools.doctor

bench: setup  ## measure cold start, latency and memory against the naive app; writes docs/benchmark.md
	$(BIN)/python -m benchmarks

bench-peers: setup  ## measure the app beside its peers (installs 15 GB, ONLY="ours ..." less; needs wrk); writes docs/peers.md
	$(BIN)/python -m benchmarks.peers $(if $(ONLY),--only $(ONLY))

check-infra: .venv-infra/installed  ## check the Bicep files, workflow, Dockerfile, manifests and queries
	@tools/scripts/check-infra

.venv-infra/installed: requirements/infra.lock.txt
	@$(PYTHON) -m venv .venv-infra
	@echo "Installing the infrastructure's checkers into .venv-infra ..."
	@.venv-infra/bin/$(INSTALL) -r requirements/infra.lock.txt
	@touch $@

lint: setup  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean:  ## remove dist/, the virtual environments and the caches
	rm -rf dist .venv .venv-* .pytest_cache .mypy_cache .ruff_cache
