# `make run` starts the whole product, `make test` proves it; both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test check format lock mutants bench screenshots clean

run: $(INSTALLED)
	@$(BIN)/python -m lab.run

# Two at a time, but for the tests that listen to real calls: those want a quiet machine.
test: $(INSTALLED)
	@$(BIN)/python -m lab.root & made=$$!; $(MAKE) -s check && wait $$made
	@$(BIN)/pytest -n 2 --dist loadfile --ignore tests/pbx --ignore tests/web
	@$(BIN)/pytest tests/pbx tests/web

check: $(INSTALLED)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(INSTALLED)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Pin every dependency, with hashes, for all Pythons and machines that we support.
lock: $(INSTALLED)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --extra embedded pyproject.toml -c requirements.txt -o requirements-embedded.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --extra embedded --group dev pyproject.toml -c requirements.txt -o requirements-dev.txt

# Change the deciding modules piece by piece; list the changes that no unit test notices.
mutants: $(INSTALLED)
	@$(BIN)/python tools/mutants.py $(MODULES)

bench: $(INSTALLED)
	@for each in bench/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

# Every page, wide and narrow, light and dark, of a real service on real calls.
screenshots: $(INSTALLED)
	@$(BIN)/python -m tests.web.screenshots .cache/screenshots

clean:
	rm -rf $(VENV) node_modules .cache var mutants

# The project's own packages are found from the working directory; only dependencies are installed.
$(INSTALLED): requirements-dev.txt package-lock.json tools/setup $(wildcard api/translations/*/*/*.po)
	@tools/setup $(PYTHON) $(VENV)
	@touch $@
