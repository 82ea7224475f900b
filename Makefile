# Two commands; each sets everything up in .venv and needs only Python >= 3.11, git and make:
#   make run     the main job on the NumPy default: the tutorial, then training on handwritten digits
#   make test    all tests on numpy, jax and array_api_strict, and the conformance suite on mlx
# `make PYTHON=python3.12 ...` takes another interpreter (for a new .venv).

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help run test lint torch onednn gpu array-api-tests clean
help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile

run: $(VENV)/.examples
	$(BIN)/python examples/tutorial.py
	$(BIN)/python examples/digits.py

# A BLAS that spins for a core which another test process holds is 10-20 times slower: one thread each.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# PyTorch is gigabytes on most machines, so `make test` does not install it; where it is, its comparisons run too.
torch: $(VENV)/.torch

# oneDNN makes the NumPy backend faster; its tests need it, all others do without.
onednn: $(VENV)/.onednn

# On a machine with an NVIDIA GPU and its driver: tests and timings on CuPy and JAX (gigabytes are installed, CUDA's libraries and
# headers for CuPy too). CUDA=12 for older drivers.
CUDA ?= 13
gpu: $(VENV)/.test
	$(PIP) --editable '.[test,$(if $(filter 12,$(CUDA)),cupy-cuda12$(comma)cudnn-cuda12,cupy$(comma)cudnn),cudnn-frontend]' \
	  'cupy-cuda$(CUDA)x[ctk]' 'jax[cuda$(CUDA)]'
	$(BIN)/python benchmarks/gpu.py

comma := ,

# The official test suite of the standard, from a copy of its source: make array-api-tests SOURCE=../array-api-tests
array-api-tests: $(VENV)/.array-api-tests
	$(BIN)/python conformance/array_api_tests/run.py $(SOURCE) --backend numpy --backend array_api_strict

clean:
	rm -rf $(VENV)

# Each file is the stamp of one finished install, so a later call is immediate; a changed pyproject.toml renews them.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] \
	  + ": try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.examples $(VENV)/.test $(VENV)/.lint $(VENV)/.onednn $(VENV)/.array-api-tests: $(VENV)/.%: pyproject.toml | $(VENV)/.made
	$(PIP) --editable '.[$*]'
	@touch $@

$(VENV)/.torch: | $(VENV)/.made
	$(PIP) torch==2.13.0
	@touch $@
