# make run [PHOTOS=~/Pictures] [LIBRARY=./library]   install, then photos in, people pages out
# make test, make check, make bench, make chaos
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

.PHONY: run test check bench chaos clean
run: $(VENV)/installed
	@if [ "$(PHOTOS)" = demo ]; then $(BIN)/muster demo demo; fi
	$(BIN)/muster photos "$(PHOTOS)" --library "$(LIBRARY)"

test: $(VENV)/installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python benchmarks/faces_throughput.py

chaos: $(VENV)/installed
	$(BIN)/python benchmarks/chaos.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Muster needs Python 3.11 or newer; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo demo-library
