# `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# The tools for building for 64-bit ARM on another machine. Its kernels have pages of 4 to 64 KiB; the
# allocator must be built for the largest.
ARM_TARGET := aarch64-unknown-linux-gnu
ARM := CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
	JEMALLOC_SYS_WITH_LG_PAGE=16

.PHONY: help
help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

.PHONY: run
run: ## Build what is missing and serve on 127.0.0.1:8080 with a sample app
	@.ci/install run
	@.ci/dashboard
	cargo run --release --locked --package picloud -- serve --sample

# Most tests wait for something, so two groups run at the same time. Three keep two cores so busy
# that servers refuse requests.
TESTS := .ci/beside \
	'.ci/timed \
		\"browser=.ci/with-postgres npm --prefix dashboard run --silent e2e\" \
		\"processes=.ci/with-postgres cargo test --locked --workspace --test process\" \
		\"store=.ci/with-postgres cargo test --locked --workspace --test store\"' \
	'.ci/timed \
		\"api=.ci/with-postgres cargo test --locked --workspace --test api\" \
		\"the rest=.ci/with-postgres .ci/rest-of-tests\"'

.PHONY: test
test: ## Everything: format, lints, guest from source, all tests on both databases, a browser
	@.ci/timed \
		"tools=.ci/install test" \
		"format=cargo fmt --all --check" \
		"dashboard: checks=make --no-print-directory check-dashboard" \
		"dashboard: build=.ci/dashboard" \
		"clippy=cargo clippy --workspace --all-targets --locked -- -D warnings" \
		"documentation=RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --document-private-items" \
		"crates=.ci/crates" \
		"tests: build=cargo test --workspace --locked --no-run" \
		"guest from source=target/debug/picloud-packer --check" \
		"contract=.ci/contract 30 --seed 1 --max-examples 3" \
		"tests=$(TESTS)"

.PHONY: dashboard
dashboard: ## Build the dashboard, which the next build of the server embeds
	@.ci/install dashboard
	@.ci/dashboard

.PHONY: check-dashboard
check-dashboard: ## The dashboard's types, lints and unit tests, and the lint of docs/openapi.json
	@.ci/install dashboard
	cd dashboard && npm run --silent openapi
	cd dashboard && npm run --silent types -- --check
	cd dashboard && npm run --silent lint
	cd dashboard && npm run --silent check
	cd dashboard && npm run --silent unit

.PHONY: e2e
e2e: ## The browser tests alone; E2E="--project=sqlite script" for some of them
	@.ci/install test
	@.ci/dashboard
	cargo build --workspace --locked
	.ci/with-postgres npm --prefix dashboard run --silent e2e -- $(E2E)

.PHONY: screenshots
screenshots: ## Take the screenshots in docs/screenshots again
	PICLOUD_SCREENSHOTS=$(CURDIR)/docs/screenshots $(MAKE) e2e E2E="--project=sqlite pages"

.PHONY: contract
contract: ## Check the API against docs/openapi.json for ten minutes; PICLOUD_CONTRACT_SEED=N repeats a run
	@.ci/install test
	@.ci/dashboard
	cd dashboard && npm run --silent openapi
	cargo build --locked --package picloud
	.ci/contract 600 --max-examples 1000 $(if $(PICLOUD_CONTRACT_SEED),--seed $(PICLOUD_CONTRACT_SEED))

.PHONY: chaos
chaos: ## Kill the server a thousand times under load; PICLOUD_CHAOS_SEED=N repeats a run
	cargo test --locked --package picloud --test process --no-run
	PICLOUD_CHAOS_KILLS=$${PICLOUD_CHAOS_KILLS:-1000} .ci/with-postgres \
		cargo test --locked --package picloud --test process -- chaos --nocapture

.PHONY: upgrade
upgrade: ## Build the previous release, fill a data folder with it, and upgrade that
	@.ci/install test
	.ci/upgrade

.PHONY: scale
scale: ## Fill every table with a million rows on both databases, and time every list; PICLOUD_SCALE_ROWS=N rows
	@.ci/install test
	cargo test --locked --package picloud --test plans --no-run
	PICLOUD_SCALE_ROWS=$${PICLOUD_SCALE_ROWS:-1000000} .ci/with-postgres \
		cargo test --locked --package picloud --test plans -- --nocapture --test-threads=1

.PHONY: differential
differential: ## Compare 100,000 random programs with native Rhai; PICLOUD_DIFFERENTIAL_SEED=N is the first
	PICLOUD_DIFFERENTIAL_PROGRAMS=$${PICLOUD_DIFFERENTIAL_PROGRAMS:-100000} \
		cargo test --locked --workspace --test programs -- --nocapture

.PHONY: check
check: check-dashboard ## The quick part: format, lints, unit tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked --lib

.PHONY: guest
guest: ## Build guest/picloud_guest.wasm from its sources
	@.ci/install test
	cargo build --locked --package picloud-packer
	target/debug/picloud-packer

.PHONY: bench
bench: ## Measure, and write docs/benchmarks.md
	@.ci/install bench
	@.ci/dashboard
	cargo build --release --locked --package picloud
	PICLOUD_TEST_POSTGRES_FSYNC=on .ci/with-postgres cargo bench --locked --package picloud-benches
	cargo run --release --locked --package picloud-benches --bin picloud-bench-report

.PHONY: bench-fuel
bench-fuel: ## Measure the CPU per unit of fuel of each function; fails above three times a plain loop
	@.ci/install bench
	@.ci/dashboard
	cargo run --release --locked --package picloud-benches --bin picloud-bench-fuel

.PHONY: check-arm
check-arm: ## Check that the server compiles for 64-bit ARM
	@.ci/install arm
	@.ci/dashboard
	$(ARM) cargo check --locked --package picloud --target $(ARM_TARGET)

.PHONY: release
release: ## Build the server for x86-64 and for 64-bit ARM: dist/picloud-x86_64, dist/picloud-aarch64
	@.ci/install arm
	@.ci/dashboard
	cargo build --release --locked --package picloud
	$(ARM) cargo build --release --locked --package picloud --target $(ARM_TARGET)
	install -D target/release/picloud dist/picloud-x86_64
	install -D target/$(ARM_TARGET)/release/picloud dist/picloud-aarch64
	cd dist && sha256sum picloud-x86_64 picloud-aarch64 > SHA256SUMS

.PHONY: audit
audit: ## Check dependencies: licences, sources, advisories, unused ones; reports skipped checks
	@.ci/audit
