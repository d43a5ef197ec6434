# `make help` lists what one can do here. PYTHON is any of 3.11 to 3.13.
PYTHON ?= $(shell scripts/find-python 3.11 3.12 3.13)
PORT ?= 7071
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup start test test-contract train export bench lint clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(INSTALLED)  ## create .venv and install everything into it

$(INSTALLED): requirements.txt requirements-dev.txt requirements-keras2.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found; install one, or: make setup PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-keras2.txt
	@touch $@
