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
INSTALL := @tools/scripts/install

# A model that LiteRT does not serve needs TensorFlow, and so does one that is not exported.
NEEDS_TENSORFLOW = $(shell for version in model/*/[0-9]*/; do grep -qs '"litert": {' $$version/export.json || echo yes; done)

.DEFAULT_GOAL := help
.PHONY: help setup start test suite suite-store contract start-store upload train export package wheelhouse lock audit doctor bench bench-peers \
	check-infra lint clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /' | awk -F': ' '{ printf "make %-12s %s\n", $$1, $$2 }'

setup: $(VENV)/installed  ## create .venv and install everything that development needs

$(VENV)/installed: requirements/dev.lock.txt requirements/keras2.lock.txt
	$(INSTALL) $(VENV) "$(PYTHON)" $^
	@touch $@

# What serving needs, about 50 MB. The other targets install the rest.
$(VENV)/serves: requirements/serve.lock.txt
	$(INSTALL) $(VENV) "$(PYTHON)" $^
	@touch $@

start: $(if $(or $(wildcard $(VENV)/installed),$(NEEDS_TENSORFLOW)),setup,$(VENV)/serves)  ## serve on http://localhost:7071, by func where it is installed (PORT=8080 for another port)
	@if command -v func >/dev/null; then \
		echo "Try the models on http://localhost:$(PORT)/api/playground"; . $(BIN)/activate && exec func start --port $(PORT); \
	else exec $(BIN)/python -m tools.local_host --port $(PORT); fi

test: suite contract  ## run all tests

suite: setup .venv-clients/installed $(if $(shell command -v npm),.venv-azurite/installed)
	$(BIN)/python -m pytest $(TESTS)

# Microsoft's runtime needs Python 3.13.
contract:  ## run the function folders in Microsoft's own worker runtime
	@if [ -z "$(PYTHON313)" ]; then echo "SKIPPED tests/contract: Python 3.13 was not found (make contract PYTHON313=...)"; \
	else $(MAKE) --no-print-directory .venv-contract/installed && .venv-contract/bin/python -m pytest tests/contract; fi

.venv-contract/installed: requirements/contract.lock.txt
	$(INSTALL) .venv-contract "$(PYTHON313)" $^
	@touch $@

.venv-clients/installed: requirements/clients.lock.txt
	$(INSTALL) .venv-clients "$(PYTHON_HERE)" $^
	@touch $@

suite-store: setup $(if $(shell command -v npm),.venv-azurite/installed)  ## run the end-to-end tests with their models in Azurite
	$(BIN)/python -m pytest tests/end_to_end --store -m "not five_steps and not slow"

.venv-azurite/installed: tools/store/azurite/package-lock.json
	@echo "Installing Azurite into .venv-azurite (190 MB) ..."
	@mkdir -p .venv-azurite && cp tools/store/azurite/package.json $< .venv-azurite/
	@cd .venv-azurite && npm ci --silent --omit=optional --ignore-scripts --no-audit --no-fund && touch installed || \
		echo "Azurite could not be installed; the tests of the store are skipped."

start-store: setup .venv-azurite/installed  ## serve the models from Azurite, an emulated Azure Blob Storage (PORT=7071)
	@$(BIN)/python -m tools.store --port $(PORT)

upload: setup  ## export, prove and upload a version to SERVING_MODEL_PATH (MODEL=model/xor/2 STORE=https://... REPLACE=1)
	@$(BIN)/python -m tools.store.upload $(MODEL) $(if $(STORE),--store $(STORE)) $(if $(REPLACE),--replace)

train: setup  ## train the XOR model and plot it (MODEL=digits: the model of handwritten digits)
	$(BIN)/python -m training.$(if $(findstring digits,$(MODEL)),digits,train)

export: setup  ## export a model for serving (MODEL=model/xor/1; IMAGE=1 SCALE=-1..1 PREPROCESS= CLASSES= THRESHOLD= FLAGS=)
	$(BIN)/python -m export $(MODEL) $(if $(IMAGE),--image) $(if $(SCALE),--scale=$(SCALE)) \
		$(if $(PREPROCESS),--preprocess=$(PREPROCESS)) $(if $(CLASSES),--classes=$(CLASSES)) \
		$(if $(THRESHOLD),--threshold=$(THRESHOLD)) $(FLAGS)

package: setup  ## build the deployment package in dist/ and prove that it works (TARGET=3.13-aarch64, WITH_TENSORFLOW=1, WITH_STORE=1)
	@$(BIN)/python -m tools.package --target $(TARGET) $(if $(WITH_TENSORFLOW),--with-tensorflow) \
		$(if $(WITH_STORE),--with-store)

wheelhouse: setup  ## collect every production wheel in dist/, to install without a network (TARGET=3.13)
	@$(BIN)/python -m tools.package.wheelhouse --target $(TARGET)

lock: setup  ## pin and hash what requirements.txt needs, for all targets, in requirements/pylock.*.toml
	@tools/scripts/lock

audit: setup  ## look for known vulnerabilities in the libraries of the locks (needs the network)
	@tools/scripts/audit

doctor: setup  ## check the app before it is deployed; print what will fail and how to fix it
	@$(BIN)/python -m tools.doctor

bench: setup  ## measure cold start, latency and memory against the naive app (SAVE=1 writes docs/benchmark.md)
	@$(BIN)/python -m benchmarks $(if $(SAVE),--save)

bench-peers: setup  ## measure the app beside its peers (installs 15 GB, ONLY="ours ..." less; needs wrk); writes docs/peers.md
	$(BIN)/python -m benchmarks.peers $(if $(ONLY),--only $(ONLY))

check-infra: .venv-infra/installed  ## check the Bicep files, workflow, Dockerfile, manifests and queries
	@tools/scripts/check-infra

.venv-infra/installed: requirements/infra.lock.txt
	$(INSTALL) .venv-infra "$(PYTHON)" $^
	@touch $@

lint: setup  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean:  ## remove dist/, the virtual environments and the caches
	rm -rf dist mutants .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
