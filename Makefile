# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv by themselves.
.PHONY: help demo test lint clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell for p in python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null && echo "$$p" && break; \
	done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEPENDENCIES := setup.cfg pyproject.toml constraints.txt
DEMO_AUDIO := audioseg_xai/assets/demo.flac
DEMO := demo
SHELL_FILES := .ci/run recipes/common/runner.sh $(wildcard recipes/*/run.sh)

help: ## Show this page
	@sed -n -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: .venv/.demo ## Explain the bundled recording with the bundled model
	$(BIN)/xai-segment explain $(DEMO_AUDIO) --rttm $(DEMO)/demo.rttm --hdf5 $(DEMO)/demo.h5 \
		--figure $(DEMO)/demo.png
	@echo
	@echo "Made from $(DEMO_AUDIO), in $(CURDIR)/$(DEMO):"
	@cd $(DEMO) && ls -sh1 | tail -n +2
	@echo "For your own recording: $(BIN)/xai-segment explain --help"

test: .venv/.test lint ## Check style, types and imports, then run all tests
	$(BIN)/python -m pytest
	@echo "All checks and tests passed, in $(CURDIR)/.venv: $$($(BIN)/python --version)," \
		"$$($(BIN)/xai-segment --version)"

lint: .venv/.test ## Check style, types, imports and shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck -x $(SHELL_FILES)

clean: ## Remove .venv, what the demo made, and caches
	rm -rf .venv $(DEMO) build *.egg-info .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/.demo: .venv/.made $(DEPENDENCIES)
	@echo "Installing the package and what it needs into .venv (torch is large) ..."
	$(INSTALL) -e '.[report]'
	@touch $@

.venv/.test: .venv/.made $(DEPENDENCIES)
	@echo "Installing the package and what training and tests need into .venv (torch is large) ..."
	$(INSTALL) -e '.[train,report,upstream,faithfulness,probe,onnx,test]'
	@touch $@

.venv/.made:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found: install python3.11" \
		"(Debian: apt install python3.11-venv), or say 'make PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) cannot make" \
		"virtual environments: install its venv package (Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@
