# Two commands: `make all` builds everything, `make test` proves it. Both install what they need first.
PYTHON ?= python3
VENV ?= .venv
CORES ?= all

BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/installed
export PATH := $(BIN):$(PATH)

.PHONY: all test restore lint ui lock

all: $(INSTALLED)
	snakemake --cores $(CORES) all

test: $(INSTALLED)
	python -m pytest -n auto --dist worksteal

# After a fresh clone: fetch what DVC has, build nothing.
restore: $(INSTALLED)
	dvc pull --quiet
	dvc status --quiet
	mkdir -p .snakemake && touch .snakemake/kinemacolor-recorded
	snakemake all --cores 1 --touch --quiet all

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow

ui: $(INSTALLED)
	mlflow server --backend-store-uri sqlite:///mlflow.db --port 5000

# Take the newest versions that pyproject.toml allows, in a venv of its own.
lock:
	$(PYTHON) workflow/lock.py

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet --requirement requirements.lock
	python -m pip install --quiet --no-deps --editable .
	touch $@
