"""``tls.ini``, the directory ``tls/``, and what TLS means for listeners."""

import datetime
import os
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smtpforward import config
from smtpforward.config.checks_net import hosts
from smtpforward.config.networks import Networks, network
from smtpforward.config.problems import Problem
from smtpforward.config.settings import ClientTLS, ServerTLS, Settings
from smtpforward.passwords import hash_secret
from tests.test_config_load import DirectoryCase

NOW = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any, passphrase: bytes = b"") -> bytes:
    """The key as a file has it."""
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else None
    return bytes(key.private_bytes(PEM, PKCS8, lock or serialization.NoEncryption()))


def cert_pem(
    key: Any,
    *names: str,
    common: str = "The host",
    begins: datetime.datetime = NOW - DAY,
    ends: datetime.datetime = NOW + 60 * DAY,
) -> bytes:
    """A self-signed certificate for the DNS names."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, begins, ends)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM)


KEY, OTHER_KEY = new_key(), new_key()
CERT = cert_pem(KEY, "Mail.example.com", "*.example.net")
OTHER_CERT = cert_pem(OTHER_KEY, "other.example.org")
PAIR = {"tls_key.pem": key_pem(KEY), "tls_cert.pem": CERT}
OUTBOUND = "[outbound]\n"
USERS = f"[core]\nmethods=PLAIN\n[users]\nanna={hash_secret('geheim', 'scrypt')}\n"


class TLSCase(DirectoryCase):
    """Loads directories that hold PEM files."""

    def with_files(self, pem: dict[str, bytes], **files: str) -> str:
        """A directory with ``pem`` beside the ini files."""
        directory = self.directory(**files)
        for name, data in pem.items():
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, 0o600)
        return directory

    def load_pem(self, pem: dict[str, bytes], **files: str) -> Settings:
        """Settings of good files."""
        return config.load(self.with_files(pem, **files), now=lambda: NOW)

    def server(self, pem: dict[str, bytes], **files: str) -> ServerTLS:
        """The edge's TLS of good files."""
        tls = self.load_pem(pem, **files).tls
        assert tls is not None
        return tls

    def pem_problems(self, pem: dict[str, bytes], **files: str) -> list[Problem]:
        """The problems of bad files."""
        error = self.assertRaises(config.ConfigurationError, self.load_pem, pem, **files)
        return list(error.problems)

    def only_pem(self, pem: dict[str, bytes], **files: str) -> Problem:
        """The one problem."""
        problems = self.pem_problems(pem, **files)
        self.assertEqual(len(problems), 1, "\n".join(map(str, problems)))
        self.assertTrue(problems[0].remedy)
        return problems[0]

    def warned(self, pem: dict[str, bytes], **files: str) -> tuple[str, ...]:
        """The warnings of good files."""
        return self.load_pem(pem, **files).warnings


