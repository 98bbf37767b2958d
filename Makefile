# Everything runs in .venv, which is made on first use from the lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A lock file lists every package: with --no-deps nothing is resolved anew, so that a release that came
# after the lock cannot get in the way.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps
BUNDLE := onnx_models/shopnow
SEED := 7
# Other users than those that the committed bundle was trained on.
SCORED_SEED := 8
# Users of each date that `make week` simulates, and models that it tries.
WEEK_ROWS ?= 60000
WEEK_TRIALS ?= 5

.DELETE_ON_ERROR:
.PHONY: install score test test-integration test-runtimes test-faults test-docs test-slow lint gates bench bench-contenders pictures model week campaign what-if-runtime dist sbom lock clean

# The lean engine: score everybody with the current bundle.
score: users.parquet
	@$(BIN)/engine score users.parquet --bundle $(BUNDLE) --out scores.parquet --if-exists replace
	@$(BIN)/python -c "import polars as pl; pl.Config(tbl_width_chars=110, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, tbl_formatting='ASCII_MARKDOWN'); print(pl.read_parquet('scores.parquet', columns=['user_id', 'purchase_probability', 'propensity_band', 'segment_name', 'driver_1'], n_rows=3))"

users.parquet: | $(VENV)/engine.stamp
	@echo "simulating 240,000 users into users.parquet"
	@$(BIN)/training simulate --seed $(SCORED_SEED) --no-label --out users.parquet

install: $(VENV)/dev.stamp

PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

# What a change of code can break. CONTRIBUTING.md says what each tier proves.
test: lint
	$(PYTEST) tests/test_*.py tests/engine tests/training tests/parity \
		tests/faults/test_interruption.py::test_i01_i07_killed_before_a_step

# A file to a worker: Spark, PostgreSQL and the pages of a browser start once in a file. Tests of databases
# come first: they wait more than they compute, so three workers keep two cores busy.
test-integration: $(VENV)/dev.stamp
	$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder tests/integration

# Fetches and builds what the examples in Java, Go, Rust and C++ need; those without a toolchain here skip.
test-runtimes: $(VENV)/dev.stamp
	$(BIN)/pytest -rs tests/runtimes

test-faults: $(VENV)/dev.stamp
	$(PYTEST) tests/faults

test-docs: $(VENV)/dev.stamp
	$(PYTEST) tests/docs

# All tiers at full size.
test-slow: $(VENV)/dev.stamp
	$(PYTEST) -m "slow or not slow" --junit-xml=build/slow.xml
	$(BIN)/pytest -m slow benchmarks/test_scale.py
	$(BIN)/python -m benchmarks.reliability build/slow.xml

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The limits of speed and memory that every change must keep.
gates: $(VENV)/dev.stamp
	$(BIN)/pytest -m gate benchmarks --benchmark-columns=median,max,rounds

# All gates, and the tables that the documents show.
bench: $(VENV)/dev.stamp
	@mkdir -p build
	$(BIN)/pytest benchmarks -rs --benchmark-columns=min,median,max,rounds \
		--benchmark-sort=name --benchmark-group-by=group --benchmark-json=build/benchmark.json
	$(BIN)/python -m benchmarks.report build/benchmark.json
	$(BIN)/python -m benchmarks.profile --into docs/performance.md

# Pictures and the quickstart's output, from the committed bundle; needs Chromium.
pictures: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.pictures

# lleaves and shap, which `make bench` leaves out where they are missing. Python 3.11 or 3.12.
bench-contenders:
	$(PYTHON) -m venv build/contenders
	build/contenders/bin/python -m pip --disable-pip-version-check install --quiet 'pip>=25.1'
	build/contenders/bin/python -m pip install --quiet --group contenders

# The committed bundle, made anew from a fixed seed, and what the documents say of it; the old one goes
# once the new one is complete.
model: $(VENV)/dev.stamp
	rm -rf build/candidate build/models && mkdir -p build/models $(dir $(BUNDLE))
	$(BIN)/training simulate --rows 240000 --seed $(SEED) --with-truth --out build/training.parquet
	$(BIN)/training fit build/training.parquet --seed $(SEED) --trials 12 --out build/candidate
	$(BIN)/training promote build/candidate --to build/models/new
	if [ -e $(BUNDLE) ]; then mv $(BUNDLE) build/models/old; fi
	mv build/models/new $(BUNDLE)
	node examples/types.mjs $(BUNDLE) > examples/shopnow.d.ts
	$(BIN)/python -m benchmarks.figures
	$(BIN)/python -m benchmarks.comparison --into docs/supervised_vs_unsupervised.md

# One weekly cycle, in build/week: fit a candidate on the week after the current bundle's data, promote
# it on users of the next week, score users of the week after that and compare with their outcomes. The dates are the three weeks after the last snapshot.
NEXT_WEEKS = $(BIN)/python -c "import datetime as d, pathlib, engine.bundle.open as b, engine.bundle.evaluation as e; \
	last = d.date.fromisoformat(e.read_evaluation(b.open_bundle(pathlib.Path('$(BUNDLE)'))).fit.training['snapshots'][-1]); \
	print(*(last + d.timedelta(days=7 * n) for n in (1, 2, 3)))"
SIMULATE = $(BIN)/training simulate --rows $(WEEK_ROWS) --seed $(SEED) --as-of

