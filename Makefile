# The project's commands. From a fresh clone `make demo` shows the gateway at work; it needs
# nothing but Python and its venv module. `make peers`, as root, installs the real servers and
# clients that the integration tests talk to; without them those tests are skipped, and say so.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A flat layout is found by twistd only when the editable install is a path entry.
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check \
	--config-settings editable_mode=compat
PRIME := $(BIN)/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"
METADATA := setup.cfg pyproject.toml

# The tests start hundreds of gateways: none of them compiles what another one has.
unexport PYTHONDONTWRITEBYTECODE

TRIAL := -m twisted.trial
UNIT_TESTS = $(shell find tests -name 'test_*.py' -not -path 'tests/integration/*')
TESTS ?= tests
PEERS := postfix swaks libnet-ssleay-perl openssl dovecot-core \
	chromium curl msmtp nmap postgresql dnsmasq-base mutt mailutils fail2ban pflogsumm prometheus \
	systemd logrotate man-db mandoc zsh fish haproxy jq
# Where PostgreSQL's packages read whether to make and start a server of their own.
CLUSTERS := /etc/postgresql-common/createcluster.d
MACHINES := tests.test_fuzz_edge tests.test_fuzz_forwarding tests.test_fuzz_corpus \
	tests.test_client_pool tests.test_client_exchange
SEED ?=
# A seeded run needs addresses that are not random, where the system lets us have them.
FIXED = $(if $(SEED),$(shell setarch -R true 2>/dev/null && echo setarch -R))
# Where tests/peers/require.py looks for what is unpacked.
UNPACKED := /usr/local/lib/smtpforward-peers
EXIM := exim4-daemon-heavy
EXIM_USER := Debian-exim

.PHONY: demo test load fault-matrix kill nodes-kill queue-kill queue-shared attack recent pictures \
	check guards fuzz \
	hotpath bench bench-full bench-scaling bench-queue bench-queue-full docs man peers bench-peers \
	clean

demo: $(VENV)/.installed
	$(BIN)/smtpforward demo $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) $(TESTS)

load: export SMTPFORWARD_FULL = 1
load: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_smtp_source tests.integration.test_reload

# Each fault of a backend, and what a sender hears of it: writes docs/fault-matrix.md.
fault-matrix: export SMTPFORWARD_WRITE = 1
fault-matrix: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_fault_matrix

# The gateway is killed fifty times under load: what had a 250 is at the backend.
kill: export SMTPFORWARD_FULL = 1
kill: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_kill

# One worker of four is killed every second during 20000 messages: what had a 250 is at the backend,
# and no connection is refused. About two minutes.
nodes-kill: export SMTPFORWARD_FULL = 1
nodes-kill: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_workers.DeathTests.test_killed_all_the_time

# A gateway that queues is killed a hundred times on each kind of store: what had a 250 is delivered
# or has bounced, and what comes twice was in flight. About ten minutes.
queue-kill: export SMTPFORWARD_FULL = 1
queue-kill: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_queue_kill

# Three gateways share a queue in PostgreSQL, 10000 messages; one is killed, and the database is.
queue-shared: export SMTPFORWARD_FULL = 1
queue-shared: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_queue_shared

attack: export SMTPFORWARD_FULL = 1
attack: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_smuggling tests.integration.test_floods \
		tests.integration.test_idlers tests.integration.test_open_relay

# The pictures of docs/status-page.md, of a real gateway under load: writes docs/status-page*.png. Three
# minutes.
pictures: export SMTPFORWARD_WRITE = 1
pictures: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.integration.test_page_load

# A million transactions and some worse ones through what is kept of late: it stays within its bounds.
# About two minutes.
recent: export SMTPFORWARD_FULL = 1
recent: $(VENV)/.installed-test
	$(BIN)/python $(TRIAL) tests.test_web_recent

# Takes the guard behind each known trap out of a copy of the tree: its test must fail there.
guards: $(VENV)/.installed-test
	$(BIN)/python -m tests.guards

# About two minutes of what no test foresees: the state machines with more examples, then a fuzzer
# that is guided by coverage. `make fuzz SEED=1` does the same each time. What fails is shown with
# its steps, or its input is kept in build/fuzz; it becomes a test with a name, or a seed of the
# corpus. Crashes of the second part stop it; without a wheel of atheris it says so and stops.
fuzz: export SMTPFORWARD_FUZZ = 4
fuzz: export SMTPFORWARD_FUZZ_SEED = $(SEED)
fuzz: export PYTHONHASHSEED = 0
fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python $(TRIAL) $(MACHINES)
	$(FIXED) $(BIN)/python -m tests.fuzz edge 30 $(SEED)
	$(FIXED) $(BIN)/python -m tests.fuzz replies 15 $(SEED)
	$(FIXED) $(BIN)/python -m tests.fuzz settings 20 $(SEED)

