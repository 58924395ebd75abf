# Every target makes its own virtual environment from the lock file: nothing is assumed but Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests mostly wait for processes and servers: more of them at a time than there are cores.
JOBS ?= 4
# Byte code is kept whatever the environment says, else each of the many processes that tests start compiles everything
# anew; a file's tests share a service, so a file is run as a whole, in the order of tests/conftest.py.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-long campaign corpus fuzz interop check deploy-check fix bench bench-scale locust run lock clean

help: ## show what can be done
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	touch $@

demo: $(VENV)/.installed ## send 200 messages through a throw-away instance and watch them arrive (ARGS=--postgres)
	$(BIN)/mail-proxy demo $(ARGS)

test: $(VENV)/.installed ## run the test suite on PostgreSQL and SQLite (ARGS="-k name")
	$(PYTEST) $(ARGS)

test-long: $(VENV)/.installed ## the same with many more examples, stops and requests (hours; CAMPAIGN=long make campaign is apart)
	HYPOTHESIS_PROFILE=long MAILPROXY_TEST_EXAMPLES=500 MAILPROXY_FUZZ_EXAMPLES=200 MAILPROXY_TEST_STOPS=200 \
		MAILPROXY_TEST_LOCK=15 MAILPROXY_TEST_PAGES=1 MAILPROXY_TEST_MINUTE=1 $(PYTEST) --timeout 1800 $(ARGS)

campaign: $(VENV)/.installed ## kill, stop and starve real servers on both databases, then count (CAMPAIGN=long)
	$(BIN)/python -m tests.campaign $(ARGS)

corpus: $(VENV)/.installed ## hold the bounce parser against flufl.bounce on the samples of its source distribution
	$(BIN)/python -m tests.corpus

fuzz: $(VENV)/.installed ## let atheris think of mail for the parsers (ARGS=-max_total_time=600)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "atheris>=3,<4"
	$(BIN)/python -m tests.fuzz $(ARGS)

interop: $(VENV)/.installed ## read a real Dovecot (installs it from Debian; as root)
	command -v dovecot >/dev/null || apt-get install -y --no-install-recommends dovecot-imapd
	$(BIN)/python -m pytest tests/imap/test_dovecot.py $(ARGS)

check: $(VENV)/.installed ## lint, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

deploy-check: $(VENV)/.installed ## hold the files in deploy/ against the schemas of those who read them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "yamllint>=1.38,<2" "check-jsonschema>=0.39,<1" \
		"kubernetes-validate>=1.37,<2"
	PATH="$(CURDIR)/$(BIN):$$PATH" deploy/check

docs: $(VENV)/.installed ## build the documentation's site into build/site and check its links
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/site/requirements.lock
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html --conf-dir docs/site \
		--doctree-dir build/doctrees . build/site
	$(BIN)/python docs/site/check.py build/site

fix: $(VENV)/.installed ## apply the formatter and the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench ## measure rates beside the limit program, on both databases
	$(BIN)/python -m loadtests.bench $(ARGS)

bench-scale: $(VENV)/.bench ## hold claims, plans, rates and memory to their targets at 1,000,000 rows (half an hour, resumable)
	$(BIN)/python -m loadtests.scale $(ARGS)

locust: $(VENV)/.bench ## four kinds of tenants against a throw-away service, with a UI or ARGS="--headless -u 20 -t 30s"
	$(BIN)/python -m loadtests.locusts $(ARGS)

run: $(VENV)/.installed ## run a server in the foreground from the environment's GMP_ settings
	$(BIN)/mail-proxy serve $(ARGS)

lock: ## renew requirements.lock within the ranges of pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --extra dev --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --generate-hashes --allow-unsafe -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--generate-hashes --allow-unsafe -c requirements.lock -o docs/site/requirements.lock docs/site/requirements.in
	for lock in "run.lock pyproject.toml" "build.lock deploy/container/build.in"; do \
		$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--generate-hashes --allow-unsafe -c requirements.lock -o deploy/container/$$lock; done

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
