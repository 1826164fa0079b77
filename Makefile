PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Index of torch's CPU builds; without it, pip installs CUDA wheels on Linux (several GB).
TORCH_INDEX ?=
# The exact versions to install, for Python 3.11 and newer; if empty, the newest that pyproject.toml allows.
CONSTRAINTS ?= constraints.txt
PINNED := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
TORCH := $(if $(CONSTRAINTS),$(shell sed -n 's/^torch==/torch==/p' $(CONSTRAINTS)),torch>=2.6)
# How many processes run the tests: one more than two cores, because some tests wait. The tests of one file share a
# process, and with it their fixtures.
JOBS ?= 3
PARALLEL = -n $(JOBS) --dist loadfile --no-loadscope-reorder
# One thread each for the small models of the tests. Byte code is written although images for containers often forbid it:
# without it, each process would compile the package anew.
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
ROOM ?=
ROOM_TESTS = $(if $(ROOM),$(or $(wildcard $(ROOM:%=tests/%) $(ROOM:%=tests/adapters/%) $(ROOM:%=tests/system/%) \
	$(ROOM:%=tests/test_%.py)),$(error there are no tests of ROOM=$(ROOM))),tests)

.PHONY: demo lint build test peers-suites test-faults test-export test-mirrors test-oldest soak kills hunt scripts grids \
	bench bench-quick clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/pip install -q --disable-pip-version-check $(PINNED) -e '.[test,lint]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# Style, format and types; the rules are in pyproject.toml.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A source distribution and a wheel, in dist/.
build: $(STAMP)
	rm -rf build dist
	$(BIN)/pip install -q --disable-pip-version-check $(PINNED) build
	$(BIN)/python -m build

# All quick tests; `make test ROOM=policy` (or keras, contract, units ...) runs one room's.
test: $(STAMP)
	$(PYTEST) $(PARALLEL) $(ROOM_TESTS) -m "not slow and not soak and not export and not mirrors"

OLDEST := .venv-oldest
# Replaces some oldest versions, such as OLDEST_BUT="torch==2.13.0" if pip finds no CPU build of an older torch.
OLDEST_BUT ?=

$(OLDEST)/.installed: pyproject.toml tests/support/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install -q --disable-pip-version-check --no-deps -e .
	$(OLDEST)/bin/python tests/support/oldest.py $(OLDEST_BUT) > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) \
		$$(grep '^torch==' $(OLDEST)/constraints.txt)
	$(OLDEST)/bin/pip install -q --disable-pip-version-check -c $(OLDEST)/constraints.txt -e '.[test]'
	touch $@

# The quick tests with the oldest versions that pyproject.toml allows; their warnings are not errors.
test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 PYTEST_ADDOPTS="-W default" $(OLDEST)/bin/python -m pytest $(PARALLEL) $(ROOM_TESTS) \
		-m "not slow and not soak and not export and not mirrors"

# Kills and injected errors at every step of the commit protocol; further signals, and processes that train together. Then
# four times as many random policies and histories as in `make test`. With PARTS=3, one in three variants of each test
# and points of each sweep, others at each commit. The faults come first and alone: forks of a process that has imported
# no framework are cheap.
PARTS ?= 1
SLOW = PARTS=$(PARTS) $(PYTEST) $(PARALLEL) -m "slow and not soak and not export" --show-capture=no
test-faults: $(STAMP)
ifneq ($(ROOM),)
	$(SLOW) $(ROOM_TESTS)
else
	$(SLOW) tests/system/faults
	$(SLOW) tests --ignore=tests/system/faults
	EXAMPLES=4 $(PYTEST) $(PARALLEL) tests/policy tests/config -m "not slow and not soak and not export and not mirrors"
endif

MIRRORS := $(VENV)/.mirrors-installed
AZURITE_BLOB := build/node_modules/.bin/azurite-blob

$(MIRRORS): $(STAMP)
	$(BIN)/pip install -q --disable-pip-version-check $(PINNED) -e '.[test-mirrors]'
	touch $@

# Microsoft's server for tests of Azure, by npm; without Node.js, its tests are skipped.
$(AZURITE_BLOB):
	-npm install --silent --no-audit --no-fund --no-save --prefix build azurite@3

# Stores elsewhere, and whole runs with mirrors, on real servers on loopback that fail in every way: S3, Google Cloud
# Storage, Azure, SFTP, WebDAV, rclone, the Hub. What is not installed is skipped.
test-mirrors: $(MIRRORS) $(AZURITE_BLOB)
	$(PYTEST) $(PARALLEL) tests/remote tests/system/mirrors -m mirrors

# 300 uploads that are killed; writes the result into docs/mirrors.md.
kills: $(MIRRORS) $(AZURITE_BLOB)
	$(PYTEST) tests/system/mirrors -m soak

# Models that are exported in every format, and run by their own runtimes in processes of their own.
test-export: $(STAMP)
	$(PYTEST) $(PARALLEL) tests/export -m export

# 126 training runs, killed at random moments and resumed; writes the result into docs/exact-resume.md.
soak: $(STAMP)
	$(PYTEST) tests/system/soak -m soak

# 1,056 files that are written while training continues, each of which must hold only one step; writes the result into
# docs/background-saves.md.
hunt: $(STAMP)
	$(PYTEST) tests/system/torn_snapshots -m soak

# The tests that the frameworks have of their own callbacks, run with the drop-ins in their place; see docs/drop-ins.md.
LIGHTNING ?=
peers-suites: $(STAMP)
	$(BIN)/python -m tests.drop_ins.keras_suites
ifneq ($(LIGHTNING),)
	cd $(LIGHTNING)/tests && TPU_SKIP_MDS_QUERY=1 HDF5_PLUGIN_PATH= OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR):. \
		$(abspath $(BIN))/python -m pytest -q -W ignore -p no:cacheprovider -p tests.support.lightning_suites \
		tests_pytorch/checkpointing tests_pytorch/callbacks/test_early_stopping.py \
		--ignore tests_pytorch/checkpointing/test_legacy_checkpoints.py
endif

# 500 random training scripts, each killed at a random batch and started again.
scripts: $(STAMP)
	$(PYTEST) tests/system/generated -m soak

# All cases of the grids in which the drop-ins and the frameworks' own callbacks run with the same arguments, half an hour;
# `make test-faults` runs a tenth of them.
grids: $(STAMP)
	$(PYTEST) $(PARALLEL) tests/drop_ins -m soak

BENCH := $(VENV)/.bench-installed

# Libraries that only the benchmarks need; without them, their rows say "not installed".
$(BENCH): $(STAMP) benchmarks/requirements.txt
	-$(BIN)/pip install -q --disable-pip-version-check $(PINNED) -r benchmarks/requirements.txt
	touch $@

# All benchmarks, one to two hours on two cores with nothing else running; writes benchmarks/results.md.
bench: $(BENCH)
	$(BIN)/python -m benchmarks.run

# The same with small states and single rounds, about three minutes.
bench-quick: $(BENCH)
	$(BIN)/python -m benchmarks.run --quick

clean:
	rm -rf $(VENV) $(OLDEST) runs
