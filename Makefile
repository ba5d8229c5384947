# The targets of the build. `make help` lists them; CI calls the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= /usr/bin/python3
BIN := .venv/bin
INSTALL := pip install -qq --disable-pip-version-check --require-hashes
# Ryu's build tools end at Python 3.11; above it os-ken, the maintained fork of Ryu, takes its place.
CONTROLLER := $(shell $(PYTHON) -c 'import sys; print("controller" if sys.version_info < (3, 12) else "controller-os-ken")' 2>/dev/null)
PROTOS := $(wildcard proto/eloquent/api/v1/*.proto)

# In containers where a Docker engine answers, else on the machine itself: RUNTIME=docker|native insists. The targets are the same.
CHOICE := $(shell docker/choose-runtime "$(RUNTIME)")
override RUNTIME := $(firstword $(CHOICE))
export BOARD_PORT LOCUST_PORT PROMETHEUS_PORT GRAFANA_PORT RUNS
ELOQUENT := $(if $(filter docker,$(RUNTIME)),docker/eloquent,$(BIN)/eloquent)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nOptions of up, with their defaults:\n  CLIENTS=8 SCHEMES=grpc,duplicate-2,eloquent,eloquent-packed SCENARIO=paper-default ROUNDS=1 SEED=1\n'
	@printf '  SESSION=30 TOKEN_RATE=10 CARRIER=auto|netem|wire DATAPATH=auto|kernel|user PROMETHEUS_PORT=9090 BOARD_PORT=8080 LOCUST_PORT=8089 RUNTIME=docker|native\n'
	@printf '  and, for a model server of yours: UPSTREAM=http://HOST:PORT MODEL=name PROMPT="what to ask" SCHEMES=sse-cubic,sse-bbr,openai\n'
	@printf '\nOptions of load:\n  USERS=24 DURATION=60 SHAPE=steady|ramp|spike|commuter SCHEMES=grpc,eloquent VIA=edge|library THINK=4 TOKEN_RATE=10 SLO=stall_ratio=0.2,...\n'
	@printf '  SEED=1 ALLOW_INVALID=1; of load-capacity: SCHEMES=grpc,sse,eloquent VIA=edge|library TOKEN_RATE=10\n'
	@printf '\nOptions of fleet: DASK=tcp://HOST:8786 LABS=n, those of up, CLIENTS being those of all labs; with USERS those of load, too\n'

# --- installation: each stamp is made anew when what it depends on has changed

.PHONY: testbed
testbed: $(RUNTIME) ## Install what the testbed needs: images, or Debian packages and virtual environments

.PHONY: docker
docker:
	@echo "runtime: docker ($(wordlist 2,99,$(CHOICE)))"
	@docker/eloquent build --quiet $(BUILD_FLAGS)

.PHONY: native
native: .build/lab.stamp .build/controller.stamp
	@echo "runtime: native ($(wordlist 2,99,$(CHOICE)))"

.PHONY: unknown
unknown:
	@false

.build/packages-%.stamp: docker/debian-packages.txt docker/install-packages
	@mkdir -p .build
	@docker/install-packages $*
	@touch $@

.build/packages-clients.stamp: docker/debian-packages.txt docker/install-packages
	@mkdir -p .build
	@command -v npm >/dev/null || docker/install-packages clients # other packages of Node.js bring it too, and Debian's would not bear them
	@touch $@

.build/venv.stamp: requirements/testbed.lock .build/packages-native.stamp .build/packages-lab.stamp
	@echo "Making the virtual environment .venv"
	@$(PYTHON) -m venv --clear --system-site-packages .venv
	@$(BIN)/$(INSTALL) --requirement requirements/testbed.lock
	@touch $@

.build/lab.stamp: pyproject.toml setup.py .build/venv.stamp $(PROTOS)
	@echo "Installing the package, with the code generated from proto/"
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.build/dev.stamp: requirements/dev.lock .build/lab.stamp
	@echo "Adding the development tools to .venv"
	@$(BIN)/$(INSTALL) --requirement requirements/dev.lock
	@touch $@

.build/controller.stamp: requirements/$(CONTROLLER).lock requirements/$(CONTROLLER)-build.lock .build/packages-native.stamp
	@echo "Making the virtual environment .venv-controller ($(CONTROLLER))"
	@$(PYTHON) -m venv --clear .venv-controller
	@.venv-controller/bin/$(INSTALL) --requirement requirements/$(CONTROLLER)-build.lock
	@.venv-controller/bin/$(INSTALL) --no-build-isolation --requirement requirements/$(CONTROLLER).lock
	@touch $@

# --- the testbed

UP_FLAGS := $(if $(UPSTREAM),--upstream "$(UPSTREAM)") $(if $(MODEL),--model "$(MODEL)") $(if $(PROMPT),--prompt "$(PROMPT)") \
	$(if $(CLIENTS),--clients "$(CLIENTS)") $(if $(SCHEMES),--schemes "$(SCHEMES)") \
	$(if $(SCENARIO),--scenario "$(SCENARIO)") $(if $(ROUNDS),--rounds "$(ROUNDS)") $(if $(SEED),--seed "$(SEED)") \
	$(if $(SESSION),--session "$(SESSION)") $(if $(TOKEN_RATE),--token-rate "$(TOKEN_RATE)") $(if $(CARRIER),--carrier "$(CARRIER)") $(if $(DATAPATH),--datapath "$(DATAPATH)") \
	$(if $(PROMETHEUS_PORT),--prometheus-port "$(PROMETHEUS_PORT)") \
	$(if $(BOARD_PORT),--board-port "$(BOARD_PORT)") $(if $(LOCUST_PORT),--locust-port "$(LOCUST_PORT)") $(if $(RUNS),--runs "$(abspath $(RUNS))")

.PHONY: up
up: testbed ## Bring the testbed up, stream one round, print the comparison
	@$(ELOQUENT) up $(UP_FLAGS) $(if $(ALLOW_INVALID),--allow-invalid)

LOAD_FLAGS := $(if $(USERS),--users "$(USERS)") $(if $(DURATION),--duration "$(DURATION)") $(if $(SHAPE),--shape "$(SHAPE)") \
	$(if $(SCHEMES),--schemes "$(SCHEMES)") $(if $(VIA),--via "$(VIA)") $(if $(THINK),--think "$(THINK)") \
	$(if $(TOKEN_RATE),--token-rate "$(TOKEN_RATE)") $(if $(SLO),--slo "$(SLO)") $(if $(SEED),--seed "$(SEED)") $(if $(ALLOW_INVALID)$(ALLOW_LAG),--allow-invalid)

.PHONY: load
load: testbed ## Let many users chat through the testbed that is up
	@$(ELOQUENT) load $(LOAD_FLAGS)

.PHONY: load-capacity
load-capacity: testbed ## Find the sustainable load: how many streams the testbed that is up carries
	@$(ELOQUENT) load-capacity $(if $(SCHEMES),--schemes "$(SCHEMES)") $(if $(VIA),--via "$(VIA)") \
		$(if $(TOKEN_RATE),--token-rate "$(TOKEN_RATE)")

FLEET_FLAGS := $(if $(DASK),--dask "$(DASK)") $(if $(LABS),--labs "$(LABS)") $(if $(CLIENTS),--clients "$(CLIENTS)") $(if $(SCHEMES),--schemes "$(SCHEMES)") \
	$(if $(SCENARIO),--scenario "$(SCENARIO)") $(if $(ROUNDS),--rounds "$(ROUNDS)") $(if $(SEED),--seed "$(SEED)") $(if $(SESSION),--session "$(SESSION)") \
	$(if $(TOKEN_RATE),--token-rate "$(TOKEN_RATE)") $(if $(CARRIER),--carrier "$(CARRIER)") $(if $(DATAPATH),--datapath "$(DATAPATH)") \
	$(if $(USERS),--users "$(USERS)") $(if $(DURATION),--duration "$(DURATION)") $(if $(SHAPE),--shape "$(SHAPE)") $(if $(VIA),--via "$(VIA)") \
	$(if $(THINK),--think "$(THINK)") $(if $(SLO),--slo "$(SLO)") $(if $(RUNS),--runs "$(abspath $(RUNS))") $(if $(ALLOW_INVALID),--allow-invalid)

.PHONY: fleet
fleet: testbed ## Run LABS=n labs on the workers of a Dask cluster, DASK=tcp://..., and pool them: one run (docs/scale.md)
	@$(if $(DASK),,$(error name the cluster: make fleet DASK=tcp://HOST:8786 LABS=2))$(ELOQUENT) fleet $(FLEET_FLAGS)

.PHONY: status
status: ## Tell what runs
	@if [ -x $(ELOQUENT) ]; then $(ELOQUENT) status; else echo "no testbed is up"; fi

.PHONY: logs
logs: ## Show the ends of the latest run's logs
	@$(if $(filter docker,$(RUNTIME)),docker/eloquent logs)
	@tail --lines 20 "$(or $(RUNS),runs)"/latest/logs/*.log

.PHONY: down
down: ## End the testbed, safe to repeat; VOLUMES=1 removes Prometheus's data in containers, too
	@if [ -x $(ELOQUENT) ]; then $(ELOQUENT) down $(and $(filter docker,$(RUNTIME)),$(VOLUMES),--volumes); else echo "no testbed was up"; fi

.PHONY: top
top: testbed ## Watch the testbed in this terminal
	@$(ELOQUENT) top

.PHONY: check-host
check-host: testbed ## Show what this machine can do for the testbed, with remedies
	@$(ELOQUENT) check-host

.PHONY: report
report: testbed ## Write RUN=DIR's report.html, one page to read anywhere
	@$(ELOQUENT) report "$(abspath $(or $(RUN),runs/latest))"

.PHONY: compare
compare: testbed ## Tell what differs beyond noise between two runs, A=DIR and B=DIR
	@$(ELOQUENT) compare "$(abspath $(or $(A),$(error name two runs: make compare A=runs/one B=runs/other)))" \
		"$(abspath $(or $(B),$(error name two runs: make compare A=runs/one B=runs/other)))"

# --- the paper

OUT ?= runs/reproduction
REPRODUCE_FLAGS := $(if $(SESSIONS),--sessions "$(SESSIONS)") $(if $(HEADLINE),--headline "$(HEADLINE)") \
	$(if $(VARIED),--varied "$(VARIED)") $(if $(MODERN),--modern "$(MODERN)") $(if $(SEED),--seed "$(SEED)") $(if $(DASK),--dask "$(DASK)") \
	$(if $(TRACES),--traces "$(TRACES)") $(if $(TARGETS),--targets "$(TARGETS)")

.PHONY: reproduce
reproduce: testbed ## Compute the paper's results from seeds: tables and figures in OUT=DIR
	@$(ELOQUENT) reproduce --out "$(abspath $(OUT))" $(REPRODUCE_FLAGS)

.PHONY: compiled
compiled: native .build/dev.stamp ## Compile the core for this clone: simulations take little more than a third of the time, until a source of it changes
	@$(BIN)/python setup.py --quiet build_core >.build/core.log 2>&1 || { cat .build/core.log; false; }

.PHONY: agreement
agreement: testbed ## Stream the same schedules through the lab and the simulator, and compare
	@$(ELOQUENT) up --rounds 8 --no-background $(UP_FLAGS)
	@$(ELOQUENT) down
	@$(ELOQUENT) agreement "$(abspath $(or $(RUNS),runs)/latest)" $(if $(TOLERANCE),--tolerance "$(TOLERANCE)")

# --- development

.PHONY: dashboards
dashboards: native .build/dev.stamp ## Generate Grafana's dashboards from their definitions
	@$(BIN)/python dashboards/generate.py

.PHONY: test
test: native .build/dev.stamp ## Run every test lane that this machine can run
	@$(BIN)/python tests/run_lanes.py

.PHONY: test-quick
test-quick: native .build/dev.stamp ## Check style and types, and run the lane `unit` meanwhile
	@$(MAKE) --no-print-directory --jobs=2 lint unit

.PHONY: unit
unit: native .build/dev.stamp
	@$(BIN)/python tests/run_lanes.py unit

.PHONY: fuzz
fuzz: native .build/dev.stamp ## Fuzz what reads bytes from the network, each parser for SECONDS=60
	@$(BIN)/python tests/fuzz/run.py --seconds "$(or $(SECONDS),60)"

.PHONY: test-kernel
test-kernel: native .build/dev.stamp .build/packages-kernel.stamp ## Run a lab on real netem and kernel Open vSwitch, in a guest kernel
	@$(BIN)/python tests/run_lanes.py kernel

.PHONY: test-containers
test-containers: native .build/dev.stamp .build/packages-containers.stamp ## Run the testbed in containers, on a real Docker engine
	@$(BIN)/python tests/run_lanes.py containers

.PHONY: bench
bench: native .build/dev.stamp ## Measure relays, protocol, wire, simulator and lab, side by side: PARTS=relays,wire STREAMS=1,10,100,500 REPEAT=3 HOSTS=8,50,200 BENCH_OUT=DIR
	@$(BIN)/python -m bench $(if $(PARTS),--parts "$(PARTS)") $(if $(STREAMS),--streams "$(STREAMS)") $(if $(REPEAT),--rounds "$(REPEAT)") \
		$(if $(HOSTS),--hosts "$(HOSTS)") $(if $(BENCH_OUT),--out "$(BENCH_OUT)")

.PHONY: bench-fairness
bench-fairness: native ## Measure what text through the relays and a TCP leave each other on slow lines: SECONDS=60 ROWS="64kbit cubic"
	@$(BIN)/python bench/fairness.py $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(ROWS),--only "$(ROWS)")

.PHONY: bench-mptcp
bench-mptcp: native ## Measure the kernel's Multipath TCP over two access links: SECONDS=120 TOKEN_RATE=10 SECOND=clean CLIENTS=4
	@$(BIN)/python bench/mptcp.py $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(TOKEN_RATE),--rate "$(TOKEN_RATE)") \
		$(if $(SECOND),--second "$(SECOND)") $(if $(CLIENTS),--clients "$(CLIENTS)")

.PHONY: lint
lint: native .build/dev.stamp ## Check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/hadolint docker/*Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose*.yaml

SBOM ?= .build/sbom.cdx.json
.PHONY: sbom
sbom: native .build/dev.stamp ## Write what the testbed is made of, Python and Debian packages, as CycloneDX: SBOM=FILE
	@$(BIN)/python docker/sbom.py --out "$(SBOM)" $(and $(filter docker,$(RUNTIME)),--image eloquent-testbed)

LOCK := uv pip compile pyproject.toml --quiet --no-header --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)
.PHONY: lock
lock: ## Bring the lock files of .venv up to pyproject.toml (needs uv); UPGRADE=1 takes the newest releases of everything
	@$(LOCK) --extra testbed --extra build --output-file requirements/testbed.lock
	@$(LOCK) --constraint requirements/testbed.lock --extra testbed --extra build --extra dev --output-file requirements/dev.lock
	@$(subst pyproject.toml,requirements/clients.in,$(LOCK)) --output-file requirements/clients.lock
	@$(subst pyproject.toml,requirements/models.in,$(LOCK)) --output-file requirements/models.lock
	@$(LOCK) --constraint requirements/testbed.lock --extra build --output-file requirements/relay.lock
