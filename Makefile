# make reach   set up what the main job needs, and run it; ARGS="--episodes 3" is passed on
# make test    set up everything, and run every check; ARGS="-k trajectory" goes to pytest
# make quick   the tests that take seconds, in one to five minutes: none that trains, runs nodes or draws much
# make lint    the static checks alone
# make docs    the documentation as a site, build/site/index.html; a broken link fails
# make lock    renew requirements/ from setup.py

SHELL := /bin/bash

# A sourced ROS 2, or another environment of ROS wheels, would mix its libraries with ours.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH AMENT_PREFIX_PATH RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: reach test quick lint docs lock setup-reach setup-test

reach: setup-reach
	.venv-reach/bin/taskgan reach $(ARGS)

test: lint
	.venv/bin/python -m pytest $(ARGS)

quick: setup-test
	.venv/bin/python -m pytest -m "not slow" $(ARGS)

lint: setup-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

docs: setup-test
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict # the warning is on a release to come

setup-reach:
	@scripts/setup .venv-reach requirements/reach.txt

setup-test:
	@scripts/setup .venv requirements/test.txt

# torch is pinned: one release trains, exports and tests. What only its CUDA build needs is left out, so that a CPU
# build brings none of it; pip adds it for a CUDA build.
COMPILE = build/uv/bin/uv pip compile setup.py --quiet --universal --python-version 3.11.5 --fork-strategy fewest \
	--no-header --no-annotate --extra cpu --extra ros-wheels
KEEP = grep -vE "^(nvidia|cuda|triton)|sys_platform == 'win32'$$"

lock:
	python3 -m venv build/uv && build/uv/bin/pip install --quiet uv
	printf '%s\n' "setuptools<80" "packaging<26" >build/reach.in   # Snakemake allows no newer packaging
	echo "torch==2.13.0" >build/pins.txt
	set -o pipefail; $(COMPILE) build/reach.in | $(KEEP) >build/reach.txt
	set -o pipefail; $(COMPILE) --extra arms --extra recordings --extra training --extra experiments \
		--extra docs --extra path-tracing --extra test \
		--constraint build/reach.txt --constraint build/pins.txt | $(KEEP) >build/test.txt
	mkdir -p requirements && mv build/reach.txt build/test.txt requirements/
