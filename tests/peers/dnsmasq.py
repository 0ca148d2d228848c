"""dnsmasq as the resolver that stands between: it knows some names, and asks another for the rest.

Its own cache is off: what is kept is what the gateway keeps.
"""

from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require

HOST = "127.0.0.1"


class Dnsmasq(Process):
    """A running dnsmasq.

    :param options: such as ``server=127.0.0.1#5353`` or ``mx-host=example.com,mx.example.com,10``.
    :ivar place: address and port.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        [program] = require("dnsmasq")
        self.place = (HOST, free_port())
        config = folder / "dnsmasq.conf"
        lines = (
            *("no-resolv", "no-hosts", "cache-size=0", "bind-interfaces", "log-facility=-"),
            *(f"listen-address={HOST}", f"port={self.place[1]}", *options),
        )
        config.write_text("".join(f"{line}\n" for line in lines))
        super().__init__([program, "--no-daemon", f"--conf-file={config}"], folder, name="dnsmasq")

    async def ready(self) -> "Dnsmasq":
        """Itself, once it can be asked."""
        await self.until_listening(self.place[1])
        return self
