# Every target sets up what it needs, on a fresh Debian machine that has Rust, make and root.

.DEFAULT_GOAL := help
.PHONY: help build demo demo-stop test bench soak fmt deny

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## the release binary, target/release/wharf
	@tests/support/packages cc=gcc /usr/include/stdlib.h=libc6-dev
	cargo build --release --locked

demo: ## run the sample project, from nothing to a page that answers, and leave it running
	@compose/demo/demo start

demo-stop: ## remove every trace of the demo
	@compose/demo/demo stop

test: ## everything that CI runs
	@tests/support/test

bench: ## measure deploys, the idle agent and the run queue, each beside a bound or a peer
	@tests/support/measure bench

soak: ## the long forms of the proofs: every crash point, many simulation seeds, a thousand kills
	@tests/support/measure soak

fmt: ## format the source
	cargo fmt

deny: ## licences and advisories of the dependencies (needs cargo-deny)
	cargo deny check
