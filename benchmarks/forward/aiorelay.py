"""A small relay of aiosmtpd and aiosmtplib: ``python -m benchmarks.forward.aiorelay``.

It hands each message over while the sender waits, over connections that it keeps, and passes the
answer on. It checks nothing but what aiosmtpd does by itself.
"""

import argparse
import asyncio
import ssl

import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope, Session
from aiosmtplib import SMTPException, SMTPResponseException

SIZE = 52_428_800
BACKLOG = 1024


class Relay:
    """aiosmtpd's handler.

    :param port: of the backend. ``starttls``: whether it is spoken to under TLS.
    """

    def __init__(self, port: int, starttls: bool) -> None:
        self._port = port
        self._starttls = starttls
        self._idle: list[aiosmtplib.SMTP] = []

    async def handle_DATA(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Hand it over; the backend's answer."""
        backend = self._idle.pop() if self._idle else await self._connect()
        try:
            _, told = await backend.sendmail(
                envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content or b""
            )
        except SMTPResponseException as error:
            backend.close()
            return f"{error.code} {error.message}"
        except SMTPException as error:
            backend.close()
            return f"451 4.4.2 {error}"
        self._idle.append(backend)
        return f"250 {told}"

    async def _connect(self) -> aiosmtplib.SMTP:
        backend = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self._port, start_tls=self._starttls, validate_certs=False
        )
        await backend.connect()
        return backend


async def serve(asked: argparse.Namespace) -> None:
    """Until it is ended."""
    context = None
    if asked.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(asked.certificate)
    relay = Relay(asked.backend, asked.starttls)

    def connection() -> SMTP:
        return SMTP(relay, data_size_limit=SIZE, hostname="aio.example.com", tls_context=context)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", asked.port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--backend", type=int, required=True, help="its port, of 127.0.0.1")
    parser.add_argument("--starttls", action="store_true", help="with the backend")
    parser.add_argument("--certificate", help="PEM file; STARTTLS is offered to senders")
    asyncio.run(serve(parser.parse_args()))
