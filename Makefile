# Everything that is done with this repository. `make` lists it; nothing but make and Python is needed to begin with.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHONPATH := tests

## PYTHON: Python to make the environment with; default: the first of 3.11 or later on PATH
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do "$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$p"; break; }; done)
## VENV: folder of the Python environment
VENV ?= .venv
## PYTEST_ARGS: further arguments for pytest, for example PYTEST_ARGS="-x -k deadline"
PYTEST_ARGS ?=
## BENCH_ARGS: further arguments for the benchmark, for example BENCH_ARGS="--counts 1,10 --name mine"
BENCH_ARGS ?=
## AGENTSESSIONS_CLUSTER: local, kind or existing; default: KUBECONFIG's cluster if that is set, kind where Docker runs, else local
## AGENTSESSIONS_REGISTRY: with an existing cluster, the registry and prefix from which it pulls the images
## ANTHROPIC_API_KEY: the demo uses the real model with it, where the cluster has a way out
## XDG_CACHE_HOME, XDG_STATE_HOME: where built programs and images, and the local cluster's state, are kept

RUN := $(VENV)/bin/python
# Tests that share nothing run on all processors; those of one file stay together, and with what they share.
ALL_AT_ONCE := -n auto --dist loadfile
TIERS := lint verify test-unit test-agent test-stores test-chart test-egress test-e2e demo
GENERATED := crds charts/agentsessions-crds/files charts/agentsessions/values.schema.json \
  docs/api.md docs/metrics.md docs/requirements.md docs/troubleshooting.md

.PHONY: help
help: ## Show this
	@awk '/^##@ /{printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## /{name = $$1; sub(/:$$/, "", name); sub(/^[^#]*## /, ""); printf "  %-13s %s\n", name, $$0}' \
	  $(MAKEFILE_LIST)
	@printf '\nVariables, set as in: make demo AGENTSESSIONS_CLUSTER=kind\n'
	@awk '/^## [A-Z_, ]+: /{name = substr($$0, 4); sub(/: .*/, "", name); sub(/^[^:]*: /, ""); \
	  printf "  %s\n                %s\n", name, $$0}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.ready ## Make the Python environment with everything that development needs

$(VENV)/.ready: pyproject.toml tests/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or name it by PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "install the venv module: apt-get install python3-venv" >&2; exit 1; }
	@echo "making the Python environment in $(VENV) (a minute or two)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt --editable '.[dev]' >&2
	@touch $@

##@ A cluster, and the demo on it

.PHONY: demo
demo: setup ## Show one session from an empty machine to its result (slow the first time, and says so)
	@$(RUN) -m demo

.PHONY: cluster
cluster: setup ## Make the cluster, or repair it; quick when it is there
	@$(RUN) -m cluster up

.PHONY: cluster-down
cluster-down: setup ## Stop the cluster and remove all of it but the cache
	@$(RUN) -m cluster down

.PHONY: images
images: setup ## Build the images that have changed, and print their archives
	@$(RUN) -m images build

.PHONY: env
env: setup ## Print what a shell needs to use the cluster: eval "$(make -s env)"
	@echo "export KUBECONFIG=$$($(RUN) -m cluster kubeconfig)"
	@echo "export PATH=$$(dirname $$($(RUN) -m cluster binary kubectl)):$$(dirname $$($(RUN) -m cluster binary helm)):\$$PATH"

##@ Tests

.PHONY: test
test: setup ## Run every tier, cheapest first: lint, unit, agent, stores, chart, egress, a real cluster, the demo
	@mkdir -p build; nice -n 19 $(RUN) -m cluster ahead >build/ahead.log 2>&1 & \
	nice -n 19 $(RUN) -m images ahead >build/images.log 2>&1 & \
	report=""; for tier in $(TIERS); do \
	  case $$tier in test-e2e|demo) wait ;; esac; \
	  printf '\n== %s\n' "$$tier"; begin=$$(date +%s); \
	  $(MAKE) $$tier || { printf '\n%b== %s failed\n' "$$report" "$$tier"; exit 1; }; \
	  report="$$report$$(printf '%-12s %5s s' "$$tier" $$(($$(date +%s) - begin)))\n"; \
	done; printf '\nall tiers passed\n%b' "$$report"

.PHONY: lint
lint: setup ## Check style, types and which module may import which
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

.PHONY: test-unit
test-unit: setup ## Run the tests that need nothing but Python: units, demo, documentation
	@$(RUN) -m pytest tests/unit tests/contract tests/documentation $(ALL_AT_ONCE) $(PYTEST_ARGS)

