# make build | check | test | demo | docs | asan. Each sets up all it needs in .venv and does nothing twice.
# PIP_FLAGS: further options of `pip install`, such as another package index.

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS)
CPP_SOURCES := $(filter %.cpp %.hpp %.h %.inc,\
  $(wildcard $(addsuffix *.*,plugin/cpp/ plugin/cpp/*/ plugin/cpp/*/*/ lammps_interface/cpp/)))
CPP := $(CPP_SOURCES) $(wildcard cmake/*.cmake) CMakeLists.txt

.PHONY: build check test demo docs asan clean
.DELETE_ON_ERROR:

build: $(VENV)/.built

# Layout, loose ends, types.
check: build
	@echo "== layout, lint, types"
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/clang-format --dry-run --Werror $(CPP_SOURCES)
	$(BIN)/mypy

test: check
	@echo "== tests"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -q

demo: build
	@echo "== demo: active learning of ethanol"
	OMP_NUM_THREADS=1 $(BIN)/mollifield loop examples/ethanol/loop.yaml

# The site, into build/docs/html, with what the tutorials give when they are run: minutes once, then as long as they stay.
docs: build
	@echo "== site"
	cd docs && OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python -m generator

# The LAMMPS tests with both libraries under AddressSanitizer and UndefinedBehaviorSanitizer: any report ends `lmp`.
# Programs without sanitizers load the sanitizer's library first; what python, torch and MPI keep is no leak of ours.
# No watch on stack use after return: on the stack it makes for that, g++ 12 does not align AVX-512 vectors.
# ASAN_TESTS: which of them; those left out build a plugin of their own, or start `lmp` in a way of their own.
ASAN := $(CURDIR)/build/asan
ASAN_TESTS ?= tests/lammps --ignore tests/lammps/test_build.py \
  --deselect tests/lammps/test_errors.py::test_explicit_plugin_load
asan: build
	@echo "== sanitizers"
	$(BIN)/cmake -S . -B $(ASAN) -G Ninja -D CMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -D Python_EXECUTABLE=$(CURDIR)/$(BIN)/python -D MOLLIFIELD_SANITIZE=address,undefined \
	  -D MOLLIFIELD_CORE_DIR=$(ASAN) -D MOLLIFIELD_LAMMPS_DIR=$(ASAN)
	$(BIN)/cmake --build $(ASAN)
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so.6)" \
	  ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1 \
	  OMP_NUM_THREADS=1 MOLLIFIELD_PLUGIN=$(ASAN)/mollifieldplugin.so $(BIN)/python -m pytest -q $(ASAN_TESTS)

$(BIN)/python:
	@echo "== virtual environment $(VENV)"
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m virtualenv $(VENV) || \
	  { rm -rf $(VENV); echo "no virtual environment: install the venv module of $(PYTHON)" >&2; exit 1; }

$(VENV)/.torch: requirements.txt | $(BIN)/python
	@echo "== torch"
	$(PIP_INSTALL) "$$(grep '^torch==' requirements.txt)"
	@touch $@

$(VENV)/.requirements: requirements.txt $(VENV)/.torch
	@echo "== dependencies"
	$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.built: setup.py pyproject.toml $(CPP) $(VENV)/.requirements
	@echo "== build of the C++ side, installation in place"
	$(PIP_INSTALL) --no-build-isolation -c requirements.txt -e .
	@touch $@

clean:
	rm -rf build $(VENV)/.built plugin/mollifield/*.so lammps_interface/mollifield_lammps/*.so
