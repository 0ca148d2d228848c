"""TLS contexts of the edge, with both ends of a connection in memory."""

import contextlib

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import ServerTLS
from smtpforward.net.tls import ServerContexts
from tests.tlssupport import certificate, client_end, server_tls, shown_name


def shake_hands(contexts: ServerContexts, client: SSL.Connection) -> SSL.Connection:
    """``client`` after a handshake with a server that has ``contexts``.

    :raise SSL.Error: of either end.
    """
    server = contexts.serverConnectionForTLS(None)
    server.set_accept_state()
    done = 0
    for _ in range(4):
        for end, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
                done += 1
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(1 << 16))
    assert done >= 2
    return client


class ServerContextsTests(SynchronousTestCase):
    """Certificates by name, versions and ciphers."""

    def test_chosen_by_name(self) -> None:
        """The name that a client asks for picks the certificate: itself, or by a wildcard."""
        one, two, three = (
            certificate("mx.example.net", "mail.example.net"),
            certificate("*.example.org"),
            certificate("a.example.org", "mx.example.net"),
        )
        contexts = ServerContexts(ServerTLS((one, two, three)))
        for asked, shown in (
            ("mx.example.net", "mx.example.net"),
            ("MAIL.Example.NET", "mx.example.net"),
            ("b.example.org", "*.example.org"),
            ("a.example.org", "a.example.org"),
            ("a.b.example.org", "mx.example.net"),
            ("example.org", "mx.example.net"),
            ("elsewhere.example", "mx.example.net"),
            ("", "mx.example.net"),
        ):
            client = shake_hands(contexts, client_end(asked))
            self.assertEqual(shown_name(client), shown, asked)

    def test_chain(self) -> None:
        """The certificates above are sent with it."""
        one, above = certificate("mx.example.net"), certificate("ca.example.net")
        whole = type(one)(one.key, one.chain + above.chain, one.names)
        client = shake_hands(ServerContexts(ServerTLS((whole,))), client_end())
        chain = client.get_peer_cert_chain() or []
        self.assertEqual(
            [str(link.get_subject().commonName) for link in chain],
            ["mx.example.net", "ca.example.net"],
        )

    def test_min_version(self) -> None:
        """An older version is refused, also for a certificate that was chosen by name."""
        tls = ServerTLS(
            (certificate("mx.example.net"), certificate("a.example.org")), min_version="TLSv1.3"
        )
        contexts = ServerContexts(tls)
        old = SSL.Context(SSL.TLS_CLIENT_METHOD)
        old.set_max_proto_version(SSL.TLS1_2_VERSION)
        for name in ("mx.example.net", "a.example.org"):
            self.assertRaises(SSL.Error, shake_hands, contexts, client_end(name, old))
            self.assertEqual(
                shake_hands(contexts, client_end(name)).get_protocol_version_name(), "TLSv1.3"
            )

    def test_default_version(self) -> None:
        """Without a word about it TLS 1.2 is taken."""
        old = SSL.Context(SSL.TLS_CLIENT_METHOD)
        old.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = shake_hands(ServerContexts(server_tls()), client_end("", old))
        self.assertEqual(client.get_protocol_version_name(), "TLSv1.2")

    def test_ciphers(self) -> None:
        """Up to TLS 1.2 only those that are named may be used."""
        cipher, other = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
        contexts = ServerContexts(server_tls(ciphers=cipher))
        for offered in (cipher, other):
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(offered.encode("ascii"))
            client = client_end("", context)
            if offered == other:
                self.assertRaises(SSL.Error, shake_hands, contexts, client)
            else:
                self.assertEqual(shake_hands(contexts, client).get_cipher_name(), cipher)
