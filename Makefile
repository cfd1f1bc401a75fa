# `make demo` and `make test` need nothing but Python 3.11 or later and git.
PYTHON ?= python3
TL3 := 3.9.0
PACKAGE := pyproject.toml constraints.txt

.PHONY: demo test test-tl3 lint clean

demo: .venv/ready
	.venv/bin/python -m analyses.layer_sweep

test: .venv/ready
	.venv/bin/python -m pytest

test-tl3: .venv-tl3/ready
	.venv-tl3/bin/python -m pytest

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright --pythonpath .venv/bin/python

.venv/ready: $(PACKAGE)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The last line of TransformerLens with HookedTransformer, everything else as pinned.
.venv-tl3/ready: $(PACKAGE)
	$(PYTHON) -m venv .venv-tl3
	sed 's/^transformer-lens==.*/transformer-lens==$(TL3)/' constraints.txt > .venv-tl3/constraints.txt
	.venv-tl3/bin/python -m pip install --quiet --constraint .venv-tl3/constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-tl3 results
