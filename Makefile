# `make run` and `make test` need python3, python3-venv and make; everything else comes from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SITE ?= examples/narvik
SEED ?= $(shell echo $$((0x$$(git rev-parse --short=6 HEAD 2>/dev/null || echo 1))))

.PHONY: install run test test-kafka test-night test-deploy test-sim lint bench golden fuzz audit licences clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.lock names (about a minute with a warm package cache)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c "import rules.engine.kernel.faces"  # compiled now, so that the first run is no slower than others
	@touch $(STAMP)

run: install
	$(BIN)/headrace up $(SITE)

test: install
	$(BIN)/python -m pytest -m "not kafka and not deploy and not night" -n 2 --dist loadfile -rs

# other troubles with each commit; the seed that it prints repeats them (docs/chaos.md)
test-kafka: install
	$(BIN)/python -m pytest -m "kafka and not night" -n 2 --dist loadfile -rs
	$(BIN)/headrace bench chaos --kafka-jars .cache/kafka --seed $(SEED) --events 15

# what takes too long for each commit: every command of the compose file, a restore, ten times the examples, 200 troubles
test-night: install
	$(BIN)/python -m pytest -m night -rs
	HEADRACE_EXAMPLES_TIMES=10 $(BIN)/python -m pytest tests/rules/engine tests/streams/compare tests/streams/importing -n 2
	$(BIN)/headrace bench chaos --kafka-jars .cache/kafka --seed $(SEED) --events 200 --brokers 3

# image, compose file and chart; the tools are built from Go's packages: some minutes once on a machine, seconds later
test-deploy: install
	$(BIN)/python -m pytest -m deploy -rs

# six other seeds with each commit; what a failing one prints repeats it
test-sim: install
	$(BIN)/headrace sim examples/narvik-small --seed $(SEED) --seeds 6 --jobs 2

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_tree.py

bench: install
	$(BIN)/headrace bench latency $(SITE)
	$(BIN)/headrace bench pipeline $(SITE)

# What the code says otherwise than the golden set; WRITE=outputs or WRITE=inputs records it anew (docs/golden.md).
golden: install
	$(BIN)/python -m tools.golden $(if $(WRITE),--$(WRITE))

# docs/security.md; SEED=N gives other inputs
fuzz: install
	$(BIN)/python -m tools.fuzz --inputs $(or $(INPUTS),2000) --seed $(or $(SEED),1)

# Needs the network's advisory database.
audit:
	@test -x .cache/audit/bin/pip-audit || { $(PYTHON) -m venv .cache/audit && .cache/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; }
	.cache/audit/bin/pip-audit -r requirements.lock --require-hashes --disable-pip --strict --progress-spinner off

licences: install
	@$(BIN)/python -m tools.licences

clean:
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist run
