"""The systems, each with settings of its own: as it comes, but for what is said here."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.forward import haraka
from benchmarks.forward.systems import TLS, Candidate, Kind, Setup
from tests.peers.gateway import Files, Gateway, environment
from tests.peers.ports import free_port
from tests.peers.postfix import Postfix
from tests.peers.process import Process
from tests.peers.require import find

STRAIGHT, HAPROXY, HARAKA, OURS = "straight", "HAProxy", "Haraka", "smtpforward"
NO_TLS_LOAD = "smtp-source has no TLS"
TRANSPARENT = {"tls-in": "STARTTLS goes through it", "tls-out": NO_TLS_LOAD}
MANY = "8192"
HAPROXY_CONFIG = """\
global
    nbthread 1
    maxconn 8192
defaults
    mode tcp
    timeout connect 10s
    timeout client 300s
    timeout server 300s
frontend in
    bind 127.0.0.1:{port}
    backlog 4096
    default_backend out
backend out
    server sink 127.0.0.1:{sink}
"""


class Listening(Process):
    """A program that listens on ``port``."""

    port: int


def haproxy(setup: Setup) -> Process:
    """A TCP proxy, one thread: it knows nothing of SMTP."""
    port = free_port()
    config = setup.folder / "haproxy.cfg"
    config.write_text(HAPROXY_CONFIG.format(port=port, sink=setup.sink.port))
    process = Listening([find("haproxy") or "", "-db", "-f", str(config)], setup.folder)
    process.port = port
    return process


def aiosmtpd(setup: Setup) -> Process:
    """The relay of :mod:`benchmarks.forward.aiorelay`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.forward.aiorelay"]
    options = ["--port", str(port), "--backend", str(setup.sink.port)]
    if setup.tls is TLS.SENDERS:
        options += ["--certificate", str(setup.certificate)]
    if setup.tls is TLS.BACKEND:
        options += ["--starttls"]
    process = Listening([*command, *options], setup.folder, environment())
    process.port = port
    return process


def _postfix(setup: Setup, **settings: str) -> Process:
    common = {
        "virtual_mailbox_domains": "",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "default_transport": "smtp",
        "default_process_limit": "100",
        "message_size_limit": "52428800",
        "smtp_tls_security_level": "may" if setup.tls is TLS.BACKEND else "none",
    }
    if setup.tls is TLS.SENDERS:
        common |= {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_chain_files": str(setup.certificate),
        }
    services = "scache unix - - n - 1 scache\ntlsproxy unix - - n - 0 tlsproxy\n"
    return Postfix(setup.folder, settings=common | settings, services=services)


def postfix_relay(setup: Setup) -> Process:
    """It queues, and delivers over cached connections."""
    return _postfix(
        setup,
        relayhost=f"[127.0.0.1]:{setup.sink.port}",
        smtp_connection_cache_on_demand="yes",
        smtp_tls_connection_reuse="yes" if setup.tls is TLS.BACKEND else "no",
        default_destination_concurrency_limit="50",
    )


def postfix_proxy(setup: Setup) -> Process:
    """It hands over before it answers; a connection to the backend for each session or message."""
    return _postfix(
        setup,
        smtpd_proxy_filter=f"127.0.0.1:{setup.sink.port}",
        smtpd_proxy_options="speed_adjust",
    )


def gateway_with(setup: Setup, nodes: int, files: Mapping[str, str]) -> Gateway:
    """All checks on: mail from strangers for a domain of ours.

    :param files: more, or others in place of its own.
    """
    port = free_port()
    directory: Files = {
        "me": "gateway.example.com\n",
        "smtp.ini": f"listen=127.0.0.1:{port}\nnodes={nodes}\n",
        "host_list": "example.com\n",
        "smtp_forward.ini": f"host=127.0.0.1\nport={setup.sink.port}\n"
        f"enable_tls={str(setup.tls is TLS.BACKEND).lower()}\n",
    }
    if setup.tls is TLS.SENDERS:
        pem = setup.certificate
        directory["tls.ini"] = f"key={pem}\ncert={pem}\n"
    return Gateway(setup.folder, {**directory, **files}, port)


def gateway(setup: Setup) -> Gateway:
    """One process."""
    return gateway_with(setup, 0, {})


def gateway_nodes(setup: Setup) -> Gateway:
    """A parent and two workers."""
    return gateway_with(setup, 2, {})


def _program(*names: str) -> str:
    return ", ".join(name for name in names if find(name) is None)


def _as_root() -> str:
    return _program("postfix") or ("" if os.geteuid() == 0 else "root's rights")


def _aio() -> str:
    wanted = ("aiosmtpd", "aiosmtplib")
    return ", ".join(name for name in wanted if importlib.util.find_spec(name) is None)


PROCESSES = {"idle": "a process for each connection, and 100 at most"}
CANDIDATES = (
    Candidate(STRAIGHT, Kind.BOUND, None, without={"tls-out": NO_TLS_LOAD}),
    Candidate(HAPROXY, Kind.BOUND, haproxy, lambda: _program("haproxy"), TRANSPARENT),
    Candidate(OURS, Kind.OURS, gateway),
    Candidate(f"{OURS}, 2 nodes", Kind.OURS, gateway_nodes),
    Candidate(HARAKA, Kind.PEER, haraka.one, haraka.missing),
    Candidate(f"{HARAKA}, 2 nodes", Kind.PEER, haraka.two, haraka.missing),
    Candidate("Postfix, relay", Kind.PEER, postfix_relay, _as_root, PROCESSES),
    Candidate(
        "Postfix, before-queue",
        Kind.PEER,
        postfix_proxy,
        _as_root,
        {**PROCESSES, "tls-out": "its proxy has no TLS"},
    ),
    Candidate("aiosmtpd", Kind.PEER, aiosmtpd, _aio),
)


def certificate_in(folder: Path) -> Path:
    """A key and a certificate for ``localhost`` that nobody trusts, in one file."""
    import trustme

    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    path = folder / "certificate.pem"
    path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    # Postfix reads it before it gives up its rights; the others run as who we are.
    path.chmod(0o600)
    return path
