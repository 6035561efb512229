PYTHON ?= python3
BIN := .venv/bin

.PHONY: install leaderboard test check docs benchmark

install: .venv/installed

# `lifegen list` at the end imports every method once: a broken installation shows here, and later calls start at once.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	@echo "installing lifegen and its libraries into .venv: some minutes and 7 GB, most of it torch with CUDA"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/lifegen list > /dev/null
	touch $@

leaderboard: install
	$(BIN)/lifegen run --suite quick --out runs/quick
	$(BIN)/lifegen leaderboard runs/quick
	$(BIN)/lifegen plot runs/quick

# Processes of one thread each; what shares a cluster or the like stays in one of them.
test: install
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

# Types are checked on the installed files: type checkers don't see through the editable installation's folder mapping.
check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf build/types build/lib build/bdist*
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target build/types .
	MYPYPATH=build/types $(BIN)/mypy -p lifegen.benchmark -p lifegen.methods -p lifegen.scenarios

docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs -d build/doctrees
	@echo "open build/docs/index.html"

# Ratios are of CPU time, from slices in turn, so that they can be made on a machine that does other things as well.
benchmark: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' \
		--benchmark-columns=median,rounds -q -s
