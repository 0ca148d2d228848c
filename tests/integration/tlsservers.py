"""A Postfix and an Exim that show certificates, and the traces that each leaves of a connection.

What is asked of a server is an :class:`Offer`, the same for both; where they differ, in their
settings and in what they write, is here.
"""

import base64
import datetime
from collections.abc import Mapping
from typing import Protocol

import trustme
from attrs import frozen

from tests.peers.case import PeerTestCase
from tests.peers.dovecot import Dovecot
from tests.peers.exim import Exim
from tests.peers.postfix import Postfix

CA, OTHER_CA = trustme.CA(), trustme.CA()
HOST, NAME = "127.0.0.1", "localhost"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CERTIFICATES = {
    "right": CA.issue_cert(HOST),
    "by name": CA.issue_cert(NAME),
    "mx": CA.issue_cert("mx.example.com"),
    "wrong name": CA.issue_cert("127.0.0.99", "other.example"),
    "expired": CA.issue_cert(HOST, not_before=LONG_AGO, not_after=LONG_AGO + DAY),
    "untrusted": OTHER_CA.issue_cert(HOST),
}

Server = Postfix | Exim


@frozen
class Offer:
    """What a server has of TLS.

    :ivar certificate: the one of ``CERTIFICATES`` that it shows; without one it has no TLS.
    :ivar at_once: TLS from the first byte.
    :ivar old: no TLS 1.3.
    :ivar demands: a client certificate that ``CA`` has issued.
    :ivar users: names to passwords; mail is taken only from who logs in, and that under TLS.
    """

    certificate: str | None = "right"
    at_once: bool = False
    old: bool = False
    demands: bool = False
    users: Mapping[str, str] | None = None


@frozen
class Traces:
    """Regular expressions for what is found at the server.

    :ivar received: in the header of a filed message that came under TLS.
    :ivar secured: in the log, once for each connection under TLS; ``verified``: with a client
        certificate that was found good; ``named``: that asked for ``NAME``; ``failed``: for a
        handshake that failed.
    :ivar connection: in the log, once for each connection; ``ended``: when it has gone.
    :ivar envelope: in the log, for each message of which it has heard.
    :ivar undemanded: in the log, where the client certificate is missed.
    :ivar logged_in: in the log, with ``{mechanism}`` in upper case and ``{user}``.
    :ivar refused: so too, for a password that is wrong.
    """

    received: str
    secured: str
    verified: str
    named: str
    failed: str
    connection: str
    ended: str
    envelope: str
    undemanded: str
    logged_in: str
    refused: str


class Kind(Protocol):
    """A kind of server.

    :ivar undemanded: what it comes to where it misses a client certificate: the status for the
        sender, and words in our log.
    """

    traces: Traces
    undemanded: tuple[str, str]

    async def start(self, case: PeerTestCase, offer: Offer) -> Server:
        """A running one with the mailbox ``known``; stopped at the end of the test."""
        ...


class PostfixKind:
    """Postfix, which asks Dovecot about logins. It says 421 to who has no certificate."""

    undemanded = ("4.3.2", "421 4.7.1")
    traces = Traces(
        received=r"\(using TLSv1\.3 with cipher",
        secured=r"TLS connection established from",
        verified=r"Trusted TLS connection established from",
        named=r"TLS connection established from",  # it does not write the name
        failed=r"SSL_accept error from",
        connection=r": connect from",
        ended=r": disconnect from",
        envelope=r"client=",
        undemanded=r"No client certificate presented|Client certificate not trusted",
        logged_in=r"sasl_method={mechanism}, sasl_username={user}\n",
        refused=r"SASL {mechanism} authentication failed.*sasl_username={user}\n",
    )

    async def start(self, case: PeerTestCase, offer: Offer) -> Server:
        postfix = await case.postfix("known", **_postfix_settings(case, offer))
        if offer.users is not None:
            dovecot = Dovecot(case.folder(), postfix.private / "auth", offer.users)
            case.stop_later(dovecot.stop)
            await dovecot.ready()
        return postfix


