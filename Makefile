# `make run` starts the whole product, `make test` proves it; both install their dependencies first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := $(BIN)/node
INSTALLED := $(VENV)/.installed

.PHONY: run test check format lock audit sbom mutants bench pauses screenshots clean help

run: $(INSTALLED)  ## run the whole product on this machine, with demo calls
	@$(BIN)/python -m lab.run

# Two at a time, except the tests that listen to real calls, which need a quiet machine.
test: $(INSTALLED)  ## run all checks and tests
	@$(BIN)/python -m lab.root & made=$$!; $(MAKE) -s check && wait $$made
	@$(NODE) --test --test-reporter=dot 'tests/js/*.test.js'
	@$(BIN)/pytest -n 2 --dist loadfile --ignore tests/pbx --ignore tests/web
	@$(BIN)/pytest tests/pbx tests/web

check: $(INSTALLED)  ## check format, style and types of Python and JavaScript; takes seconds
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(NODE) node_modules/.bin/eslint .
	@$(NODE) node_modules/.bin/tsc

format: $(INSTALLED)  ## write files in our format, and repair the style where a tool can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(NODE) node_modules/.bin/eslint --fix .

# With hashes, for all Pythons and machines that we support.
lock: $(INSTALLED)  ## pin every dependency
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --extra embedded pyproject.toml -c requirements.txt -o requirements-embedded.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --extra embedded --group dev pyproject.toml -c requirements.txt -o requirements-dev.txt

# Status 1: a weakness is known. Status 3: something could not be looked up. OSV names copies of the
# OSV database, as ZIP files, for a machine whose index has no advisories.
audit: $(INSTALLED)  ## look for known weaknesses of all dependencies
	@$(BIN)/python -m tools.audit $(addprefix --osv ,$(OSV))

sbom: $(INSTALLED)  ## write the list of all that the product is made of: .cache/sbom.cdx.json
	@$(BIN)/python -m tools.sbom

# MODULES names some modules instead of all.
mutants: $(INSTALLED)  ## change the deciding modules; list the changes that no test notices
	@$(BIN)/python tools/mutants.py $(MODULES)

bench: $(INSTALLED)  ## run all benchmarks
	@for each in bench/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

# Not part of `test`: it kills processes for minutes.
pauses: $(INSTALLED)  ## pause 1,000 times under SIGKILL; search everything for a marker
	@$(BIN)/python tests/long/pauses.py --pauses 1000

# Wide and narrow, light and dark, from a real service with real calls.
screenshots: $(INSTALLED)  ## take pictures of every page
	@$(BIN)/python -m tests.web.screenshots .cache/screenshots

clean:  ## remove everything that make has installed or written
	rm -rf $(VENV) node_modules .cache var mutants

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# Only dependencies are installed: Python finds the project's packages from the working directory.
$(INSTALLED): requirements-dev.txt package-lock.json tools/setup $(wildcard api/translations/*/*/*.po)
	@tools/setup $(PYTHON) $(VENV)
	@touch $@
