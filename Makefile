# GeoDL: `make help` lists what there is. Every target sets up what is missing.
PYTHON = .venv/bin/python
HEADLESS = sh tools/headless.sh
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-forecast test lint package install-plugin docs bench

help: ## list the targets
	@echo "make <target>:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1  /p' Makefile | while read -r name text; do printf '  %-15s %s\n' "$$name" "$$text"; done

setup: ## install QGIS (Debian, Ubuntu) and a virtual environment with PyTorch, if they are missing
	@sh tools/setup.sh

demo: setup ## map landforms into demo/, with a score on ground kept apart, and forecast temperatures into demo/forecast/
	@$(HEADLESS) $(PYTHON) tools/landform_demo.py $(ARGS)
	@$(HEADLESS) $(PYTHON) tools/forecast_demo.py

demo-forecast: setup ## forecast the temperature at New York's airports into demo/forecast/, with charts and a map
	@$(HEADLESS) $(PYTHON) tools/forecast_demo.py $(ARGS)

test: setup ## run the tests; ARGS="tests/engine -k tiles" runs a part
	@$(HEADLESS) $(PYTHON) -m pytest -n 2 --dist loadfile $(ARGS)

lint: setup ## check with ruff and mypy
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

package: setup ## build dist/geodl_qgis_plugin-<version>.zip
	@$(PYTHON) tools/package.py

install-plugin: setup ## install the plugin into your QGIS profile; PROFILE=folder for another one
	@$(PYTHON) tools/install_plugin.py $(if $(PROFILE),--profile "$(PROFILE)")

docs: setup ## write the graphical models, and docs/algorithms.md from the algorithms' own help
	@for what in landform_model geology_models forecast_model; do $(HEADLESS) $(PYTHON) tools/$$what.py || exit 1; done
	@$(HEADLESS) $(PYTHON) tools/algorithm_reference.py

bench: setup ## measure what the plugin costs when QGIS starts
	@$(HEADLESS) $(PYTHON) benchmarks/plugin_start.py
