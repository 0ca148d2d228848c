"""Worker processes, as ``twistd`` runs them with ``nodes``: under load, and when one dies."""

import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from time import monotonic

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.integration.test_twistd import WIRE, slow
from tests.peers.case import PeerTestCase, full_size
from tests.peers.clients import smtp_source
from tests.peers.counting import ConnectionCount
from tests.peers.gateway import Gateway, three_files
from tests.peers.ports import free_port, is_listening
from tests.peers.raw import RawClient
from tests.peers.script import TAKEN, Held, Script, by_recipient
from tests.peers.wait import until

NODES = 2
MANY = 2  # of which one is killed all the time
FILES = {"connection.ini": f"nodes={NODES}\n"}
MESSAGES = 3000 if full_size() else 300
STARTED = re.compile(r"worker (\d): process (\d+)")
UP = re.compile(r"Gateway#info,(\d)\] \S+ forwards to")
MAIL = re.compile(r"\[mail,(\d)\] id=\S+ .* status=(\w+)")
MESSAGES_IN_A_SESSION = 5
KILLED = 20_000 if full_size() else 300  # messages while one worker after the other is killed
KILL_EVERY = 1.0 if full_size() else 0.3  # seconds
NUMBERED = re.compile(rb"Subject: no (\d+)\r\n")
NO_SUCH_USER = b"550 5.1.1 no such user\r\n"


class WorkersCase(PeerTestCase):
    """A gateway of two workers."""

    timeout = 240

    async def workers(self, backend: int, **keys: object) -> Gateway:
        """It runs, and both workers take mail."""
        gateway = await self.gateway(backend, FILES, **keys)
        await gateway.until(lambda: self.started(gateway) == [1, 2], "two workers")
        return gateway

    def started(self, gateway: Gateway) -> list[int]:
        """The numbers of the workers that have begun to take mail, in order."""
        return sorted(int(number) for number in UP.findall(gateway.output()))

    def processes(self, gateway: Gateway) -> dict[int, int]:
        """The process of each worker, the latest."""
        return {int(n): int(pid) for n, pid in STARTED.findall(gateway.output())}

    def sent(self, gateway: Gateway) -> list[int]:
        """The worker of each message that a backend took, in the order of the log."""
        lines = MAIL.findall(gateway.output())
        return [int(number) for number, status in lines if status == "sent"]

    def client(self, gateway: Gateway) -> RawClient:
        """One that has said EHLO. For a thread."""
        client = RawClient(gateway.port, 30.0)
        client.hello()
        return client


