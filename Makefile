# Each target does its own set-up: a fresh clone needs Rust, Python >= 3.11 and a C compiler, and for the console and tests Node >= 20.19.
# `make run` and `make test` build with the profile "fast"; `make build` and `make bench` with "release".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Older ones, such as a Python of its own brings, do not know dependency groups.
PIP := pip==26.3
# Processes that share the Python tests, which wait more than they compute: on two cores four of them take little more than half of the time of two.
JOBS ?= 4
CARGO_TARGET := $(or $(CARGO_TARGET_DIR),target)

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust benches/rig -name '*.rs' -o -name Cargo.toml | grep -v -e /target/ -e ^rust/fuzz/)
# Taken away before it is built anew: a running gateway has the old file mapped, and writing into that would end it.
NATIVE := python/fairlead/_native*.so
CONSOLE := python/fairlead/console/dist/index.html
CONSOLE_SOURCES := $(addprefix python/console/,package.json package-lock.json index.html tsconfig.json vite.config.ts) \
	$(shell find python/console/src -type f ! -name '*.test.*')
RIG := $(CARGO_TARGET)/release/fairlead-rig
ICOUNT := $(CARGO_TARGET)/release/fairlead-icount

.PHONY: help run test test-rust test-python test-console proof build console bench bench-peers bench-library icount lint check-aarch64 fmt wheel lock clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(VENV)/built console-if-node ## build what is missing and start the gateway
	$(BIN)/fairlead serve $(ARGS)

test: test-rust test-console test-python ## every test, the long ones sampled with a printed seed

test-rust:
	cargo test --workspace --locked

# Files are shared between processes, in the order of their names: the longest, those with a browser, would come last where most tests come first.
# Tests that watch the clock come after them, one at a time. Status 5: none of a kind was asked for.
PYTEST = $(BIN)/python -m pytest
test-python: $(VENV)/built $(VENV)/node $(CONSOLE) $(VENV)/browser
	$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not alone" $(ARGS) || [ $$? -eq 5 ]
	$(PYTEST) -m alone $(ARGS) || [ $$? -eq 5 ]

test-console: $(VENV)/console ## the console's own tests: formats, the URL, events, what forms send
	npm run --silent --prefix python/console test

proof: $(VENV)/built $(VENV)/node $(CONSOLE) $(VENV)/browser ## the same tests at full counts
	FAIRLEAD_PROOF=1 PROPTEST_CASES=20000 cargo test --workspace --locked --profile fast
	FAIRLEAD_PROOF=1 $(PYTEST) $(ARGS)

build: $(VENV)/release $(CONSOLE) ## release build into .venv, with the console

console: $(CONSOLE) ## build the web console

bench: $(VENV)/release $(RIG) $(ICOUNT) ## measure against direct calls, the floor and installed peers
	$(BIN)/python benches/icount/icount.py --if-there
	$(BIN)/python benches/applier.py
	$(BIN)/python benches/overhead.py $(ARGS)

bench-peers: $(VENV)/tools ## install the peers that the registries offer
	$(BIN)/python benches/overhead.py --install-peers $(ARGS)

bench-library: $(VENV)/release $(ICOUNT) ## measure what can be imported: instructions, then translation, events, tokens and calls beside others
	status=0; for bench in "icount/icount.py --time" "micro/translate.py --install" micro/sse.py micro/tokens.py micro/router.py; do \
		printf '\n=== %s\n' "$$bench"; $(BIN)/python benches/$$bench || status=1; done; exit $$status

icount: $(VENV)/tools $(ICOUNT) ## count the instructions of translating (with valgrind)
	$(BIN)/python benches/icount/icount.py $(ARGS)

lint: $(VENV)/tools $(VENV)/console ## checks
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff format --check python tests benches examples tools
	$(BIN)/ruff check python tests benches examples tools
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/mypy -p tools.catalogue
	npm run --silent --prefix python/console check

