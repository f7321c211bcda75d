# Everything a newcomer needs: `make demo` and `make test`. Each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := train,postgres,s3,web,docs,dev
APT := tesseract-ocr tesseract-ocr-eng dcmtk orthanc dicom3tools fonts-dejavu-core fonts-liberation fonts-freefont-ttf postgresql chromium libturbojpeg0 libfaketime

.PHONY: setup demo test test-all lint serve weights docs wheel bench clean

setup: $(VENV)/.ready

# torch first and by itself: a later, unpinned install would take a build with gigabytes of CUDA.
$(VENV)/.ready: pyproject.toml constraints.txt scripts/system-packages.sh
	bash scripts/system-packages.sh $(APT)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$$(grep -E '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

demo: setup
	$(BIN)/python scripts/demo.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

test: setup lint
	$(BIN)/pytest -m "not slow" -n 2 --dist loadgroup

test-all: setup lint
	$(BIN)/pytest

# Two nodes, PostgreSQL and an object store, everything broken in turn: RADANON_CHAOS_SECONDS (180) and RADANON_CHAOS_SEED choose.
chaos: setup
	$(BIN)/pytest -s -m slow tests/integration/test_chaos.py

serve: setup
	$(BIN)/radanon serve --config config.yaml

# The marker weights from scratch: hours on a CPU. FILMS is a folder like the one docs/model-card.md names.
weights: setup
	sh scripts/train_weights.sh $(FILMS)

# The documents as a site, in site/; nothing is fetched when it is read.
docs: setup
	$(BIN)/python scripts/generate_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# A wheel in dist/.
wheel: setup
	$(BIN)/python -m build --wheel --no-isolation

bench: setup
	$(BIN)/radanon bench

clean:
	rm -rf var demo-out runs site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
