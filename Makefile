# Python 3.11, 3.12 or 3.13.
PYTHON ?= python3
# What `make test-all` tests on.
PYTHONS ?= python3.11 python3.12 python3.13
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install leaderboard test test-all faults check docs benchmark benchmark-gpu

install: $(VENV)/installed

# `lifegen list` at the end imports every method once: a broken installation shows here, and later calls start at once.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing lifegen and its libraries into $(VENV): some minutes and 7 GB, most of it torch with CUDA"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/lifegen list > /dev/null
	touch $@

leaderboard: install
	$(BIN)/lifegen run --suite quick --out runs/quick
	$(BIN)/lifegen plot runs/quick

# Processes of one thread each. A file stays in one of them, since its tests share what is costly to make.
test: install
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Each in an environment of its own. A Python is run to see whether it is there: a version manager's shim may stand in
# for one that isn't.
test-all:
	@failed=; for python in $(PYTHONS); do \
		if ! "$$python" -c "" 2> /dev/null; then echo "test-all: $$python wasn't found"; continue; fi; \
		name=$$("$$python" -c "import sys; print('%d.%d' % sys.version_info[:2])"); \
		echo "test-all: $$python ($$name)"; \
		$(MAKE) test PYTHON="$$python" VENV=.venv-$$name || failed="$$failed $$python"; \
	done; \
	if [ -n "$$failed" ]; then echo "test-all: failed on$$failed"; exit 1; fi

# The owner of a cell stopped at each of its calls that touch the store, superseded and woken up, for a method without
# and one with a state: half an hour. `test` takes one call in 150.
faults: install
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.stopped --method naive:width=2 --method generative-replay:width=2

# Types are checked on the installed files: type checkers don't see through the editable installation's folder mapping.
check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf build/types build/lib build/bdist*
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target build/types .
	MYPYPATH=build/types $(BIN)/mypy -p lifegen

docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs -d build/doctrees
	@echo "open build/docs/index.html"

# Ratios are of CPU time, from slices in turn, so that they can be made on a machine that does other things as well.
benchmark: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' \
		--benchmark-columns=median,rounds -q -s

# At most eight minutes: what one would look at first when a GPU is lent for a short time.
benchmark-gpu: install
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.gpu