class CertificateTests(TLSCase):
    """Where the edge's certificates come from."""

    def test_none(self) -> None:
        """Without a certificate there is no TLS at the edge, whatever tls.ini says."""
        settings = self.load(tls_ini="minVersion=TLSv1.3\n")
        self.assertIsNone(settings.tls)
        self.assertEqual(self.load().client_tls, ClientTLS())

    def test_haraka_defaults(self) -> None:
        """Haraka's files are used without a key in tls.ini, and without tls.ini."""
        for files in ({}, {"tls_ini": "; empty\n[outbound]\n"}):
            tls = self.server(PAIR, **files)
            (found,) = tls.certificates
            self.assertEqual(found.names, ("mail.example.com", "*.example.net"))
            self.assertEqual((found.key, found.chain), (key_pem(KEY), CERT))
            self.assertEqual(os.path.basename(found.path), "tls_cert.pem")
            self.assertEqual((tls.ciphers, tls.min_version), (None, "TLSv1.2"))
            self.assertNotIn("PRIVATE", repr(found))

    def test_keys(self) -> None:
        """``key`` and ``cert`` are relative to the directory, absolute, or lists of pairs."""
        directory = self.with_files({"a.pem": key_pem(KEY), "b.pem": CERT})
        absolute = os.path.abspath(directory)
        files = {"k/a.pem": key_pem(OTHER_KEY), "k/b.pem": OTHER_CERT}
        ini = (
            f"key[]=k/a.pem\nkey[]={absolute}/a.pem\ncert[]=k/b.pem\ncert[]={absolute}/b.pem\n"
            "ciphers=HIGH:!aNULL\nminVersion=tlsv1.3\nno_starttls_ports=2525, 26\n"
        )
        tls = self.server(files, tls_ini=ini)
        self.assertEqual(
            [found.names[0] for found in tls.certificates],
            ["other.example.org", "mail.example.com"],
        )
        self.assertEqual((tls.ciphers, tls.min_version), ("HIGH:!aNULL", "TLSv1.3"))
        self.assertEqual(tls.no_starttls_ports, {2525, 26})
        tls = self.server(PAIR, tls_ini="no_starttls_ports[]=1\nno_starttls_ports[]=2\n")
        self.assertEqual(tls.no_starttls_ports, {1, 2})

    def test_chain(self) -> None:
        """What follows the first certificate is handed on, without the text between."""
        files = {**PAIR, "tls_cert.pem": CERT + b"an intermediate:\n" + OTHER_CERT}
        self.assertEqual(self.server(files).certificates[0].chain, CERT + OTHER_CERT)

    def test_directory(self) -> None:
        """Each file of tls/ holds a key and certificates, in any order; they follow the default."""
        files = {
            "tls/b.pem": key_pem(OTHER_KEY) + OTHER_CERT,
            "tls/a.pem": CERT + key_pem(KEY),
        }
        found = self.server(files).certificates
        self.assertEqual([os.path.basename(one.path) for one in found], ["a.pem", "b.pem"])
        files.update({"tls_key.pem": key_pem(OTHER_KEY), "tls_cert.pem": OTHER_CERT})
        found = self.server(files).certificates
        self.assertEqual(found[0].names, ("other.example.org",))
        self.assertEqual(len(found), 3)

    def test_common_name(self) -> None:
        """Without names in subjectAltName the common name counts, if it is a host's."""
        for common, names in {"Old.example.com": ("old.example.com",), "Our mail": ()}.items():
            files = {**PAIR, "tls_cert.pem": cert_pem(KEY, common=common)}
            self.assertEqual(self.server(files).certificates[0].names, names)

    def test_bad_files(self) -> None:
        """A key or certificate that cannot be used is a problem of the key that names it."""
        small = rsa.generate_private_key(65537, 1024)
        for key, cert, name, words in (
            (b"", CERT, "key", "holds no private key"),
            (CERT, CERT, "key", "holds no private key"),
            (key_pem(KEY, b"hunter2"), CERT, "key", "is encrypted"),
            (key_pem(KEY).replace(b"M", b"!"), CERT, "key", "cannot be parsed"),
            (key_pem(KEY), b"", "cert", "holds no certificate"),
            (key_pem(KEY), CERT.replace(b"\nM", b"\n!", 1), "cert", "cannot be parsed"),
            (key_pem(KEY), OTHER_CERT + CERT, "cert", "does not belong"),
            (key_pem(small), cert_pem(small, "a.example"), "cert", "OpenSSL does not take"),
        ):
            problem = self.only_pem({"k": key, "c": cert}, tls_ini="key=k\n\ncert=c\n")
            self.assertEqual((problem.key, problem.line), (name, 1 if name == "key" else 3), words)
            self.assertIn(words, problem.message)

    def test_missing_files(self) -> None:
        """Files that are not there are named, both of them."""
        problems = self.pem_problems({}, tls_ini="key=k\ncert=c\n")
        self.assertEqual([problem.key for problem in problems], ["key", "cert"])
        self.assertIn("No such file", problems[0].message)

    def test_halves(self) -> None:
        """A key without a certificate, and the reverse, is a problem."""
        problem = self.only_pem({"k": key_pem(KEY)}, tls_ini="key=k\n")
        self.assertEqual((problem.key, problem.line), ("key", 1))
        self.assertIn("cert is not set, and tls_cert.pem is not there", problem.message)
        problem = self.only_pem({"tls_cert.pem": CERT})
        self.assertEqual(os.path.basename(problem.file), "tls_cert.pem")
        ini = "key[]=tls_key.pem\nkey[]=tls_key.pem\ncert=tls_cert.pem\n"
        self.assertIn("2 keys and 1 certificates", self.only_pem(PAIR, tls_ini=ini).message)
        self.assertIn("path of a file", self.only_pem(PAIR, tls_ini="key=\n").remedy)

    def test_bad_directory(self) -> None:
        """Each bad file of tls/ is a problem of that file; so is a file called tls."""
        files = {
            "tls/a.pem": CERT,
            "tls/b.pem": CERT + key_pem(OTHER_KEY),
            "tls/c.pem": key_pem(KEY) + cert_pem(KEY, common="nobody in particular"),
            "tls/d.pem": key_pem(KEY) + CERT,
        }
        problems = self.pem_problems(files)
        self.assertEqual([os.path.basename(p.file) for p in problems], ["a.pem", "b.pem", "c.pem"])
        self.assertIn("names no host", problems[2].message)
        self.assertIn("cannot be listed", self.only_pem({"tls": b""}).message)


