# The whole vocabulary: setup demo test check serve bench docs clean. `make` alone lists it.
# People and CI use the same targets.

VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(BIN)/python -m
# The stamp's name follows the two files that decide what is installed: change one, and setup runs again.
STAMP  := $(VENV)/.stamp-$(shell cat pyproject.toml constraints.txt tools/setup | cksum | cut -d' ' -f1)

PYTHON ?=
DATA   ?=
OUT    ?= demo
ARGS   ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup install-dev demo test test-fast check format generate optimize-model serve serve-debug bench docs clean

help:
	@echo "make setup      create $(VENV) with everything in it (again only when pyproject.toml or constraints.txt changed)"
	@echo "make demo       from audio to a tested recogniser: DATA=folder for your own, OUT=folder for the results ($(OUT))"
	@echo "make test       every test; make test-fast leaves out the slow ones; ARGS='-k name' goes to pytest, WORKERS=2 at a time"
	@echo "make check      format, lint, types, the map of imports, generated files"
	@echo "make format     repair what check says about format and lint"
	@echo "make generate   write the generated pages of the docs again"
	@echo "make optimize-model  ONNX and int8 forms of MODEL=folder, checked against it; ARGS='--data manifest.jsonl'"
	@echo "make serve      transcribe over HTTP with MODEL=folder; ARGS='--port 9000'; make serve-debug logs everything"
	@echo "make bench      measure: ARGS='cli sampler' picks benchmarks; results go to benchmarks/results and the docs"
	@echo "make docs       build the documentation into site/"
	@echo "make clean      remove what was built; $(VENV), runs/ and $(OUT)/ stay"

setup: $(STAMP)
install-dev: setup

$(STAMP):
	@PYTHON="$(PYTHON)" tools/setup $(VENV) $(STAMP)

demo: setup
	$(BIN)/harken demo --out "$(OUT)" $(if $(DATA),--data "$(DATA)") $(ARGS)

test: setup
	$(RUN) pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-fast: setup
	$(RUN) pytest -n $(WORKERS) --dist loadfile -m "not slow" $(ARGS)

check: setup
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(BIN)/lint-imports
	$(RUN) tools.performance_page --check
	$(RUN) tools.reference_pages --check
	$(RUN) tools.fault_cases_page --check

format: setup
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

generate: setup
	$(RUN) tools.performance_page
	$(RUN) tools.reference_pages
	$(RUN) tools.fault_cases_page

optimize-model: setup
	@test -n "$(MODEL)" || { echo "name the model folder: make optimize-model MODEL=runs/NAME/model"; exit 2; }
	$(BIN)/harken export "$(MODEL)" --to onnx,onnx-int8 $(ARGS)

serve: setup
	@test -n "$(MODEL)" || { echo "name the model folder: make serve MODEL=runs/NAME/model"; exit 2; }
	$(BIN)/harken serve --model "$(MODEL)" $(ARGS)

serve-debug: export LOG_LEVEL := DEBUG
serve-debug: serve

bench: setup
	$(RUN) benchmarks.run $(ARGS)
	$(RUN) tools.performance_page

docs: setup
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

clean:
	rm -rf site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
