# make run: the main job, from nothing to an AP table.  make evaluate: where its newest detector fails.
# make table TABLE=… TABLE_ARGS="…": a whole table of the paper, here Table 2 on generated images with three seeds.
# make report: the main job, then all finished runs as one page to read, runs/report.html.
# make test: lint, types and the fast tests, in minutes.  make test-all: all tests: more repetitions, notebooks, browser.
# make test-oldest: the fast tests with the oldest versions that pyproject.toml allows, in an environment of their own.
# make coverage: all tests, and which lines of lad/ none of them runs.
# make docs: the documentation site, docs/_build/html.  make notebook-copies: the executed notebooks that it shows, from the runs in runs/.
# make gpu: what only a GPU can show, in 8 minutes (benchmarks/gpu.py); without .venv it runs with PYTHON, installing nothing.
# make lab: JupyterLab at the first notebook, or at NOTEBOOK=explore_assignments.ipynb.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PARAMS ?= -p teacher r101
NOTEBOOK ?= 00_label_assignment_in_ten_minutes.ipynb
TABLE ?= table2_soft_label_vs_lad
TABLE_ARGS ?= --profile toy --seeds 3 --jobs 2
# A test process per core, with one thread each: nearly halves the time on two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8
FAST := not slow and not notebook and not browser

.PHONY: setup run evaluate table test test-all test-oldest coverage lint lab report notebooks notebook-copies results figures docs gpu clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[cluster,docs,fast,notebooks,onnx,test]'
	@mkdir -p runs
	@touch $@

run: setup
	$(BIN)/papermill --log-level ERROR --no-progress-bar --stdout-file - notebooks/run_lad.ipynb runs/run_lad.ipynb $(PARAMS)
	@$(BIN)/lad report runs/run_lad.ipynb
	@echo
	@$(BIN)/lad results runs
	@echo "\nexecuted notebook: runs/run_lad.ipynb   as a page: runs/run_lad.html"

evaluate: setup
	$(BIN)/papermill --log-level ERROR --no-progress-bar --stdout-file - notebooks/evaluate.ipynb runs/evaluate.ipynb $(EVALUATE)
	@$(BIN)/lad report runs/evaluate.ipynb
	@echo "\nexecuted notebook: runs/evaluate.ipynb   as a page: runs/evaluate.html"

report: run
	$(BIN)/lad report runs

table: setup
	$(BIN)/lad table $(TABLE) $(TABLE_ARGS)

test: setup lint
	$(PYTEST) -m "$(FAST)"

test-all: setup lint
	$(PYTEST)

test-oldest:
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/pip install --quiet uv
	build/oldest/bin/uv pip install --quiet --python build/oldest/bin/python --resolution lowest-direct \
	    --editable '.[cluster,fast,notebooks,onnx,test]'
	OMP_NUM_THREADS=1 build/oldest/bin/python -m pytest -m "$(FAST)" --ignore tests/test_constraints.py

coverage: setup
	$(PYTEST) --cov --cov-report=term

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lab: setup
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks/$(NOTEBOOK) $(LAB_ARGS)

notebooks: setup
	$(BIN)/python scripts/make_notebooks.py

results: setup
	$(BIN)/python scripts/make_results.py
	$(BIN)/python scripts/make_figures.py --results
	$(BIN)/python scripts/make_notebooks.py

figures: setup
	$(BIN)/python scripts/make_figures.py

notebook-copies: setup
	$(BIN)/python scripts/make_notebook_copies.py $(COPIES_ARGS)

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs . docs/_build/html
	@echo "site: docs/_build/html/index.html"

gpu:
	PYTHONPATH=$(CURDIR) $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(GPU_ARGS)

clean:
	rm -rf $(VENV) build docs/_build docs/api *.egg-info .pytest_cache .mypy_cache .ruff_cache