week: $(VENV)/dev.stamp
	rm -rf build/week && mkdir -p build/week && cp -R $(BUNDLE) build/week/models
	set -e; set -- $$($(NEXT_WEEKS)); \
	$(SIMULATE) $$1 --out build/week/history.parquet; \
	$(SIMULATE) $$2 --out build/week/later.parquet; \
	$(SIMULATE) $$3 --no-label --out build/week/users.parquet; \
	$(SIMULATE) $$3 --out build/week/outcomes.parquet
	$(BIN)/training fit build/week/history.parquet --previous build/week/models --seed $(SEED) \
		--trials $(WEEK_TRIALS) --out build/week/candidate
	$(BIN)/training promote build/week/candidate --to build/week/models \
		--data build/week/later.parquet > build/week/promotion.json
	$(BIN)/engine score build/week/users.parquet --bundle build/week/models \
		--out build/week/scores.parquet
	$(BIN)/training backtest build/week/scores.parquet --outcomes build/week/outcomes.parquet

# A campaign on simulated users, in build/campaign: score everybody, draw arms, simulate what contacted
# users do, measure each arm against the control group, and write the playbook that follows.
CAMPAIGN_USERS = $(BIN)/training simulate --seed $(SCORED_SEED)

campaign: $(VENV)/dev.stamp
	rm -rf build/campaign && mkdir -p build/campaign
	$(CAMPAIGN_USERS) --no-label --out build/campaign/users.parquet
	$(BIN)/engine score build/campaign/users.parquet --bundle $(BUNDLE) --reasons 3 \
		--out build/campaign/scores.parquet
	$(BIN)/engine audience build/campaign/scores.parquet --campaign autumn \
		--arms offer=0.35,reminder=0.35,control=0.3 --include-control --out build/campaign/list.csv
	$(CAMPAIGN_USERS) --campaign build/campaign/list.csv --out build/campaign/outcomes.parquet
	$(BIN)/training backtest build/campaign/scores.parquet \
		--outcomes build/campaign/outcomes.parquet --contacted build/campaign/list.csv \
		--playbook docs/campaigns.toml --cost offer 0.1 --cost reminder 0.02 \
		--report build/campaign/campaign.html --playbook-out build/campaign/playbook.toml

# Wheel and sdist in dist, as an index would check them.
dist: $(VENV)/dev.stamp
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# What the engine and a bundle are made of, in CycloneDX.
sbom: $(VENV)/dev.stamp
	@mkdir -p build/sbom
	$(BIN)/python deploy/sbom.py $(BUNDLE) --into build/sbom

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/engine.stamp: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing the engine into $(VENV)"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/engine.stamp
	@echo "installing training, tests and tools into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# What the examples run on, and a store for the tests; the lock files say which versions, with hashes. The
# folder alone may be half filled: npm writes its own list last.
NODE_PACKAGES := $(addsuffix /node_modules,examples/node examples/browser tests/integration/azurite)
.PHONY: $(NODE_PACKAGES)
$(NODE_PACKAGES): %: %/.package-lock.json

%/node_modules/.package-lock.json: %/package-lock.json
	@npm ci --silent --no-progress --prefix $(<D)
	@touch $@

# What the what-if page runs on, as the npm package and the wheel of ONNX Runtime hold it.
WEB := examples/browser/node_modules/onnxruntime-web/dist
RUNTIME := training/report/what_if/runtime
what-if-runtime: examples/browser/node_modules $(VENV)/engine.stamp
	cp $(WEB)/ort.wasm.bundle.min.mjs $(RUNTIME)/
	gzip -9 -n -c $(WEB)/ort-wasm-simd-threaded.wasm > $(RUNTIME)/ort-wasm-simd-threaded.wasm.gz
	cd $(VENV)/lib/python*/site-packages/onnxruntime && cp LICENSE ThirdPartyNotices.txt $(CURDIR)/$(RUNTIME)/

# Spark is half a gigabyte: the tests that need it skip without it.
$(VENV)/spark.stamp: requirements-spark.lock $(VENV)/dev.stamp
	@echo "installing Spark into $(VENV)"
	@$(PIP) --require-hashes -r requirements-spark.lock
	@touch $@

# Like Spark; and its tests start processes of their own.
$(VENV)/ray.stamp: requirements-ray.lock $(VENV)/dev.stamp
	@echo "installing Ray into $(VENV)"
	@$(PIP) --require-hashes -r requirements-ray.lock
	@touch $@

# MLflow brings 40 packages: the tests that need it skip without it.
$(VENV)/mlflow.stamp: requirements-mlflow.lock $(VENV)/dev.stamp
	@echo "installing MLflow into $(VENV)"
	@$(PIP) --require-hashes -r requirements-mlflow.lock
	@touch $@

# What must not share the packages of .venv: MLServer needs older ones, and no code imports the runtimes
# that core.onnx is tried in. Tests that need one skip without it.
.PHONY: mlserver runtimes
mlserver runtimes: %: build/%/stamp

build/%/stamp: requirements-%.lock
	@echo "installing $(<F) into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@

COMPILE = build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --upgrade

# Newest versions that pyproject.toml allows, with hashes, for every platform.
lock:
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) --extra training --extra databases --extra delta --extra iceberg --extra signing --group dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	$(COMPILE) --extra signing --constraint requirements-dev.lock pyproject.toml --output-file requirements-signing.lock
	$(COMPILE) --extra spark --constraint requirements-dev.lock pyproject.toml --output-file requirements-spark.lock
	$(COMPILE) --extra ray --constraint requirements-spark.lock --constraint requirements-dev.lock pyproject.toml --output-file requirements-ray.lock
	$(COMPILE) --extra mlflow --constraint requirements-dev.lock --constraint requirements-spark.lock pyproject.toml --output-file requirements-mlflow.lock
	$(COMPILE) --group mlserver --output-file requirements-mlserver.lock
	$(COMPILE) --group runtimes --output-file requirements-runtimes.lock

clean:
	rm -rf $(VENV) build users*.parquet scores*
