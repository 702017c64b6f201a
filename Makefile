# Everything happens in .venv, which is made on first use and brought up to date when pyproject.toml changes.
# Console scripts are never called by name: their first line breaks when the checkout's path has a space in it.

PYTHON ?= python3
PORT ?= 8000
export PORT
# Many tests wait for processes and their limits, so there are more of them than processors.
TESTS_AT_ONCE ?= 3
# A machine may stand still for longer than a test of processes waits: what fails is asked once more, and the summary
# names it (RERUN). RERUNS=0 to see what is not steady.
RERUNS ?= 1

VENV := .venv
RUN := $(VENV)/bin/python
PEERS := .venv-peers

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak lint types tox bench bench-peers clean

help:  ## Say what there is
	@echo "django_graceful, for those who try it and those who change it:"
	@sed -n 's/^\([a-z-]*\):.*##/  make \1 \t/p' Makefile | expand -t 20
	@echo "PYTHON=python3.12 chooses the interpreter of .venv, PORT=8001 the demo's address."

demo: $(VENV)/has-demo  ## Run the demo site with its runner and a mail server; Ctrl-C stops it gracefully
	@$(RUN) -m testproject.demo

test: $(VENV)/has-test  ## Run the whole test suite
	$(RUN) -m pytest --numprocesses=$(TESTS_AT_ONCE) --reruns=$(RERUNS) -r aR

soak: $(VENV)/has-test  ## Run the long tests: storms of cancels and kills, hundreds of restarts (less than an hour)
	$(RUN) -m pytest -m soak -s tests/soak

lint: $(VENV)/has-lint  ## Check format and style
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

types: $(VENV)/has-test $(VENV)/has-lint  ## Check the types
	$(RUN) -m mypy
	$(RUN) -m mypy --config-file testproject/mypy.ini

tox: $(VENV)/has-tox  ## Run the quick tests on every Python and Django that is supported
	$(RUN) -m tox run

bench: $(VENV)/has-test  ## Measure: items a second, latency, memory
	$(RUN) -m benchmarks

bench-peers: $(PEERS)/has-peers $(PEERS)/arq/has-peers-arq  ## Measure beside Dramatiq, Celery, RQ, Huey and arq (PEERS_OPTIONS="--rounds 1")
	$(PEERS)/bin/python -m benchmarks.peers $(PEERS_OPTIONS)

clean:  ## Remove all that the other targets have made, the demo's data (var/) too
	rm -rf $(VENV) $(PEERS) .tox .pytest_cache .mypy_cache .ruff_cache .hypothesis var dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python $(PEERS)/bin/python $(PEERS)/arq/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …" >&2; exit 1; }
	"$(PYTHON)" -m venv $(@:/bin/python=)

# Dependency groups came with pip 25.1; a venv brings the pip of its Python.
$(VENV)/has-%: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --upgrade "pip>=25.1"
	$(RUN) -m pip install --quiet --editable . --group $*
	@touch $@

$(PEERS)/has-peers: pyproject.toml | $(PEERS)/bin/python
	$(PEERS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PEERS)/bin/python -m pip install --quiet --editable . --group peers
	@touch $@

# arq alone: the benchmark's own files need nothing, and django_graceful is not pushed to from here.
$(PEERS)/arq/has-peers-arq: pyproject.toml | $(PEERS)/bin/python $(PEERS)/arq/bin/python
	$(PEERS)/arq/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PEERS)/arq/bin/python -m pip install --quiet --group peers-arq
	@touch $@

.PRECIOUS: $(VENV)/has-%
