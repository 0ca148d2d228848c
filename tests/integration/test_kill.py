"""The gateway is ended under load, by SIGKILL and by SIGTERM: what had a 250 is at the backend.

SIGKILL four times, fifty with ``SMTPFORWARD_FULL=1`` (``make kill``).
"""

import random
import signal

from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase, full_size
from tests.peers.gateway import ME, Gateway, three_files
from tests.peers.load import SESSIONS, Load
from tests.peers.ports import free_port

KILLS = 50 if full_size() else 4
BETWEEN = 60  # messages, at most, that a life lasts


class EndedCase(PeerTestCase):
    """A load, a backend, and gateways one after the other."""

    timeout = 600 if full_size() else 120

    async def load_and_backend(self) -> tuple[Load, ScriptedBackend]:
        """Senders that wait for a gateway."""
        self.port = free_port()
        load, backend = Load(self.port), self.backend()
        load.start()
        self.stop_later(load.stop)
        return load, backend

    async def begin(self, load: Load, backend: ScriptedBackend) -> Gateway:
        """A gateway; large messages are spooled. The senders connect."""
        files = {
            **three_files(self.port, backend.port),
            "me": f"{ME}\n",
            "connection.ini": "spool_after=100000\n",
        }
        gateway = Gateway(self.folder(), files, self.port)
        self.stop_later(gateway.stop)
        await gateway.ready()
        load.resume()
        return gateway


class KillTests(EndedCase):
    """SIGKILL."""

    async def test_killed_under_load(self) -> None:
        """Each 250 is one message at the backend, for its own recipients; none is there twice."""
        load, backend = await self.load_and_backend()
        moments = random.Random(1)
        for _ in range(KILLS):
            gateway = await self.begin(load, backend)
            await backend.until_taken(len(backend.messages) + moments.randint(1, BETWEEN), 30)
            load.pause()
            gateway.kill()
        gateway = await self.begin(load, backend)
        await backend.until_taken(len(backend.messages) + BETWEEN, 30)
        await load.stop()
        self.assertEqual([], load.faults(backend.messages))
        self.assertEqual({250}, set(load.codes()))
        # Those that it was busy with: fewer than there are senders would mean that it was idle.
        self.assertGreaterEqual(len(load.unanswered()), KILLS)
        self.assertLessEqual(len(load.unanswered()), KILLS * SESSIONS)


class TerminateTests(EndedCase):
    """SIGTERM."""

    async def test_terminated_under_load(self) -> None:
        """It ends in order, and each message had a true answer: 250, 421, or none."""
        load, backend = await self.load_and_backend()
        gateway = await self.begin(load, backend)
        await backend.until_taken(BETWEEN, 30)
        load.pause()
        gateway.signal(signal.SIGTERM)
        # In order: twistd lets the signal end it when all is done.
        self.assertEqual(-signal.SIGTERM, await gateway.ended(), gateway.output()[-4000:])
        self.assertIn("Server Shut Down", gateway.output())
        await load.stop()
        self.assertEqual([], load.faults(backend.messages))
        self.assertLessEqual(set(load.codes()), {250, 421})
        self.assertGreaterEqual(len(load.taken()), BETWEEN)
        # A transaction in progress is not cut: what the backend has was answered.
        self.assertEqual(len(backend.messages), len(load.taken()))
        self.assertNotIn("Traceback", gateway.output())
