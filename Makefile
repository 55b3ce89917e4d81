# `make demo` and `make test` need nothing but Python 3.11 to 3.13: they make the environment themselves; so does
# `make test-legacy`, from Python 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTHON_LEGACY ?= python3.11
VENV_LEGACY ?= .venv-legacy
INSTALLED_LEGACY := $(VENV_LEGACY)/.installed
LEGACY := graph solvers smoothing criteria attacks optimizers filters defenses addons magnification protocol imports \
	tf_slim slim models inspection data pictures

.PHONY: demo test test-slow test-legacy lint docs bench reference figure screenshot clean

demo: $(INSTALLED)  ## the paper's MNIST table, and a report to look at, on the digits and weights that ship here
	$(BIN)/python -m eval.white_box --save_images --output=results/demo
	$(BIN)/python -m eval.report results/demo

test: $(INSTALLED)  ## the short tests, and the lines of the library that they run
	$(BIN)/python -m pytest -m "not slow" --numprocesses=auto --dist=loadfile --cov

test-slow: $(INSTALLED)  ## the long ones
	$(BIN)/python -m pytest -m slow --numprocesses=auto --dist=loadfile

test-legacy: $(INSTALLED_LEGACY)  ## the LEGACY tests on TensorFlow 2.15 with Keras 2, TensorFlow Addons and TF-Slim
	$(VENV_LEGACY)/bin/python -m pytest -m "not slow" --numprocesses=auto --dist=loadfile $(LEGACY:%=tests/test_%.py)

lint: $(INSTALLED)  ## format, lint, types, the way of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## the tables of benchmarks/results, some hours
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks

reference: $(INSTALLED)  ## docs/commands.md from the flags
	$(BIN)/python -m docs.commands

docs: $(INSTALLED)  ## the documentation's site, site/index.html, its API from the docstrings; a link that leads nowhere is an error
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

figure: $(INSTALLED)  ## the figure of the README
	$(BIN)/python -m eval.white_box --attacks=cw,scw --num_images=3 --output=results/figure
	cp results/figure/examples.png docs/examples.png

screenshot: $(INSTALLED)  ## the report of the demo as the README shows it; needs chromium
	test -f results/demo/report.html || $(MAKE) demo
	chromium --headless=new --no-sandbox --hide-scrollbars --window-size=1100,2680 --screenshot=docs/report.png \
		"file://$(CURDIR)/results/demo/report.html"
	chromium --headless=new --no-sandbox --hide-scrollbars --window-size=1100,640 --screenshot=docs/comparison.png \
		"file://$(CURDIR)/results/demo/report.html#image=00003&with=original&with=cw&with=scw&as=image&zoom=20&x=14&y=14"

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[eval,keras2,lint,test]'
	touch $@

$(INSTALLED_LEGACY): pyproject.toml tests/legacy.txt
	$(PYTHON_LEGACY) -m venv $(VENV_LEGACY)
	$(VENV_LEGACY)/bin/python -m pip install --quiet --upgrade pip
	$(VENV_LEGACY)/bin/python -m pip install --quiet --requirement tests/legacy.txt --editable '.[addons,eval,test]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV_LEGACY) results build *.egg-info .coverage
