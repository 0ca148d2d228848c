"""Two backends of one route, of which one goes away and comes back under load."""

from collections import Counter

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.integration.forwarding import ForwardingCase
from tests.peers.backend import ScriptedBackend
from tests.peers.raw import RawClient
from tests.peers.wait import until

CLIENTS = 8
REST = 1


def subject(wire: bytes) -> str:
    """The subject of a message that begins with it."""
    line = next(line for line in wire.split(b"\r\n") if line.startswith(b"Subject: "))
    return line.removeprefix(b"Subject: ").decode()


class HostsTests(ForwardingCase):
    """``forwarding_host_pool``."""

    def setUp(self) -> None:
        super().setUp()
        self.codes: dict[str, int] = {}
        self.stop = False

    def load(self, port: int, name: str) -> None:
        """One message after the other until it is enough; runs in a thread."""
        with RawClient(port) as client:
            client.hello()
            number = 0
            while not self.stop:
                number += 1
                key = f"{name}-{number}"
                wire = b"Subject: %b\r\n\r\nline\r\n.\r\n" % key.encode()
                self.codes[key] = client.transaction([wire]).code

    async def test_killed_and_revived(self) -> None:
        """Both have a share, also when one is back; each message is accepted once or gets 4xx."""
        first, second = ScriptedBackend(), self.backend()
        backends = [first, second]
        pool = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        forward = (
            f"forwarding_host_pool={pool}\nenable_tls=false\n"
            f"dead_forwarding_host_retry_secs={REST}\n"
        )
        gateway = self.forward(0, {"smtp_forward.ini": forward})
        port = gateway.ports()[0].getHost().port
        running = gatherResults(
            [deferToThread(self.load, port, f"c{number}") for number in range(CLIENTS)]
        )
        await first.until_taken(50)
        await second.until_taken(50)
        await first.stop()
        await second.until_taken(len(second.messages) + 50)
        revived = ScriptedBackend(port=first.port)
        self.stop_later(revived.stop)
        backends.append(revived)
        await revived.until_taken(50)
        self.stop = True
        await running
        kept = Counter(subject(m.wire) for backend in backends for m in backend.messages)
        for key, code in self.codes.items():
            if code == 250:
                self.assertEqual(1, kept[key], key)
            else:
                self.assertEqual(451, code, key)
                self.assertLessEqual(kept[key], 1, key)
        lost = [key for key, code in self.codes.items() if code != 250]
        self.assertLessEqual(len(lost), CLIENTS, "those in flight at most")
        await until(lambda: not gateway.target.hosts.resting, "nobody rests")
