# The vocabulary of the build. `make help` lists it; CI calls the same words.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: testbed
testbed: .build/lab.stamp .build/controller.stamp ## Install what the testbed needs: Debian packages, virtual environments, generated code

.build/packages-%.stamp: docker/debian-packages.txt docker/install-packages
	@mkdir -p .build
	@docker/install-packages $*
	@touch $@

.build/venv.stamp: requirements/testbed.lock .build/packages-lab.stamp
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv --clear --system-site-packages $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes --requirement requirements/testbed.lock
	@touch $@

.build/proto.stamp: .build/venv.stamp $(wildcard proto/eloquent/api/v1/*.proto)
	@echo "Generating code from proto/"
	@$(BIN)/python -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --python_out=services --grpc_python_out=services \
		--mypy_out=quiet:services --mypy_grpc_out=quiet:services $(wildcard proto/eloquent/api/v1/*.proto)
	@touch $@

.build/lab.stamp: pyproject.toml .build/proto.stamp
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.build/controller.stamp: requirements/controller.lock requirements/controller-build.lock .build/packages-lab.stamp
	@echo "Making the controller's virtual environment .venv-controller (Ryu, eventlet)"
	@$(PYTHON) -m venv --clear .venv-controller
	@.venv-controller/bin/pip install -qq --disable-pip-version-check --require-hashes --requirement requirements/controller-build.lock
	@.venv-controller/bin/pip install -qq --disable-pip-version-check --require-hashes --no-build-isolation --requirement requirements/controller.lock
	@touch $@

