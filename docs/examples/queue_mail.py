"""Messages that must not get lost: queued durably in an SQLite file, delivered to one host.

    python queue_mail.py FILE HOST PORT SENDER [RECIPIENT...]

Queues a message for each RECIPIENT, and runs until nothing is left in FILE. However it was ended,
the next run delivers what is still there. The log says what became of each message.
"""

import sys
from email.utils import formatdate
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner, textFileLogObserver

from smtpforward import (
    Address,
    Client,
    Connector,
    Content,
    Delivery,
    Envelope,
    ForwardTarget,
    Job,
    NextHop,
    Outbound,
    Outcome,
    Queueing,
    Recipient,
    Route,
    Routes,
    Server,
    Settings,
)

NAME = "client.example.com"
INTERVALS = (60.0, 300.0, 300.0, 3600.0, 3600.0)  # seconds between attempts that fail for a time


def address(text: str) -> Address:
    local, _, domain = text.encode("ascii").rpartition(b"@")
    return Address(local, domain)


def settings(file: str, next_hop: NextHop) -> Settings:
    outbound = Outbound(store=f"sqlite:{file}", smart_host=next_hop, intervals=INTERVALS)
    return Settings(me=NAME, routes=Routes(Route("", next_hop)), outbound=outbound)


def job(next_hop: NextHop, sender: str, recipient: str, now: float) -> Job:
    # No two messages of a queue have the same id, also not those of different runs.
    id = uuid4().hex
    header = f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: hello\r\n"
    header += f"Date: {formatdate()}\r\nMessage-ID: <{id}@{NAME}>\r\n"
    content = Content.from_plain(f"{header}\r\nHello.\r\n".encode("ascii"))
    envelope = Envelope(address(sender), (Recipient(address(recipient)),))
    client = Client("127.0.0.1", 0)
    return Job(id, client, envelope, content, next_hop, now + 60, deliveries=(Delivery.OUTBOUND,))


async def main(reactor: Any, file: str, host: str, port: str, sender: str, *rcpts: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    next_hop = NextHop((Server(host, int(port), helo=NAME),))
    connector = Connector(reactor, None)
    target = ForwardTarget(connector, reactor)
    nowhere: tuple[tuple[str, int], ...] = ()  # this program takes no mail from the network
    queueing = Queueing(
        settings(file, next_hop), reactor, reactor, connector, target, lambda: nowhere
    )
    queue = queueing.queue
    await queue.start()
    for rcpt in rcpts:
        outcomes: list[Outcome] = await queue.deliver(
            job(next_hop, sender, rcpt, reactor.seconds())
        )
        print(rcpt, outcomes[0].event.name, flush=True)
    while (await queue.store.stats(1)).messages:
        await deferLater(reactor, 0.5)
    await queueing.close()
    await queueing.direct.end()


if __name__ == "__main__":
    react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
