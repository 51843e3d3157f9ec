# Everything Sorbus needs goes into .venv; a machine with Python 3.11 or newer and make is enough to begin.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Set in many images; here every process would compile every module anew, a second each.
export PYTHONDONTWRITEBYTECODE =

LOCKED := requirements.lock
BOOTSTRAP := requirements-bootstrap.lock
COMPILE := pip compile --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --universal

.DEFAULT_GOAL := help
.PHONY: help setup tools demo test chaos fuzz test-real test-postgres test-containers lint bench lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Set up .venv as locked (does nothing when it is up to date)

# uv installs in parallel; where it can't reach the package index (only pip knows a mirror), pip does the same, slower.
$(STAMP): $(LOCKED) $(BOOTSTRAP) pyproject.toml hatch_build.py sorbus/native/codec.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Sorbus needs Python 3.11 or newer, $(PYTHON) is older: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@test -d sorbus/producers || { echo "Symbolic links were not checked out: git config core.symlinks true && git checkout -- sorbus" >&2; exit 2; }
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(BOOTSTRAP)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(RUN)/uv pip install --quiet --compile-bytecode --require-hashes -r $(LOCKED) \
	  || $(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKED)
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## Start Kafka, a registry and PostgreSQL here, and run a company on them
	@$(RUN)/sorbus demo

tools:  ## Debian packages that tests use, installed where missing and we may: a browser, prometheus, prometheus-alertmanager, pgbouncer
	@has() { for name in "$$@"; do command -v "$$name" >/dev/null 2>&1 && return 0; done; return 1; }; missing=; \
	has "$$SORBUS_CHROMIUM" chromium-headless-shell chromium chromium-browser google-chrome chrome || missing="chromium-headless-shell fonts-dejavu-core"; \
	has promtool || missing="$$missing prometheus"; \
	has prometheus-alertmanager alertmanager || missing="$$missing prometheus-alertmanager"; \
	PATH="$$PATH:/usr/sbin" has pgbouncer || missing="$$missing pgbouncer"; \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ] && has apt-get; then apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Not here: $$missing. Without a browser the console's tests in one fail: install one, or leave them" \
	  "out with make test TESTS=\"-m 'not slow and not real and not browser'\"; without Prometheus or PgBouncer their tests are skipped." >&2; fi

# A test that hangs (the slowest takes a minute) ends its worker, with where each thread is, instead of waiting for ever.
HUNG := -o faulthandler_timeout=240 -o faulthandler_exit_on_timeout=true

# mypy has one core while pytest's workers are being fed; a first look at all tests writes what each worker would compile again.
test: setup tools  ## Check style and types, and run the tests (in parallel; TESTS="..." passes pytest options)
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check --quiet . || { echo "Some files are not formatted; run: $(RUN)/ruff format ." >&2; exit 1; }
	@mkdir -p .mypy_cache; $(RUN)/mypy >.mypy_cache/said 2>&1 & types=$$!; \
	$(RUN)/pytest --collect-only -q >/dev/null 2>&1; \
	$(RUN)/pytest -n 6 --dist worksteal $(HUNG) $(TESTS); tests=$$?; \
	wait $$types || { cat .mypy_cache/said; exit 1; }; exit $$tests

chaos: setup tools  ## Everything slow: kill, cut off and flood running companies, compare every row (an hour)
	@SORBUS_TEST_THOROUGH=1 $(RUN)/pytest -m "slow or search" $(TESTS)

fuzz: setup  ## Odd answers, webhooks, sheets and rows at random, for SECONDS=600 each with SEED=1
	@SORBUS_FUZZ_SECONDS=$(or $(SECONDS),600) SORBUS_FUZZ_SEED=$(or $(SEED),1) $(RUN)/pytest -s tests/producers/http/test_fuzz.py tests/producers/postgres/test_fuzz_rows.py \
		tests/map/reading/test_fuzz_sheets.py tests/consumers/test_fuzz_values.py

test-real: setup  ## Real Redmine, Request Tracker and Tryton, and vendors' mock servers (their scripts lie beside the checkout)
	@$(RUN)/pytest -m real tests/acceptance/test_real_*.py tests/acceptance/test_vendors.py tests/acceptance/test_northwind_to_xero.py $(TESTS)

POSTGRES ?= 14
test-postgres: setup  ## The tests of PostgreSQL as source and target on another version (POSTGRES=14, or a folder of programs)
	@SORBUS_TEST_POSTGRES=$(POSTGRES) $(RUN)/pytest tests/producers tests/consumers/test_merge.py tests/consumers/test_loop.py \
	  tests/conformance/test_postgres.py tests/ops/test_plan.py --ignore tests/producers/http --ignore tests/producers/webhook $(TESTS)

test-containers: setup  ## Build the image and run a company in containers (needs a Docker Engine; minutes)
	@$(RUN)/pytest -m real tests/acceptance/test_containers.py

lint: setup  ## Check style and types only
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy

bench: setup  ## Measure Sorbus beside its peers (minutes; BENCH="--quick" passes options)
	@$(RUN)/python -m bench $(BENCH)

lock: setup  ## Write the lock files anew, for Python and Java packages (UPGRADE=--upgrade takes newer versions)
	@$(RUN)/uv $(COMPILE) --quiet $(UPGRADE) pyproject.toml --all-extras --group dev -o $(LOCKED)
	@$(RUN)/uv $(COMPILE) --quiet --constraint $(LOCKED) pyproject.toml -o ops/containers/$(LOCKED)
	@echo uv | $(RUN)/uv $(COMPILE) --quiet $(UPGRADE) - -o $(BOOTSTRAP)
	@$(RUN)/sorbus stack lock

clean:  ## Remove what was built, cached and run here (.venv, .sorbus); downloads shared by checkouts stay
	rm -rf $(VENV) .sorbus dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