class EximKind:
    """Exim, which knows its users itself. Who has no certificate gets a TLS alert."""

    undemanded = ("4.7.5", "alert")
    traces = Traces(
        received=r"with esmtpsa?  \(TLS1\.3\) tls ",
        secured=r"<= sender@example\.org .* P=esmtpsa? X=TLS1\.3:",
        verified=r"<= sender@example\.org .* P=esmtps X=TLS1\.3:\S+ CV=yes ",
        named=r"<= sender@example\.org .* SNI=localhost ",
        failed=r"TLS error on connection from .*\((gnutls_handshake|SSL_accept)\)",
        connection=r"SMTP connection from \[127\.0\.0\.1\] \(TCP/IP",
        ended=r"SMTP connection from .* (lost|closed)|TLS error on connection from",
        envelope=r"sender@example\.org",
        undemanded=r"TLS error on connection from .*[Cc]ertificate",
        logged_in=r" A={mechanism}:{user} ",
        refused=r"{mechanism} authenticator failed for .* 535 .*\(set_id={user}\)",
    )

    async def start(self, case: PeerTestCase, offer: Offer) -> Server:
        settings, authenticators = _exim_settings(case, offer), ""
        if offer.users is not None:
            users = case.folder() / "users"
            coded = {name: base64.b64encode(w.encode()).decode() for name, w in offer.users.items()}
            users.write_text("".join(f"{name}: {word}\n" for name, word in coded.items()))
            authenticators = EXIM_LOGINS.replace("USERS", str(users))
        return await case.exim("known", authenticators=authenticators, **settings)


def _postfix_settings(case: PeerTestCase, offer: Offer) -> dict[str, str]:
    if offer.certificate is None:
        return {}
    pair, roots = _write_certificates(case, offer.certificate)
    settings = {
        "smtpd_tls_security_level": "encrypt" if offer.demands else "may",
        "smtpd_tls_chain_files": pair,
        "smtpd_tls_CAfile": roots,
        "smtpd_tls_received_header": "yes",
        "smtpd_tls_loglevel": "1",
    }
    if offer.at_once:
        settings["smtpd_tls_wrappermode"] = "yes"
    if offer.old:
        settings["smtpd_tls_protocols"] = "<=TLSv1.2"
    if offer.demands:
        settings["smtpd_tls_req_ccert"] = "yes"
    return settings | (POSTFIX_LOGINS if offer.users is not None else {})


def _exim_settings(case: PeerTestCase, offer: Offer) -> dict[str, str]:
    if offer.certificate is None:
        return {"tls_advertise_hosts": ""}
    pair, roots = _write_certificates(case, offer.certificate)
    settings = {"tls_certificate": pair, "tls_verify_certificates": roots}
    if offer.at_once:
        settings["tls_on_connect_ports"] = "SMTP_PORT"
    if offer.old:
        settings["tls_require_ciphers"] = "NORMAL:-VERS-TLS1.3"
    if offer.demands:
        settings["tls_verify_hosts"] = "*"
    if offer.users is not None:
        settings["acl_smtp_mail"] = "accept authenticated = *"
    return settings


def _write_certificates(case: PeerTestCase, shown: str) -> tuple[str, str]:
    """The files of the key with its chain, and of the roots for clients."""
    folder = case.folder()
    pair, roots = folder / "pair.pem", folder / "roots.pem"
    CERTIFICATES[shown].private_key_and_cert_chain_pem.write_to_path(pair)
    CA.cert_pem.write_to_path(roots)
    return str(pair), str(roots)


POSTFIX_LOGINS = {
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_sasl_type": "dovecot",
    "smtpd_sasl_path": "private/auth",
    "smtpd_sasl_security_options": "noanonymous",
    "smtpd_sasl_authenticated_header": "yes",
    "smtpd_tls_auth_only": "yes",
    "smtpd_client_restrictions": "permit_sasl_authenticated,reject",
}

EXIM_LOGINS = r"""
PLAIN:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_advertise_condition = ${if def:tls_in_cipher}
  server_condition = ${if eq{${base64:$auth3}}{${lookup{$auth2}lsearch{USERS}{$value}fail}}}
  server_set_id = $auth2
LOGIN:
  driver = plaintext
  public_name = LOGIN
  server_prompts = User Name : Password
  server_advertise_condition = ${if def:tls_in_cipher}
  server_condition = ${if eq{${base64:$auth2}}{${lookup{$auth1}lsearch{USERS}{$value}fail}}}
  server_set_id = $auth1
"""
