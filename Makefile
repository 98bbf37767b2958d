# Everything runs in .venv, which is made on first use from the lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
BUNDLE := onnx_models/shopnow
SEED := 7

.DELETE_ON_ERROR:
.PHONY: score test test-slow lint bench bench-report bench-contenders model lock clean

# The lean engine: score everybody with the bundle in force.
score: users.parquet
	@$(BIN)/engine score users.parquet --bundle $(BUNDLE) --out scores.parquet --if-exists replace
	@$(BIN)/python -c "import polars as pl; print(pl.read_parquet('scores.parquet', n_rows=5))"

users.parquet: | $(VENV)/engine.stamp
	@echo "simulating 240,000 users into users.parquet"
	@$(BIN)/training simulate --out users.parquet --no-label

test: lint
	$(BIN)/pytest

test-slow: $(VENV)/dev.stamp
	$(BIN)/pytest -m "slow or not slow"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The gates of speed; what was measured stands in build/benchmark.json.
bench: $(VENV)/dev.stamp
	mkdir -p build
	$(BIN)/pytest benchmarks -m "" -rs --benchmark-columns=min,median,max,rounds \
		--benchmark-sort=name --benchmark-group-by=group --benchmark-json=build/benchmark.json

# What the documents show, measured anew.
bench-report: bench
	$(BIN)/python -m benchmarks.report build/benchmark.json
	$(BIN)/python -m benchmarks.profile --into docs/performance.md

# lleaves and shap, which `make bench` leaves out where they are missing. Python 3.11 or 3.12.
bench-contenders:
	$(PYTHON) -m venv build/contenders
	build/contenders/bin/python -m pip --disable-pip-version-check install --quiet 'pip>=25.1'
	build/contenders/bin/python -m pip install --quiet --group contenders

# The committed bundle, made anew from a fixed seed.
model: $(VENV)/dev.stamp
	rm -rf build/candidate && mkdir -p build
	$(BIN)/training simulate --rows 240000 --seed $(SEED) --with-truth --out build/training.parquet
	$(BIN)/training fit build/training.parquet --seed $(SEED) --out build/candidate
	rm -rf $(BUNDLE)
	$(BIN)/training promote build/candidate --to $(BUNDLE)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/engine.stamp: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing the engine into $(VENV)"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/engine.stamp
	@echo "installing training, tests and tools into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# Newest versions that pyproject.toml allows, with hashes, for every platform.
lock:
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
		pyproject.toml --output-file requirements.lock
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
		--extra training --group dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) build users*.parquet scores*
