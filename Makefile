# The commands people type. Each one sets up what it needs in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml tinycnn/__init__.py $(wildcard tinycnn/*.pyx tinycnn/*.pxd tinycnn/_fused/*)

SPELLED := README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md benchmarks docs examples fuzz tinycnn tools

# Leaves out tests of files, commands and documents, which are the same whatever the kernels are, and
# those that try the kernels of each level by themselves.
WITHOUT_KERNELS := cli* data_* export_* dask_* *guide benchmark* blocks examples figures hostile_files \
	imports installation links plots readme real_data report steps tools writing
WITH_KERNELS := $(foreach name,$(WITHOUT_KERNELS),--ignore-glob='tests/test_$(name).py')

# What `make fuzz` tries: the same with the same seed.
SEED ?= 0
FILES ?= 20000
CALLS ?= 20000
SECONDS ?= 30

# What `make bench-short` measures, and the folder of MNIST's IDX files.
SHORT := epochs unpooled studied levels threads memory predict import
SHORT_PEERS := tinycnn pytorch scikit_learn sgemm onnx_runtime python
MNIST ?= data

# What `make asan` tests, by the names of files in tests/: all that the tool names if it is empty.
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help train test test-slow test-bounds test-levels test-cpus fuzz asan tsan bench bench-short docs linkcheck lint wheel release reproducible clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

train: $(VENV)/installed  ## install tinycnn and train it on the bundled digits
	$(BIN)/tinycnn train -o digits.npz

test: $(VENV)/tested  ## install tinycnn and run the tests
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(VENV)/tested  ## run the slow tests
	$(BIN)/python -m pytest -n auto -m slow

test-levels: $(VENV)/tested  ## run the tests on the kernels for older processors too
	TINYCNN_CPU_LEVEL=baseline $(BIN)/python -m pytest -n auto -m "not slow" $(WITH_KERNELS)
	TINYCNN_CPU_LEVEL=v3 $(BIN)/python -m pytest -n auto -m "not slow" $(WITH_KERNELS)

test-bounds: $(VENV)/tested  ## run the tests on kernels that check every index
	$(PYTHON) -m venv $(VENV)/bounds
	$(VENV)/bounds/bin/python -m pip install --quiet --upgrade pip
	TINYCNN_BOUNDSCHECK=1 $(VENV)/bounds/bin/python -m pip install --quiet --group test .
	cd tests && ../$(VENV)/bounds/bin/python -m pytest -n auto -c ../pyproject.toml -m "not slow" .

fuzz: $(VENV)/tested  ## try damaged files, hostile arguments, random networks, kills and interrupts
	cd fuzz && ../$(BIN)/python files.py $(SEED) $(FILES)
	cd fuzz && ../$(BIN)/python arguments.py $(SEED) $(CALLS)
	cd fuzz && ../$(BIN)/python networks.py $(SEED) $(SECONDS)
	cd fuzz && ../$(BIN)/python kills.py $(SEED) 50
	cd fuzz && ../$(BIN)/python saves.py 400
	cd fuzz && ../$(BIN)/python interrupts.py $(SEED) 50

asan: $(VENV)/tested  ## run tests and random networks on a build that sees every wrong access
	$(BIN)/python tools/sanitize.py address $(SECONDS) $(TESTS)

tsan: $(VENV)/tested  ## run threads at once on a build that sees every race
	$(BIN)/python tools/sanitize.py thread

bench: $(VENV)/measured  ## measure speed and memory beside other systems (half an hour)
	$(BIN)/python benchmarks/run.py

bench-short: $(VENV)/measured  ## measure what the documents tell, and MNIST (12 minutes)
	$(BIN)/python benchmarks/accuracy.py mnist-record $(MNIST)
	$(BIN)/python benchmarks/run.py --repeats 3 --peers $(SHORT_PEERS) --only $(SHORT)

docs: $(VENV)/documented  ## build the guide into docs/_build, without a warning and without a network
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
	@echo "see docs/_build/index.html"

linkcheck: $(VENV)/documented  ## ask the places that the guide links to whether they are there (needs a network)
	$(BIN)/python -m sphinx -b linkcheck -q docs docs/_build/links

lint: $(VENV)/linted  ## check style, spelling and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $(SPELLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint tinycnn
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml tinycnn._bindings
	$(BIN)/validate-pyproject pyproject.toml

wheel: $(VENV)/releasing  ## build the wheels into dist/, check them, test them on every Python here
	$(BIN)/python tools/build_wheels.py
	$(BIN)/python tools/check_wheels.py
	$(BIN)/python tools/test_wheels.py

release: wheel reproducible  ## build, check and test all release files that this machine can build
	$(BIN)/python tools/release_files.py

reproducible: $(VENV)/releasing  ## build the wheel in dist/ once more, and compare every byte
	$(BIN)/python tools/rebuild.py

test-cpus: $(VENV)/releasing  ## test the wheel in dist/ on emulated processors
	$(BIN)/python tools/test_cpus.py

clean:  ## remove everything that was made here
	rm -rf docs/_build docs/_pictures docs/gallery docs/_static/report.html docs/sg_execution_times.rst
	rm -rf $(VENV) build dist tinycnn.egg-info digits.npz .pytest_cache .mypy_cache .ruff_cache
	rm -rf tinycnn/*.c tinycnn/*.so tinycnn/_double tinycnn/_v3* tinycnn/_v4*
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# setuptools warns at length of the folder tinycnn/_fused, which holds no Python, and of an editable
# installation being one.
$(VENV)/installed: $(BIN)/python $(SOURCES)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[images,progress]'
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group test
	touch $@

$(VENV)/linted: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group lint --group test
	touch $@

$(VENV)/documented: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

$(VENV)/measured: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

$(VENV)/releasing: $(BIN)/python
	$(BIN)/python -m pip install --quiet --group release
	touch $@
