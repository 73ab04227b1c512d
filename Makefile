# What a newcomer needs: `make run` does the program's main job here and now, `make test` proves that it works.

CARGO ?= cargo

.PHONY: run test tools check lab

# One tick over the shipped inventory: this machine. State goes below target/, so that trying it leaves no trace.
run:
	@$(CARGO) build --quiet --locked
	@target/debug/factory run --inventory inventory --state target/state

# Installs what tests need (as root), then runs every test, tests/lab too. Many wait, for cron say: so some at a time.
test: tools
	RUST_TEST_THREADS=$(or $(RUST_TEST_THREADS),4) $(CARGO) test --locked

tools:
	@sh tests/install-tools.sh

# Real hosts to play with, and a shell beside them (root): `make lab`, or `make lab HOSTS=5`.
lab:
	@sh tests/lab.sh $(or $(HOSTS),3)

# What .ci/run checks beside the tests.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