.PHONY: test-agent
test-agent: setup ## Run the agent image's program with the real SDK and CLI against the model stand-in
	@$(RUN) -m pytest tests/agent $(ALL_AT_ONCE) $(PYTEST_ARGS)

.PHONY: test-stores
test-stores: setup ## Run the session stores and archives against real Redis, Postgres and S3 servers (builds one once)
	@$(RUN) -m pytest tests/stores $(ALL_AT_ONCE) $(PYTEST_ARGS)

.PHONY: test-chart
test-chart: setup ## Check what the Helm charts render to, and the GitOps health checks (builds Helm once)
	@$(RUN) -m pytest tests/chart tests/gitops $(ALL_AT_ONCE) $(PYTEST_ARGS)

.PHONY: test-egress
test-egress: setup ## Run the chart's Envoy configuration in a real Envoy
	@$(RUN) -m pytest tests/egress $(PYTEST_ARGS)

.PHONY: test-e2e
test-e2e: setup ## Run the tests on a real cluster with the real agent image; makes the cluster if there is none
	@$(RUN) -m pytest tests/cluster_checks tests/install tests/e2e tests/faults $(PYTEST_ARGS)

.PHONY: test-thorough
test-thorough: setup ## Run property tests and those on a real cluster with more of everything: cases, wakes, losses (hours)
	@AGENTSESSIONS_THOROUGH=1 $(RUN) -m pytest tests/unit/reconcile $(PYTEST_ARGS)
	@AGENTSESSIONS_THOROUGH=1 $(RUN) -m pytest tests/cluster_checks tests/e2e $(PYTEST_ARGS)

FAULTS_FILE ?= build/faults.jsonl
## FAULTS_ARGS: --add has `make test-faults` play what the page lacks and add its counts to it, instead of beginning anew
FAULTS_ARGS ?=

.PHONY: test-faults
test-faults: setup ## Run the fault matrix until each fault has hit each moment 20 times, where it can (hours); writes the table of docs/reliability.md
	@test -n "$(FAULTS_ARGS)" || rm -f $(FAULTS_FILE)
	@AGENTSESSIONS_THOROUGH=1 AGENTSESSIONS_FAULTS_HITS=20 AGENTSESSIONS_FAULTS_FILE=$(FAULTS_FILE) \
	AGENTSESSIONS_FAULTS_PAGE=$(if $(FAULTS_ARGS),docs/reliability.md) $(RUN) -m pytest tests/faults $(PYTEST_ARGS); \
	code=$$?; $(RUN) -m faults $(FAULTS_ARGS) $(FAULTS_FILE) docs/reliability.md && rm $(FAULTS_FILE) && exit $$code

.PHONY: bench
bench: setup ## Measure how fast sessions start on the cluster; prints a table and writes JSON
	@$(RUN) -m bench $(BENCH_ARGS)

.PHONY: bench-hosts
bench-hosts: setup ## Measure sessions on a shared host, and the gateway against direct calls; prints Markdown
	@$(RUN) -m bench.hosts

.PHONY: bench-hybrid
bench-hybrid: setup ## Measure how fast sleeping sessions wake, by store and length of conversation; prints Markdown
	@$(RUN) -m bench.hybrid

##@ Source

.PHONY: fmt
fmt: setup ## Format the code
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format .

.PHONY: crds
crds: setup ## Write the CRDs and the schema of the chart's defaults from the models
	@$(RUN) -m agentsessions crds --out crds
	@rm -f charts/agentsessions-crds/files/*.yaml && cp crds/*.yaml charts/agentsessions-crds/files/
	@$(RUN) -m chart.template_schema

.PHONY: docs
docs: setup ## Write the generated pages: API reference, metrics, trace of requirements, tables of conditions
	@$(RUN) -m agentsessions docs --out docs
	@$(RUN) -m documentation docs

.PHONY: lock
lock: ## Resolve the development environment anew, within pyproject.toml's bounds, and write tests/constraints.txt
	@$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' >&2
	@{ echo '# The versions that development and tests run with; `make setup` installs these. Made by `make lock`.'; \
	  $(RUN) -m pip freeze --exclude-editable; } > tests/constraints.txt

.PHONY: verify
verify: setup ## Fail if something generated is not what the models say now
	@before=$$(find $(GENERATED) -type f | sort | xargs cksum); $(MAKE) crds docs; \
	after=$$(find $(GENERATED) -type f | sort | xargs cksum); \
	test "$$before" = "$$after" || { echo "generated files were out of date: commit what git diff shows" >&2; exit 1; }