# Types, not code: nothing is linked, so ring's C and assembly need not come out, and `true` stands in where there is no cross compiler.
AARCH64 := aarch64-unknown-linux-gnu
AARCH64_TOOL = $(or $(shell command -v aarch64-linux-gnu-$(1)),true)
check-aarch64: ## type-check everything for aarch64
	rustc --target $(AARCH64) --print target-libdir | xargs test -d || rustup target add $(AARCH64)
	CC_aarch64_unknown_linux_gnu=$(call AARCH64_TOOL,gcc) AR_aarch64_unknown_linux_gnu=$(call AARCH64_TOOL,ar) PYO3_NO_PYTHON=1 \
		cargo check --workspace --all-targets --locked --target $(AARCH64)

fmt: $(VENV)/tools ## formatters
	cargo fmt --all
	$(BIN)/ruff format python tests benches examples tools
	$(BIN)/ruff check --fix-only python tests benches examples tools

wheel: $(VENV)/tools $(CONSOLE) ## a wheel in dist/
	$(BIN)/maturin build --release --locked --out dist

lock: ## write requirements.lock anew from pyproject.toml
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install -q $(PIP)
	$(VENV)/lock/bin/pip install -q --group dev 'maturin>=1.16,<2' $$($(PYTHON) -c "import tomllib; print(' '.join(repr(d) for d in tomllib.load(open('pyproject.toml','rb'))['project']['dependencies']))" | tr -d "'")
	$(VENV)/lock/bin/pip freeze > requirements.lock

clean: ## remove what was built
	rm -rf $(VENV) target dist tests/node/node_modules python/console/node_modules python/fairlead/console/dist

# The tools and the locked Python packages.
$(VENV)/tools: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(PIP)
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.lock
	touch $@

# The clients on Node that tests drive. None of them needs what its packages would run while they are installed.
$(VENV)/node: tests/node/package.json tests/node/package-lock.json | $(VENV)/tools
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null || \
		{ echo 'Node 20 or newer, with npm, is needed for the tests of clients on Node' >&2; exit 1; }
	npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --loglevel error
	touch $@

# The console's packages run nothing while they are installed either.
$(VENV)/console: python/console/package.json python/console/package-lock.json | $(VENV)/tools
	@$(BIN)/python -c 'import sys; sys.path.insert(0, "python/console"); import build_backend; sys.exit(build_backend.what_is_lacking())'
	npm ci --prefix python/console --ignore-scripts --no-audit --no-fund --loglevel error
	touch $@

$(CONSOLE): $(CONSOLE_SOURCES) | $(VENV)/console
	npm run --silent --prefix python/console build
	touch $@

# The gateway starts without the console, too; / says then how to get it.
.PHONY: console-if-node
console-if-node:
	@if node -e '' 2>/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory $(CONSOLE); \
		else echo 'the web console is not built: that needs Node 20.19 or newer with npm' >&2; fi

# Chromium for the console's tests: the system's where there is one, else Playwright's own.
$(VENV)/browser: $(VENV)/tools
	@test -n "$$FAIRLEAD_CHROMIUM" || command -v chromium || command -v chromium-browser || command -v google-chrome || \
		$(BIN)/playwright install chromium-headless-shell || \
		{ echo 'Chromium is needed for the tests of the console: apt-get install chromium' >&2; exit 1; }
	touch $@

$(VENV)/built: $(VENV)/tools $(RUST_SOURCES)
	rm -f $(NATIVE)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --locked --profile fast -q
	touch $@

$(VENV)/release: $(VENV)/tools $(RUST_SOURCES)
	rm -f $(NATIVE)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --locked --release -q
	touch $@ $(VENV)/built

$(RIG): $(RUST_SOURCES)
	cargo build --release --locked -p fairlead-rig

$(ICOUNT): $(RUST_SOURCES) $(shell find benches/icount -name '*.rs' -o -name Cargo.toml)
	cargo build --release --locked -p fairlead-icount
