# make run [PHOTOS=~/Pictures] [LIBRARY=./library]   install, then photos in, people pages out
# make test, make check, make build, make bench, make chaos; make lock (docs/testing.md)
PYTHON ?= python3
PHOTOS ?= demo
# Never one library for both: strangers from the demo among one's own people
ifeq ($(PHOTOS),demo)
LIBRARY ?= demo-library
else
LIBRARY ?= library
endif
VENV = .venv
BIN = $(VENV)/bin

PYTEST = $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: run test check build bench chaos lock clean
run: $(VENV)/run.installed
	@if [ "$(PHOTOS)" = demo ]; then $(BIN)/muster demo demo; fi
	$(BIN)/muster photos "$(PHOTOS)" --library "$(LIBRARY)"

# Then on an older processor, as it were: without AVX-512 networks run in float32 (docs/testing.md)
test: $(VENV)/test.installed
	$(PYTEST)
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(PYTEST) -m precision $$(grep -rl --include=*.py mark.precision tests)

check: $(VENV)/test.installed .typed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd .typed && ../$(BIN)/lint-imports --no-logo ../pyproject.toml

# mypy and lint-imports run no import hooks: links that lay the folders out as they are installed (docs/adr/0022-one-name.md)
.typed: $(wildcard muster/*)
	rm -rf .typed && mkdir -p .typed/muster
	ln -s $(addprefix ../../,$^ pipeline storage tasks training web) .typed/muster/

# A release into dist/; tests/test_wheel.py installs one
build: $(VENV)/test.installed
	rm -rf dist
	$(BIN)/python -m build --no-isolation

bench: $(VENV)/test.installed
	$(BIN)/python benchmarks/faces_throughput.py

chaos: $(VENV)/test.installed
	$(BIN)/python benchmarks/chaos.py

# Wheels only, each with its SHA-256: nothing but the packages of requirements/, and no code of theirs, runs here
$(VENV)/run.installed $(VENV)/test.installed: $(VENV)/%.installed: requirements/%.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "Muster needs Python 3.11 to 3.14; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $<
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Both from the same versions; run.txt has what README's commands use (docs/adr/0021-what-is-installed.md). setuptools
# builds Muster; what was published in the last week is left alone
LOCK = echo 'setuptools>=77' | uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --only-binary :all: --exclude-newer P7D --custom-compile-command 'make lock' pyproject.toml -
lock:
	$(LOCK) --extra dev --output-file requirements/test.txt
	$(LOCK) --extra demo --constraints requirements/test.txt --output-file requirements/run.txt

clean:
	rm -rf $(VENV) demo demo-library
