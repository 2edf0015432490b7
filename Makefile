# Two commands: `make all` builds everything, `make test` proves it. Both install what they need first.
PYTHON ?= python3
VENV ?= .venv
CORES ?= all

BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
INSTALLED := $(VENV)/installed
export PATH := $(BIN):$(PATH)

.PHONY: all test restore lint ui lock

all: $(INSTALLED)
	"$(BIN)/snakemake" --cores $(CORES) all

test: $(INSTALLED)
	"$(BIN)/python" -m pytest -n auto --dist loadfile

# After a fresh clone: fetch what DVC has, build nothing.
restore: $(INSTALLED)
	"$(BIN)/dvc" pull --quiet
	"$(BIN)/dvc" status --quiet
	mkdir -p .snakemake && touch .snakemake/kinemacolor-recorded
	"$(BIN)/snakemake" all --cores 1 --touch --quiet all

lint: $(INSTALLED)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/snakefmt" --check Snakefile workflow

ui: $(INSTALLED)
	MLFLOW_DISABLE_TELEMETRY=$${MLFLOW_DISABLE_TELEMETRY:-true} "$(BIN)/mlflow" server --backend-store-uri sqlite:///mlflow.db --port 8080

# Take the newest versions that pyproject.toml allows, in a venv of its own.
lock:
	$(PYTHON) workflow/lock.py

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	"$(BIN)/python" -m pip install --quiet --upgrade pip
	"$(BIN)/python" -m pip install --quiet --requirement requirements.lock
	"$(BIN)/python" -m pip install --quiet --no-deps --editable .
	touch $@