class StartTests(WorkersCase):
    """How they start, or do not."""

    async def test_port_taken(self) -> None:
        """A port that another program has stops the start, before any worker is there."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            files = three_files(port, free_port()) | FILES
            gateway = Gateway(self.folder(), files, port)
            self.stop_later(gateway.stop)
            self.assertNotEqual(0, await gateway.ended())
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: ", gateway.output())
        self.assertNotIn("Traceback", gateway.output())
        self.assertEqual({}, self.processes(gateway))


class LoadTests(WorkersCase):
    """Every message arrives once, over no more connections than the backend is to have."""

    async def load(
        self, *options: str, messages: int, max_connections: int
    ) -> tuple[ConnectionCount, Gateway]:
        """Send the messages, see that all of them arrived; the connections that it took."""
        sink = await self.sink()
        relay = self.relay(sink.port)
        gateway = await self.workers(relay.port, max_connections=max_connections)
        size = ["-s", "20", "-m", str(messages), "-l", "4096"]
        done = await smtp_source(gateway.port, *size, *options, timeout=180)
        self.assertEqual(0, done.exit_code, done.output + gateway.output()[-4000:])
        await until(lambda: sink.messages >= messages, lambda: f"{messages}: {sink.stdout[-80:]}")
        self.assertEqual(messages, sink.messages)
        await until(lambda: len(self.sent(gateway)) == messages, "a line for each message")
        return relay.connections, gateway

    async def test_load(self) -> None:
        """Both workers take part; together they stay within the bound, and reuse connections."""
        connections, gateway = await self.load(messages=MESSAGES, max_connections=20)
        self.assertLessEqual(connections.most, 20)
        self.assertLess(connections.total, MESSAGES / 2)
        self.assertEqual({1, 2}, set(self.sent(gateway)))

    async def test_many_messages_in_a_session(self) -> None:
        """Clients that keep their sessions are served the same."""
        connections, _ = await self.load("-d", messages=MESSAGES, max_connections=6)
        self.assertLessEqual(connections.most, 6)

    async def test_one_connection_for_two_workers(self) -> None:
        """They take turns at the one connection, and there is never a second."""
        connections, gateway = await self.load(messages=MESSAGES // 3, max_connections=1)
        self.assertEqual(connections.most, 1)
        self.assertIn("max_connections is below nodes", gateway.output())

    async def test_ids(self) -> None:
        """No two messages have the same id, whoever took them."""
        _, gateway = await self.load(messages=MESSAGES, max_connections=20)
        ids = re.findall(r"\[mail,\d\] id=(\S+)", gateway.output())
        self.assertEqual(len(ids), len(set(ids)))


class Senders:
    """Clients that send one message after the other, each with a number of its own.

    :ivar taken: the numbers of those that got 250. ``dropped``: how many connections broke;
        ``refused``: how many were refused.
    :ivar other: what else was answered.
    """

    def __init__(self, connect: Callable[[], RawClient]) -> None:
        self.taken: set[int] = set()
        self.dropped = self.refused = 0
        self.other: list[object] = []
        self._connect = connect
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._number = 0

    def end(self) -> None:
        """Each finishes its message."""
        self._ending.set()

    def run(self) -> None:
        """One client; for a thread."""
        while not self._ending.is_set():
            try:
                with self._connect() as client:
                    for _ in range(MESSAGES_IN_A_SESSION):
                        self._send(client)
            except ConnectionRefusedError:
                with self._lock:
                    self.refused += 1
            except (OSError, EOFError):
                with self._lock:
                    self.dropped += 1

    def _send(self, client: RawClient) -> None:
        with self._lock:
            self._number += 1
            number = self._number
        answer = client.transaction([b"Subject: no %d\r\n\r\nhello\r\n.\r\n" % number])
        with self._lock:
            if answer.code == 250:
                self.taken.add(number)
            else:
                self.other.append(answer)


class DeathTests(WorkersCase):
    """A worker that is killed."""

    async def test_killed_under_load(self) -> None:
        """Its clients are dropped, the others go on, no accepted mail is lost, it is replaced."""
        backend = self.backend()
        gateway = await self.workers(backend.port, max_connections=8)
        senders = Senders(lambda: self.client(gateway))
        threads = [deferToThread(senders.run) for _ in range(6)]
        self.addCleanup(senders.end)
        await until(lambda: {1, 2} <= set(self.sent(gateway)), "mail through both")
        client, dying = await self.placed_client(gateway)
        os.kill(self.processes(gateway)[dying], signal.SIGKILL)
        word = f"worker {dying} has ended (signal SIGKILL)"
        await gateway.until(lambda: word in gateway.output(), word)
        with self.assertRaises((OSError, EOFError)):
            await deferToThread(client.ask, "NOOP")
        at_death = len(self.sent(gateway))
        await gateway.until(lambda: 3 - dying in self.sent(gateway)[at_death:], "the other goes on")
        everyone = sorted([1, 2, dying])
        await gateway.until(lambda: self.started(gateway) == everyone, "a new worker")
        at_start = len(self.sent(gateway))
        await gateway.until(lambda: dying in self.sent(gateway)[at_start:], "mail through it")
        senders.end()
        await gatherResults(threads)
        arrived = {int(n) for m in backend.messages for n in NUMBERED.findall(m.plain)}
        self.assertEqual(set(), senders.taken - arrived)
        self.assertGreater(len(senders.taken), 0)
        self.assertEqual([], senders.other)
        self.assertLessEqual(backend.connections.most, 8)

    async def test_killed_all_the_time(self) -> None:
        """One after the other is killed: no 250 without its mail, and no connection is refused."""
        backend = self.backend()
        files = {"connection.ini": f"nodes={MANY}\n"}
        gateway = await self.gateway(backend.port, files, max_connections=8)
        await gateway.until(lambda: len(self.started(gateway)) == MANY, "all workers")
        senders = Senders(lambda: self.client(gateway))
        began = monotonic()
        threads = [deferToThread(senders.run) for _ in range(6)]
        self.addCleanup(senders.end)
        kills = 0
        while len(senders.taken) < KILLED or kills < 3:
            await deferLater(reactor, KILL_EVERY)
            kills += self.kill_one(gateway, kills)
            self.assertLess(monotonic() - began, self.timeout, f"{len(senders.taken)} messages")
        senders.end()
        await gatherResults(threads)
        arrived = [int(n) for m in backend.messages for n in NUMBERED.findall(m.plain)]
        print(
            f"{len(senders.taken)} with a 250, {len(arrived)} at the backend, {kills} workers"
            f" killed, {senders.dropped} connections broken, {senders.refused} refused,"
            f" {monotonic() - began:.0f} s"
        )
        self.assertEqual(set(), senders.taken - set(arrived))
        self.assertEqual(len(set(arrived)), len(arrived))
        self.assertEqual((0, []), (senders.refused, senders.other))
        self.assertGreater(senders.dropped, 0)

    def kill_one(self, gateway: Gateway, turn: int) -> int:
        """Kill a worker that lives, in turn; how many there were to kill."""
        found = sorted(self.processes(gateway).items())
        for number in range(len(found)):
            process = found[(turn + number) % len(found)][1]
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                return 1
        return 0

    async def placed_client(self, gateway: Gateway) -> tuple[RawClient, int]:
        """A client between two messages, and the worker that it talks to."""
        client = await deferToThread(self.client, gateway)
        self.addCleanup(client.close)
        answer = await deferToThread(client.transaction, [WIRE], "placed@example.com")
        self.assertEqual(250, answer.code)
        line = re.compile(r"\[mail,(\d)\] .* to=<placed@example.com>")
        await gateway.until(lambda: line.search(gateway.output()), "its line in the log")
        return client, int(line.findall(gateway.output())[0])

    def one_message(self, gateway: Gateway) -> None:
        with self.client(gateway) as client:
            client.transaction([WIRE])

    async def test_drained(self) -> None:
        """A worker that gets TERM ends in order and is replaced; the sockets stay everyone's."""
        gateway = await self.workers(self.backend().port)
        os.kill(self.processes(gateway)[2], signal.SIGTERM)
        await gateway.until(lambda: "worker 2 has ended (exit code 0)" in gateway.output(), "it")
        self.assertTrue(is_listening(gateway.port))
        await gateway.until(lambda: self.started(gateway) == [1, 2, 2], "a new worker")
        await deferToThread(self.one_message, gateway)
        await until(lambda: self.sent(gateway), "a message")

    async def test_parent_killed(self) -> None:
        """The workers accept nothing more, finish what they have, and end."""
        hold = Held(TAKEN)
        backend = self.backend(Script(replies={".": slow(hold), "BDAT": slow(hold)}))
        gateway = await self.workers(backend.port)
        client = await deferToThread(self.client, gateway)
        self.addCleanup(client.close)
        in_flight = deferToThread(client.transaction, [WIRE], "slow@example.com")
        await until(lambda: hold.waiting, gateway.output)
        processes = self.processes(gateway)
        gateway.signal(signal.SIGKILL)
        await gateway.ended()
        await until(lambda: not is_listening(gateway.port), "nobody listens")
        hold.release()
        self.assertEqual(250, (await in_flight).code)
        await until(lambda: not any(map(_lives, processes.values())), "the end of both workers")
        self.assertEqual("QUIT", backend.conversations[0].verbs[-1])

    async def test_unix_socket(self) -> None:
        """A path that is listened on outlives its workers, and is removed by the parent."""
        folder, port = self.folder(), free_port()
        path = folder / "smtp.sock"
        files = three_files(port, self.backend().port)
        files["smtp.ini"] = f"listen=127.0.0.1:{port},unix:{path}:mode=600\nnodes=2\n"
        gateway = Gateway(folder, files, port)
        self.stop_later(gateway.stop)
        await gateway.ready()
        await gateway.until(lambda: self.started(gateway) == [1, 2], "two workers")
        os.kill(self.processes(gateway)[1], signal.SIGTERM)
        await gateway.until(lambda: self.started(gateway) == [1, 1, 2], "a new worker")
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        done = await deferToThread(_greeting, str(path))
        self.assertTrue(done.startswith(b"220 "), done)
        await gateway.terminate()
        self.assertFalse(path.exists())
        self.assertNotIn("Traceback", gateway.output())


