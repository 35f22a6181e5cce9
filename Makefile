# Every target says in one line what it is doing while it does it. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup demo test trials soak fuzz bench check clean

# Paths are relative throughout, so the folder may have any name; what is given (KEEP=…) reaches the shell by the
# environment, unread by make.
export KEEP KILLS SEED SECONDS BENCH

# The tests start our programs a thousand times; let Python keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make setup             make .venv with the pinned packages, if it is not there yet"
	@echo "make demo              run the demonstration: a bank, a CA, two customers (KEEP=folder keeps what it makes)"
	@echo "make test              check, then run all tests"
	@echo "make trials            run the tests of the fifty trials of docs/trials.md and list what became of each"
	@echo "make soak              kill the bank a thousand times, and run the other tests that take minutes (KILLS=n SEED=n)"
	@echo "make fuzz              fuzz the readers of foreign bytes for an hour (SECONDS=… for another time)"
	@echo "make bench             measure transfers beside a plain database, at most 15 minutes (BENCH=--quick for a look)"
	@echo "make check             check style, types and the direction of imports"
	@echo "make clean             remove .venv and everything else that can be made again"

setup:
	@sh tools/setup.sh

demo: setup
	@echo "Running the demonstration docs/demo.py …"
	@if [ -n "$$KEEP" ]; then .venv/bin/python docs/demo.py --keep "$$KEEP"; else .venv/bin/python docs/demo.py; fi

check: setup
	@echo "Checking the style with ruff …"
	@.venv/bin/python -m ruff check --quiet .
	@.venv/bin/python -m ruff format --quiet --check . || { echo "Run: .venv/bin/python -m ruff format ."; exit 1; }
	@echo "Checking the types with mypy …"
	@.venv/bin/python -m mypy --no-error-summary
	@echo "Checking the direction of imports with import-linter …"
	@.venv/bin/lint-imports --no-logo

test: check
	@sh tools/setup.sh tests
	@echo "Running the tests …"
	@.venv/bin/python -m pytest -n 2 --dist worksteal

trials: setup
	@sh tools/setup.sh tests
	@echo "Running the fifty trials …"
	@.venv/bin/python -m tests.trials

soak: setup
	@sh tools/setup.sh soak
	@echo "Running the tests that take minutes, such as a thousand kills of the bank …"
	@.venv/bin/python -m pytest -q -m soak

fuzz: setup
	@.venv/bin/python -m tests.fuzz

bench: setup
	@sh tools/setup.sh bench
	@echo "Measuring; progress follows, the table comes last …"
	@.venv/bin/python -m tests.bench $$BENCH

clean:
	@echo "Removing .venv, caches and build folders …"
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