class WarningTests(TLSCase):
    """What does not stop the start."""

    def test_age(self) -> None:
        """A certificate that has expired, soon will, or does not hold yet, is told."""
        for days, words in {
            -1: "expired on 2030-05-31",
            0: "expired on",
            14: "expires on 2030-06-15",
            15: None,
        }.items():
            cert = cert_pem(KEY, "a.example", begins=NOW - 9 * DAY, ends=NOW + days * DAY)
            warnings = self.warned({**PAIR, "tls_cert.pem": cert})
            self.assertEqual(len(warnings), 0 if words is None else 1)
            self.assertIn(words or "", "".join(warnings))
        cert = cert_pem(KEY, "a.example", begins=NOW + DAY)
        (warning,) = self.warned({**PAIR, "tls_cert.pem": cert})
        self.assertIn("valid only from 2030-06-02", warning)

    def test_exposed_key(self) -> None:
        """A key that everyone may read is told, once for each file."""
        directory = self.with_files({**PAIR, "tls/a.pem": key_pem(KEY) + CERT})
        for name in ("tls_key.pem", "tls/a.pem"):
            os.chmod(os.path.join(directory, name), 0o644)
        warnings = config.load(directory, now=lambda: NOW).warnings
        self.assertEqual(len(warnings), 2)
        self.assertIn("tls_key.pem holds a private key, and everyone may read it", warnings[0])

    def test_old_versions(self) -> None:
        """A version below TLS 1.2 is told with its line, and Haraka's words for all are known."""
        for version in ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"):
            warnings = self.warned(PAIR, tls_ini=f"minVersion={version}\n")
            self.assertEqual(len(warnings), int(version in ("TLSv1", "TLSv1.1")), version)
            self.assertIn("tls.ini:1" if warnings else "", "".join(warnings))
        self.assertEqual(len(self.warned(PAIR, tls_ini="[outbound]\nminVersion=TLSv1\n")), 1)

    def test_other_files(self) -> None:
        """Haraka also reads keys and certificates apart: such files are told."""
        files = {"tls/a.crt": CERT, "tls/a.key": key_pem(KEY), "tls/b.pem": key_pem(KEY) + CERT}
        (warning,) = self.warned(files)
        self.assertIn("only *.pem is read, not: a.crt, a.key", warning)

    def test_lacking(self) -> None:
        """Haraka's further keys, and its sections of bare lines, are named in the one warning."""
        ini = (
            "requestCert=true\nrequireAuthorized[]=465\nrejectUnauthorized=true\n[redis]\n"
            "disable_for_failed_hosts=true\n[no_tls_hosts]\n192.168.1.1\n172.16.0.0/16\n"
            "192.168.1.1\n[mutual_auth_hosts]\n[outbound]\ndhparam=dhparams.pem\n"
        )
        (warning,) = self.warned(PAIR, tls_ini=ini)
        self.assertTrue(
            warning.endswith(
                "ignores: requestCert, requireAuthorized, rejectUnauthorized, [redis],"
                " [no_tls_hosts], [outbound] dhparam"
            ),
            warning,
        )