class FactsTests(WorkersCase):
    """What one worker finds out."""

    async def test_learned_refusal(self) -> None:
        """A recipient that the backend refused through one worker is refused at RCPT by both."""
        backend = self.backend(Script(replies={"RCPT": by_recipient(bad=NO_SUCH_USER)}))
        gateway = await self.workers(backend.port)
        with await deferToThread(self.client, gateway) as client:
            both = ("bad@example.com", "good@example.com")
            answer = await deferToThread(client.transaction, [WIRE], *both)
            self.assertEqual(451, answer.code, answer)
        taken: set[int] = set()
        asked = 0
        while len(taken) < NODES:
            with await deferToThread(self.client, gateway) as client:
                await until_refused(client)
                answer = await deferToThread(client.transaction, [WIRE], "good@example.com")
                self.assertEqual(250, answer.code, answer)
            asked += 1
            await until(lambda: len(self.sent(gateway)) == asked, "its line in the log")  # noqa: B023
            taken.update(self.sent(gateway))
            self.assertLess(asked, 200)
        told = [c for talk in backend.conversations for c in talk.commands if b"<bad@" in c]
        self.assertEqual(1, len(told))


async def until_refused(client: RawClient) -> None:
    """Ask for bad@example.com until it gets the backend's own reply: word may be on its way."""
    for _ in range(1000):
        await deferToThread(client.ask, "MAIL FROM:<sender@example.org>")
        answer = await deferToThread(client.ask, "RCPT TO:<bad@example.com>")
        await deferToThread(client.ask, "RSET")
        if answer.code == 550:
            assert answer.text == "5.1.1 no such user", answer
            return
    raise AssertionError("never refused")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _greeting(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(path)
        return connection.recv(1000)
