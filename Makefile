# Two commands on a machine with only Python (3.11 to 3.13), pip and make:
#   make demo   train, compare and score the models on the embedded benchmark
#   make test   pass the tests; make test-slow: those that take long

PYTHON ?= python3
WORKDIR ?= runs/demo
ARGS ?=
# Bytecode is half of the start of every command that the tests run, and two fifths of the collection of the tests.
export UV_COMPILE_BYTECODE = 1
export PYTHONDONTWRITEBYTECODE =
export UV_PYTHON_DOWNLOADS = never

# uv installs exactly the lock file; where the machine has none, pip brings it into a folder of its own.
UV := $(or $(shell command -v uv),.uv/bin/uv)
RUN = .venv/bin/python

.PHONY: demo test test-slow lint docs

demo: .venv/installed
	$(RUN) -m avsd_jax.main --config=configs/avinet.py:demo --workdir=$(WORKDIR) $(ARGS)

test: .venv/installed
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

# Published sizes, whole runs, more forms of what the quick tests show.
test-slow: .venv/installed
	$(RUN) -m pytest -n 2 --dist loadfile -m slow $(ARGS)

lint: .venv/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# The site, build/site/index.html, with the notebook run; and every block of code of the pages.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet
	$(RUN) tests/docs/check_site.py build/site
	PYTHONPATH=.:tests/helpers $(RUN) tests/docs/run_blocks.py $(PAGES)

.venv/installed-docs: .venv/installed
	$(UV) sync --frozen --quiet --extra all --extra docs --python $(PYTHON)
	touch $@

.venv/installed: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --extra all --python $(PYTHON)
	touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv
