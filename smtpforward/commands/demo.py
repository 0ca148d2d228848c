"""``smtpforward demo``: the gateway at work, for someone who has no backend at hand.

Starts the gateway and a small receiving server behind it, both on loopback, sends a sample through
and shows the dialogue; whatever comes to the gateway's port after that takes the same way. What
cannot be started is one line on standard error and exit code 1.
"""

import argparse
import smtplib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, eventAsText, formatEvent, globalLogBeginner
from zope.interface import provider

from smtpforward.commands.maildir import MaildirTarget
from smtpforward.config import ConfigurationError, load
from smtpforward.config.settings import Settings
from smtpforward.dispatch import Dispatcher
from smtpforward.gateway import Gateway
from smtpforward.learned import LearnedRefusals
from smtpforward.server.factory import GatewayFactory

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

LOOPBACK = "127.0.0.1"
SENDER, RECIPIENT = "you@example.com", "friend@example.org"
SAMPLE = f"""\
From: You <{SENDER}>
To: A friend <{RECIPIENT}>
Subject: A first message through smtpforward

The gateway took this message, handed it to the server behind it, and only
when that server had said 250 did it say 250 itself.
"""
FILES = {
    "me": "gateway.example\n",
    "smtp.ini": "listen={loopback}:{port}\n",
    "smtp_forward.ini": "host={loopback}\nport={backend}\nenable_tls=false\n",
    "relay_acl_allow": "127.0.0.0/8\n",
}


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "run the gateway in front of a small server that files mail in a Maildir"
    parser = subparsers.add_parser("demo", help=text, description=f"{text.capitalize()}.")
    parser.add_argument(
        "--port", type=port, default=0, help="the gateway's port on loopback; default: a free one"
    )
    parser.add_argument("--dir", type=Path, help="where to keep mail and settings; default: new")
    parser.add_argument("--once", action="store_true", help="end after the sample")
    parser.set_defaults(run=run)


def port(text: str) -> int:
    """A TCP port, or 0 for a free one."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; the exit code. Ctrl-C ends it."""
    try:
        react(_demonstrate, (arguments,))
    except SystemExit as end:
        if isinstance(end.code, str):
            print(f"smtpforward demo: {end.code}", file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _demonstrate(reactor: Any, arguments: argparse.Namespace) -> Deferred[None]:
    globalLogBeginner.beginLoggingTo([_print_own], redirectStandardIO=False)
    return Deferred.fromCoroutine(_run(reactor, arguments))


async def _run(reactor: Any, arguments: argparse.Namespace) -> None:
    directory = arguments.dir or Path(tempfile.mkdtemp(prefix="smtpforward-demo-"))
    try:
        demo = _start(reactor, directory, arguments.port)
    except (OSError, CannotListenError, ConfigurationError) as error:
        raise SystemExit(f"cannot start: {error}") from error
    reactor.addSystemEventTrigger("before", "shutdown", demo.stop)
    print(f"gateway on {LOOPBACK}:{demo.port}, in front of a receiving server")
    print("a sample goes through it:\n")
    try:
        await deferToThread(send_sample, demo.port, print)
    except (OSError, smtplib.SMTPException) as error:
        raise SystemExit(f"the sample did not go through: {error}") from error
    print(f"\nit lies in {demo.target.filed[-1]}")
    if not arguments.once:
        _say_what_next(directory, demo)
        await Deferred()


def _say_what_next(directory: Path, demo: "Demonstration") -> None:
    print(f"\nanother: swaks --server {LOOPBACK}:{demo.port} --from {SENDER} --to {RECIPIENT}")
    print(f"mail:     {demo.target.path}/new")
    print(f"settings: {directory / 'config'}")
    print("Ctrl-C ends the demonstration\n", flush=True)


@frozen
class Demonstration:
    """What runs.

    :ivar port: the gateway's. ``stop``: ends all of it.
    """

    port: int
    target: MaildirTarget
    stop: Callable[[], Any]


def _start(reactor: Any, directory: Path, port: int) -> Demonstration:
    config = directory / "config"
    config.mkdir(parents=True, exist_ok=True)
    target = MaildirTarget(directory / "Maildir")
    # The receiving server is this program's own edge, with a Maildir behind it.
    _write(config, port, backend=0)
    settings = evolve(load(config), me="receiver.example")
    receiver = reactor.listenTCP(0, _receiver(settings, target, reactor), interface=LOOPBACK)
    _write(config, port, backend=receiver.getHost().port)
    gateway = Gateway(load(config), reactor)
    gateway.privilegedStartService()
    gateway.startService()

    async def stop() -> None:
        await gateway.stopService()
        await receiver.stopListening()

    listening = gateway.ports()[0].getHost().port
    return Demonstration(listening, target, lambda: Deferred.fromCoroutine(stop()))


def _receiver(settings: Settings, target: MaildirTarget, reactor: Any) -> GatewayFactory:
    return GatewayFactory(settings, Dispatcher(target, LearnedRefusals(reactor), reactor), reactor)


def _write(config: Path, port: int, backend: int) -> None:
    for name, text in FILES.items():
        filled = text.format(loopback=LOOPBACK, port=port, backend=backend or 1)
        (config / name).write_text(filled, encoding="ascii")


class _Dialogue(smtplib.SMTP):
    """Python's client, telling what is said."""

    tell: Callable[[str], None]

    def putcmd(self, cmd: str, args: str = "") -> None:
        self.tell(f"  C: {cmd} {args}".rstrip())
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        self.tell(f"  S: {code} {text.decode('ascii', 'replace').splitlines()[0]}")
        return code, text


def send_sample(port: int, tell: Callable[[str], None]) -> None:
    """Send the sample to ``port`` on loopback, each line of the dialogue to ``tell``."""
    client = _Dialogue(local_hostname="client.example", timeout=30)
    client.tell = tell
    client.connect(LOOPBACK, port)
    try:
        client.sendmail(SENDER, [RECIPIENT], SAMPLE)
    finally:
        client.quit()


@provider(ILogObserver)
def _print_own(event: LogEvent) -> None:
    """The gateway's lines of the log, without Twisted's and the receiving server's; all faults."""
    if "log_failure" in event:
        print(eventAsText(event), file=sys.stderr, flush=True)
    elif event.get("log_namespace") == "smtpforward.mail":
        text = formatEvent(event)
        if " relay=maildir " not in text:
            print(text, flush=True)
