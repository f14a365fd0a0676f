# Every target does its own set-up, from a bare clone on: `make run`, `make test`.
SHELL := /bin/sh
VENV := .venv
# What the packages are installed from; touched after each change of these two, and not before.
SOURCES := setup.cfg pyproject.toml
# The parts in deploy/lib are looked at with the script that takes them in.
SCRIPTS := $(wildcard deploy/*.sh deploy/container/*.sh tests/*.sh)
ARGS ?=

.PHONY: run test check lint bench soak mariadb machine

run: $(VENV)/installed
	@echo '$(VENV)/bin/marketd run --simulated $(ARGS)'
	@exec $(VENV)/bin/marketd run --simulated $(ARGS)

test: $(VENV)/installed-dev mariadb machine
	$(VENV)/bin/python -m pytest --numprocesses 6 --dist worksteal $(ARGS)

check: lint test

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/shellcheck --external-sources $(SCRIPTS)
	$(VENV)/bin/hadolint deploy/container/Dockerfile
	$(VENV)/bin/docker-compose --file deploy/container/compose.yaml config --quiet

bench: $(VENV)/installed-dev mariadb
	$(VENV)/bin/python -m benchmarks $(ARGS)

soak: $(VENV)/installed-dev mariadb machine
	$(VENV)/bin/python -m benchmarks soak $(ARGS)

mariadb:
	@tests/set_up.sh

# What the tests install on the machines that they boot.
machine:
	@tests/fetch_packages.sh

# The environment itself: venv repairs one that was left half made.
$(VENV)/created:
	@deploy/make_venv.sh $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created $(SOURCES)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/created $(SOURCES)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed
