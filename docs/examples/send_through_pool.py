"""Messages through a pool of connections, without an edge: for a program that makes mail itself.

    python send_through_pool.py HOST PORT SENDER RECIPIENT

Ten messages, at most two connections at once; prints what became of each.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from smtpforward import (
    Address,
    Client,
    Connector,
    Content,
    Envelope,
    ForwardTarget,
    Job,
    NextHop,
    Outcome,
    PoolBounds,
    Recipient,
    Server,
)


def address(text: str) -> Address:
    local, _, domain = text.encode("ascii").rpartition(b"@")
    return Address(local, domain)


def job(number: int, next_hop: NextHop, sender: str, recipient: str, deadline: float) -> Job:
    message = f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {number}\r\n\r\nHello.\r\n"
    envelope = Envelope(address(sender), (Recipient(address(recipient)),))
    content = Content.from_plain(message.encode("ascii"))
    return Job(str(number), Client("127.0.0.1", 0), envelope, content, next_hop, deadline)


async def main(reactor: Any, host: str, port: str, sender: str, recipient: str) -> None:
    server = Server(host, int(port), helo="client.example.com")
    next_hop = NextHop((server,), bounds=PoolBounds(max_connections=2))
    target = ForwardTarget(Connector(reactor, None), reactor)
    deadline = reactor.seconds() + 60
    jobs = [job(number, next_hop, sender, recipient, deadline) for number in range(10)]
    results: list[list[Outcome]] = await gatherResults([target.deliver(one) for one in jobs])
    for one, [outcome] in zip(jobs, results, strict=True):
        print(one.id, outcome.event.name, outcome.reply.text if outcome.reply else outcome.detail)
    await target.end()


if __name__ == "__main__":
    react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
