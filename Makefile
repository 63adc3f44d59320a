# make demo: compress a network from start to end.  make test: lint and tests.
# Needs Python 3.10 to 3.13; everything else is installed into $(VENV).

PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/digits
SEED ?= 0

BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: help venv demo test lint check-python clean

help:
	@echo "make demo   compress the demonstration's teacher: WORKDIR=$(WORKDIR) SEED=$(SEED)"
	@echo "make test   lint and tests"
	@echo "make venv   a virtual environment in $(VENV) with all that is needed"
	@echo "make clean  remove $(VENV)"

venv: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python bin/run_pipeline.py --config=configs/digits.py \
	  --config.seed=$(SEED) --workdir=$(WORKDIR)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile tests

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

$(INSTALLED): setup.py constraints.txt | check-python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; \
	  rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[cpu,dev,benchmarks]"
	@touch $@

check-python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: there is no $(PYTHON); install Python 3.10 to 3.13, or name it: make demo PYTHON=/path/to/python3"; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: Python 3.10 to 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
	  exit 1; }

clean:
	rm -rf $(VENV)