class OutboundTests(TLSCase):
    """``[outbound]``: TLS with backends."""

    def client(self, ini: str, pem: dict[str, bytes] | None = None) -> ClientTLS:
        """What ``[outbound]`` gives."""
        return self.load_pem(pem or {}, tls_ini=ini).client_tls

    def test_every_value(self) -> None:
        """Each key reaches its place."""
        client = self.client(
            "[outbound]\nkey=k\ncert=c\nca=roots\nciphers=HIGH\nminVersion=TLSv1.3\n"
            "rejectUnauthorized=yes\nno_tls_hosts[]=192.0.2.0/24\nno_tls_hosts[]=Bücher.example\n"
            "force_tls_hosts=mx.example.net., 2001:db8::1,[2001:db8::2]\n",
            {"k": key_pem(KEY), "c": CERT, "roots": b"roots:\n" + CERT + OTHER_CERT},
        )
        assert client.certificate is not None
        self.assertEqual(client.certificate.chain, CERT)
        self.assertEqual(client.ca, CERT + OTHER_CERT)
        self.assertEqual((client.ciphers, client.min_version), ("HIGH", "TLSv1.3"))
        self.assertTrue(client.reject_unauthorized)
        for host in ("192.0.2.9", "xn--bcher-kva.example"):
            self.assertIn(host, client.no_tls_hosts)
        for host in ("mx.example.net", "2001:db8::1", "2001:db8::2"):
            self.assertIn(host, client.force_tls_hosts)
        self.assertNotIn("192.0.2.9", client.force_tls_hosts)

    def test_inherit(self) -> None:
        """Ciphers and version are the top level's, as in Haraka; the certificate is not."""
        client = self.client("ciphers=HIGH\nminVersion=TLSv1.3\n", PAIR)
        self.assertEqual((client.ciphers, client.min_version), ("HIGH", "TLSv1.3"))
        self.assertIsNone(client.certificate)

    def test_bad(self) -> None:
        """Half a client certificate, and what cannot be read, is a problem at its line."""
        for text, key, words in (
            ("key=tls_key.pem", "key", "cert is not set"),
            ("cert=tls_cert.pem", "cert", "key is not set"),
            ("ca=nowhere", "ca", "cannot be read"),
            ("ca=tls_key.pem", "ca", "holds no certificate"),
            ("ciphers=nonsense", "ciphers", "OpenSSL knows no cipher"),
            ("minVersion=SSLv3", "minVersion", "is wrong"),
            ("rejectUnauthorized=ture", "rejectUnauthorized", "is wrong"),
            ("no_tls_hosts=a b", "no_tls_hosts", "is wrong"),
            ("force_tls_hosts[]=192.0.2.1/24", "force_tls_hosts", "is wrong"),
            ("no_starttls_ports=25", "no_starttls_ports", "is not known here"),
        ):
            problem = self.only_pem(PAIR, tls_ini=OUTBOUND + text)
            self.assertEqual((problem.key, problem.line), (key, 2), text)
            self.assertIn(words, problem.message)

    def test_bad_top_level(self) -> None:
        """The same for the edge."""
        for text in (
            *("ciphers=", "ciphers=nonsense", "minVersion=TLSv1.4", "no_starttls_ports=x"),
            *("no_starttls_ports=0", "no_starttls_ports[]=65536", "minversion=TLSv1.3"),
        ):
            problem = self.only_pem(PAIR, tls_ini=text)
            self.assertEqual((problem.line, bool(problem.remedy)), (1, True), text)

    def test_both_lists(self) -> None:
        """A host that is in both lists is named with the other place."""
        for no_tls, force in (
            ("mx.example", "a.example, MX.example."),
            ("192.0.2.0/24", "192.0.2.7"),
            ("192.0.2.7", "192.0.0.0/16"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::/32", "[2001:db8::1]"),
        ):
            ini = f"[outbound]\nno_tls_hosts={no_tls}\nforce_tls_hosts={force}\n"
            problem = self.only_pem({}, tls_ini=ini)
            self.assertEqual((problem.line, problem.key), (3, "force_tls_hosts"))
            self.assertIn("tls.ini:2", problem.message)
        self.client("[outbound]\nno_tls_hosts=192.0.2.0/25\nforce_tls_hosts=192.0.2.128/25,::/0\n")

    def test_empty_list(self) -> None:
        """An empty list, in either form, is nobody."""
        for text in ("no_tls_hosts=", "no_tls_hosts[] =", "no_tls_hosts=,"):
            self.assertEqual(self.client(OUTBOUND + text), ClientTLS())

    @given(st.lists(st.ip_addresses(v=4)), st.lists(st.ip_addresses(v=4)), st.integers(8, 32))
    def test_overlap(self, ours: list[Any], theirs: list[Any], prefix: int) -> None:
        """Two sets overlap when an address of one is in a network of the other."""
        networks = [network(f"{int(ip) >> 24}.0.0.0/8") for ip in ours]
        single = [network(str(ip)) for ip in theirs]
        expected = any(ip in Networks(networks) for ip in theirs)
        self.assertEqual(bool(Networks(networks).overlap(Networks(single))), expected)
        self.assertEqual(bool(Networks(single).overlap(Networks(networks))), expected)

    def test_hosts(self) -> None:
        """A set knows names and addresses apart."""
        found = hosts("a.example,192.0.2.0/24")
        self.assertIn("a.example", found)
        self.assertNotIn("b.a.example", found)
        self.assertIn("::ffff:192.0.2.1", found)


class ListenTests(TLSCase):
    """Ports that need a certificate."""

    def test_smtps_port(self) -> None:
        """With a certificate the port of TLS at once is listened on, whichever it is."""
        settings = self.load_pem(PAIR, smtp_ini="listen=127.0.0.1:465, [::1]:25")
        self.assertEqual(settings.smtps_port, 465)
        settings = self.load_pem(
            PAIR, smtp_ini="smtps_port=4650\nlisten=127.0.0.1:4650", auth_flat_file_ini=USERS
        )
        self.assertEqual(settings.smtps_port, 4650)
        self.assertEqual(settings.warnings, ())

    def test_submission(self) -> None:
        """Port 587 without TLS is for loopback alone, which is told; not so with plain ones."""
        users = {"auth_flat_file_ini": USERS}
        (warning,) = self.warned({}, smtp_ini="listen=[::]:25,[::]:587", **users)
        self.assertIn("[::]:587 is for who logs in, and nobody but loopback can", warning)
        self.assertEqual(self.warned(PAIR, smtp_ini="listen=[::]:587", **users), ())
        ini = "listen=[::]:587\nauth_allow_plaintext=true"
        settings = self.load(smtp_ini=ini, **users)
        self.assertEqual(settings.warnings, ())
        self.assertTrue(settings.auth_allow_plaintext)

    def test_submission_without_users(self) -> None:
        """A port on which everyone must log in and nobody can is told, each of them."""
        given = {"smtp_ini": "listen=[::]:25,[::]:465,[::]:587", "relay_acl_allow": "192.0.2.1\n"}
        warnings = self.warned(PAIR, **given)
        self.assertEqual([warning[:8] for warning in warnings], ["[::]:465", "[::]:587"])
        self.assertIn("nobody can: auth_flat_file.ini has no methods or no users", warnings[0])
