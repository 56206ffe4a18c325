# What people do with this repository; `make` alone lists it.

# Tools that are no part of a distribution, or of which only one program is
# wanted. Kept outside of target/, so that a clean build does not make them anew.
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tomte/tools
export TOOLS
export PATH := $(TOOLS)/bin:$(PATH)

MUSL := x86_64-unknown-linux-musl
SCRIPTS := .ci/run $(wildcard scripts/*.sh scripts/vm/*.sh)

.DEFAULT_GOAL := help
.PHONY: help run demo test test-vm test-ha lint deny advisories shellcheck docs web bench costs fuzz musl dist clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: ## Build, start a hub with this machine's own agent, show live readings
	@scripts/run.sh

demo: ## Build, start a hub with simulated hosts
	@scripts/web.sh try
	cargo build --release --locked --package tomte
	target/release/tomte demo

test: ## Install what the tests need, run all of them
	scripts/test-setup.sh test web
	scripts/web.sh build
	scripts/web.sh test
	cargo test --workspace --locked
	scripts/web.sh browser

test-vm: ## The agent in an emulated machine with real SMART disks and ZFS pools (minutes; root)
	$(MAKE) --no-print-directory musl
	@scripts/test-vm.sh

test-ha: ## The real Home Assistant, oldest and newest; says so when it cannot be had
	scripts/test-setup.sh test
	@scripts/test-ha.sh

lint: ## Formatting, clippy, dependencies, scripts, the repository itself
	scripts/test-setup.sh lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(MAKE) --no-print-directory deny shellcheck
	cargo xtask check-repo

deny: ## Licences, sources and bans of dependencies; advisories when their database is here
	@scripts/deny.sh

advisories: ## Known weaknesses of dependencies; fetches the database
	cargo deny --locked check advisories

shellcheck:
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); \
	else echo "SKIPPED: shellcheck is not installed, so the scripts were not checked"; fi

docs: ## Write the generated references anew
	cargo xtask docs

web: ## Build the browser UI
	@scripts/web.sh build

bench: ## Measure, beside the peers' figures; BENCH="--quick" or BENCH="ingest" for less
	scripts/test-setup.sh bench
	$(MAKE) --no-print-directory dist musl
	cargo run --release --locked --package tomte-bench -- $(BENCH)

costs: ## Measure every collector, here and on a generated host, and write docs/collector-costs.md
	cargo run --release --locked --package tomte-bench -- collectors --page docs/collector-costs.md

fuzz: ## Fuzz every decoder of outside input, FUZZ_SECONDS each (cargo-fuzz, nightly)
	@scripts/fuzz.sh $(or $(FUZZ_SECONDS),60)

# Alone, never in one command with the hub: the agent would get the features
# that the hub wants from shared dependencies.
musl: ## The agent as one static binary
	scripts/test-setup.sh musl
	CC_$(subst -,_,$(MUSL))=musl-gcc cargo build --profile dist-agent --locked --package tomte-agent --target $(MUSL)
	@ls -l target/$(MUSL)/dist-agent/tomte-agent

dist: ## Both binaries as they are shipped
	@scripts/web.sh try
	cargo build --profile dist-agent --locked --package tomte-agent
	cargo build --profile dist --locked --package tomte
	@ls -l target/dist-agent/tomte-agent target/dist/tomte

clean: ## Remove what was built
	cargo clean
