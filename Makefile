# Every target sets itself up first: the environment is made once, and again when the lock changes.
PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python
PIP    := $(RUN) -m pip --disable-pip-version-check

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: lab
lab: $(VENV)/lab.stamp ## open the labs in JupyterLab
	@$(RUN) -m netlab lab

.PHONY: setup
setup: $(VENV)/test.stamp ## make the environment that the tests use

.PHONY: test
test: lint types pytest ## run every check (long tests run a sample)

.PHONY: full
full: export NETLAB_FULL = 1
full: test ## run every check, the long tests whole

.PHONY: fuzz
fuzz: setup ## compare both worlds on random packets, at length (as root)
	$(RUN) -m netlab fuzz --packets 500000

.PHONY: lint
lint: setup
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check

.PHONY: types
types: setup
	$(RUN) -m mypy --strict netlab

.PHONY: pytest
pytest: setup
	@# nbgrader calls its companions by name, as in an activated environment.
	PATH="$(abspath $(VENV))/bin:$$PATH" $(RUN) -m pytest

.PHONY: format
format: setup ## put the code in ruff's format
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

.PHONY: build-labs
build-labs: setup ## build every lab's notebooks from its source
	$(RUN) labs/build.py

# Universal locks: one file for Linux, macOS and Windows, and for Python 3.11 and newer.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' --no-annotate --no-emit-index-url --upgrade \
	--constraint requirements/constraints.txt pyproject.toml requirements/build.in
.PHONY: lock
lock: setup ## resolve requirements/*.lock anew from pyproject.toml
	$(COMPILE) --extra test --output-file requirements/test.lock
	$(COMPILE) --extra lab --constraint requirements/test.lock --output-file requirements/lab.lock

$(VENV)/%.stamp: requirements/%.lock pyproject.toml | $(VENV)/bin/pip
	@echo "Installing what requirements/$*.lock pins into $(VENV) (once; this takes a minute or two) ..."
	@$(PIP) install --quiet --require-hashes --requirement $<
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# bin/pip comes last when an environment is made, so an interrupted one is made again.
$(VENV)/bin/pip:
	@missing=; \
	command -v git >/dev/null || missing="$$missing git"; \
	command -v $(PYTHON) >/dev/null || missing="$$missing python3"; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then echo "netlab needs$$missing: sudo apt install$$missing" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "netlab needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