# What a mail costs on its way, counted. `make check` fails where it is more than the ceilings;
# `make hotpath ARGS=--write` makes the figures of now the ceilings.
hotpath: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.hotpath $(ARGS)

# Forwarding beside other servers (make bench-peers): prints a report with the command, the versions
# and the machine, and writes it to build/. Five minutes; the full form half an hour or more.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.forward $(ARGS)

bench-full: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.forward --full --name forward-full $(ARGS)

# How the price of a mail grows with the pool, the domains, the recipients, the idle connections.
bench-scaling: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.scaling $(ARGS)

# The outbound queue beside Postfix: prints a report, and writes it to build/queue.md and .json.
# Some minutes; the full form, with a queue of 100000 messages, half an hour.
bench-queue: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.queue $(ARGS)

bench-queue-full: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.queue --full --name queue-full $(ARGS)

# The manual pages, from the parsers and docs/: build/man/. They are made with a package, not kept.
man: $(VENV)/.installed
	$(BIN)/python -m contrib.manpages build/man

# The site of docs/, in build/site; a warning is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/site

# The layers test is one of the unit tests.
check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy -p tests.peers -p tests.integration -p tests.fuzz -p benchmarks
	$(BIN)/python -m benchmarks.hotpath --check
	$(BIN)/mypy contrib/manpages.py
	$(BIN)/coverage erase
	$(BIN)/coverage run --branch --source=smtpforward $(TRIAL) $(UNIT_TESTS)
	$(BIN)/coverage report --skip-covered --show-missing

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(METADATA) | $(BIN)/python
	$(INSTALL) -e .
	$(PRIME)
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) -e '.[test]'
	touch $@

# No wheel is no error here: the state machines need none.
$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	$(INSTALL) --only-binary atheris -e '.[fuzz]' && touch $@ || true

$(VENV)/.installed-bench: $(VENV)/.installed-test
	$(INSTALL) -e '.[bench]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) -e '.[docs]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(INSTALL) -e '.[dev]'
	touch $@

# Debian's packages, not configured. Those of Dovecot, fail2ban and Prometheus may start services of
# their own, which no test needs; where PostgreSQL is new, it makes no server of its own. Without what they
# recommend none brings an Exim.
peers:
	@if [ "$$(id -u)" != 0 ]; then echo 'make peers needs root' >&2; exit 77; fi
	@if dpkg -s $(PEERS) >/dev/null 2>&1; then echo 'installed: $(PEERS)'; else set -e; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -q; \
		apt-get install -q -y --no-install-recommends debconf; \
		echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections; \
		dpkg -s postgresql-common >/dev/null 2>&1 || { mkdir -p $(CLUSTERS); \
			echo 'create_main_cluster = false' >$(CLUSTERS)/smtpforward-peers.conf; }; \
		apt-get install -q -y --no-install-recommends $(PEERS); fi
# Exim's package conflicts with Postfix's: it is unpacked; its libraries are installed, its user made.
	@if $(UNPACKED)/exim4/usr/sbin/exim4 -C /dev/null -bV >/dev/null 2>&1; then \
		echo 'unpacked: $(EXIM)'; else set -e; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -q; \
		apt-get install -q -y --no-install-recommends --no-upgrade \
			$$(apt-cache depends $(EXIM) | awk '$$1 == "Depends:" && $$2 ~ /^lib/ { print $$2 }'); \
		getent passwd $(EXIM_USER) >/dev/null || useradd --system --user-group --badname \
			--no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin $(EXIM_USER); \
		fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; cd "$$fresh"; \
		apt-get download -q -o APT::Sandbox::User=root $(EXIM); \
		dpkg -x $(EXIM)_*.deb exim4; \
		chmod 755 exim4; mkdir -p $(UNPACKED); rm -rf $(UNPACKED)/exim4; mv exim4 $(UNPACKED)/; \
		$(UNPACKED)/exim4/usr/sbin/exim4 -C /dev/null -bV; fi

# What forwarding is measured beside, and strace: Debian's packages, and Haraka from npm. Without
# them the measurement leaves these out.
bench-peers: peers
	@if [ "$$(id -u)" != 0 ]; then echo 'make bench-peers needs root' >&2; exit 77; fi
	@command -v npm >/dev/null || NODE='nodejs npm'; \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
		strace $$NODE
	mkdir -p $(UNPACKED)/haraka
	cd $(UNPACKED)/haraka && npm install Haraka --omit=optional --before=2026-09-16 \
		--no-audit --no-fund

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .coverage .coverage.* .mypy_cache \
		.ruff_cache .hypothesis twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
