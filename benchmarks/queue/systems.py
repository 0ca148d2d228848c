"""What is compared: the gateway with each of its stores, and Postfix.

All of them take mail on loopback, keep it on one disk with a sync before each 250, and deliver to a
sink. Each can keep what it takes, and let it go at a word, so that what is measured holds no start:
the gateway does so by ``disabled``, and reads its settings again; Postfix by its hold queue.
"""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import Stopwatch
from tests.peers.gateway import Gateway
from tests.peers.ports import free_port
from tests.peers.postfix import Postfix
from tests.peers.process import Process
from tests.peers.require import find
from tests.peers.sink import SmtpSink
from tests.peers.wait import until

# To one destination at once: Postfix's own number for both.
AT_ONCE = 20
READ_AGAIN = "the settings were read again"


class System(Protocol):
    """One of those that are compared.

    :ivar sink: where it delivers. ``pids``: of its process trees.
    """

    name: str
    sink: SmtpSink

    @property
    def pids(self) -> Sequence[int]: ...

    async def hold(self) -> int:
        """Deliver nothing; the port where mail is taken from now on."""

    async def release(self) -> Stopwatch:
        """Deliver what there is; a watch that runs from that word."""

    async def pass_on(self) -> int:
        """Deliver what comes, as it comes; the port where mail is taken."""


class GatewayQueue:
    """The gateway with one store.

    :param server: the database server, where the store is in one: its CPU counts.
    """

    def __init__(
        self, name: str, gateway: Gateway, sink: SmtpSink, server: Process | None = None
    ) -> None:
        self.name = name
        self.sink = sink
        self.gateway = gateway
        self._server = server

    @property
    def pids(self) -> Sequence[int]:
        return [self.gateway.pid, *([self._server.pid] if self._server else [])]

    async def hold(self) -> int:
        await self._set(disabled=True)
        return self.gateway.port

    async def pass_on(self) -> int:
        await self._set(disabled=False)
        return self.gateway.port

    async def release(self) -> Stopwatch:
        watch = Stopwatch(self.pids)
        await self._set(disabled=False)
        return watch

    async def _set(self, disabled: bool) -> None:
        """Have the settings of the queue read again."""
        path = self.gateway.folder / "config" / "outbound.ini"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("disabled=")]
        path.write_text("\n".join([*lines, f"disabled={str(disabled).lower()}", ""]))
        log = self.gateway.folder / "gateway.stdout"
        seen = log.stat().st_size
        self.gateway.signal(signal.SIGHUP)

        def is_read() -> bool:
            with log.open("rb") as file:
                file.seek(seen)
                return READ_AGAIN in file.read().decode("utf-8", "backslashreplace")

        await until(is_read, lambda: f"{READ_AGAIN}: {self.gateway.output()[-4000:]}")


async def gateway_queue(
    bench: Bench,
    name: str,
    store: str,
    sink: SmtpSink,
    keys: Mapping[str, object],
    server: Process | None = None,
) -> GatewayQueue:
    """A gateway that queues all mail, and delivers nothing before it is released.

    :param store: its address.
    :param keys: of ``outbound.ini``: where the mail goes.
    """
    values = {
        "store": store,
        "enable_tls": "false",
        "pool_concurrency_max": AT_ONCE,
        "disabled": "true",
        **keys,
    }
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    files = {"outbound.ini": text}
    folder = bench.folder()
    gateway = Gateway.forwarding_to(folder, sink.port, files, enable_outbound="false")
    return GatewayQueue(name, await bench.keep(gateway).ready(), sink, server)


SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
  -o {{ smtpd_client_restrictions = check_client_access static:HOLD }}
pickup unix n - n 60 1 pickup
scache unix - - n - 1 scache
"""


class PostfixQueue:
    """Postfix, with a second port whose mail is held."""

    def __init__(self, postfix: Postfix, sink: SmtpSink, holding: int) -> None:
        self.name = "Postfix"
        self.sink = sink
        self.postfix = postfix
        self._holding = holding

    @property
    def pids(self) -> Sequence[int]:
        return [self.postfix.pid]

    async def hold(self) -> int:
        return self._holding

    async def pass_on(self) -> int:
        return self.postfix.port

    async def release(self) -> Stopwatch:
        # To take them out of its hold queue is work that no other one has.
        self._tell("postsuper", "-H", "ALL")
        watch = Stopwatch(self.pids)
        self._tell("postqueue", "-f")
        return watch

    def _tell(self, program: str, *options: str) -> None:
        config = str(self.postfix.folder / "etc")
        path = find(program)
        assert path is not None, "it comes with Postfix"
        done = subprocess.run(
            [path, "-c", config, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"


async def postfix_queue(bench: Bench) -> PostfixQueue:
    """A Postfix that takes all mail for a relay host, which is a sink."""
    sink = await bench.keep(SmtpSink(bench.folder())).ready()
    holding = free_port()
    settings = {
        "relayhost": f"[127.0.0.1]:{sink.port}",
        "default_transport": "smtp",
        "smtp_tls_security_level": "none",
        "virtual_mailbox_domains": "",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "default_process_limit": "100",
        "default_destination_concurrency_limit": str(AT_ONCE),
        # Nothing is to begin by itself.
        "queue_run_delay": "1h",
    }
    services = SERVICES.format(port=holding)
    postfix = bench.keep(Postfix(bench.folder(), settings=settings, services=services))
    await postfix.ready()
    await postfix.until_listening(holding)
    return PostfixQueue(postfix, sink, holding)
