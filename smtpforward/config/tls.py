"""``tls.ini`` and the directory ``tls/`` to what the edge and the client use of them.

Rules: the first certificate is the default: that of ``key`` and ``cert``, else the first of the
directory. Keys that are not set mean Haraka's files, where they are there. A bad certificate
anywhere is a problem; one that will expire is a warning.
"""

import datetime
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from attrs import define, frozen

from smtpforward.config import certificates
from smtpforward.config.dialect import MAIN
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import Certificate, ClientTLS, HostSet, ServerTLS
from smtpforward.config.values import WrongValueError

FILE, DIRECTORY, OUTBOUND = "tls.ini", "tls", "outbound"
DEFAULT_FILES = {"key": "tls_key.pem", "cert": "tls_cert.pem"}
OLD = ("TLSv1", "TLSv1.1")
T = TypeVar("T")


@frozen
class _File:
    """A file, and where a problem with it is reported."""

    path: str
    place: Place
    key: str | None = None


def build(
    reading: Reading, root: str, now: datetime.datetime, report: Report
) -> tuple[ServerTLS | None, ClientTLS]:
    """What the edge uses, if it has a certificate, and what the client uses."""
    reader = _Reader(reading, root, now, report)
    found = tuple(reader.certificates())
    main: dict[str, Any] = dict(reading.values[MAIN])
    server = ServerTLS(
        found, main["ciphers"], main["minVersion"], main["no_starttls_ports"] or frozenset()
    )
    reader.warn_of_old_versions()
    return (server if found else None), reader.client()


@define
class _Reader:
    reading: Reading
    root: str
    now: datetime.datetime
    report: Report

    def certificates(self) -> Iterator[Certificate]:
        """Those of the edge, the default one first."""
        yield from self._of_keys()
        yield from self._of_directory()

    def client(self) -> ClientTLS:
        """``[outbound]``; ciphers and version are the top level's where it sets none."""
        main: dict[str, Any] = dict(self.reading.values[MAIN])
        own: dict[str, Any] = dict(self.reading.values[OUTBOUND])
        no_tls, force_tls = own["no_tls_hosts"] or HostSet(), own["force_tls_hosts"] or HostSet()
        self._compare(no_tls, force_tls)
        return ClientTLS(
            certificate=self._client_certificate(),
            ciphers=own["ciphers"] or main["ciphers"],
            min_version=own["minVersion"] or main["minVersion"],
            ca=self._roots(),
            reject_unauthorized=own["rejectUnauthorized"],
            no_tls_hosts=no_tls,
            force_tls_hosts=force_tls,
        )

    def warn_of_old_versions(self) -> None:
        """RFC 8996 says that TLS 1.0 and 1.1 must not be used."""
        for section in (MAIN, OUTBOUND):
            version = self.reading.values[section]["minVersion"]
            if version in OLD:
                place = self.reading.places[section, "minVersion"]
                self.report.warn(f"{place}: minVersion={version} allows what RFC 8996 deprecates")

    def _of_keys(self) -> Iterator[Certificate]:
        keys, chains = self._files("key"), self._files("cert")
        if len(keys) != len(chains):
            self._unequal(keys, chains)
            return
        for key, chain in zip(keys, chains, strict=True):
            found = self._certificate(key, chain)
            if found:
                yield found

    def _files(self, key: str) -> list[_File]:
        place = self.reading.places.get((MAIN, key))
        if place is not None:
            given: Any = self.reading.values[MAIN][key] or ()
            return [_File(os.path.join(self.root, path), place, key) for path in given]
        path = os.path.join(self.root, DEFAULT_FILES[key])
        self.report.reads(path)
        return [_File(path, Place(path))] if os.path.lexists(path) else []

    def _unequal(self, keys: list[_File], chains: list[_File]) -> None:
        """Each key has a certificate; where one is wrong already, the other says no more."""
        values, places = self.reading.values[MAIN], self.reading.places
        if any((MAIN, key) in places and not values[key] for key in DEFAULT_FILES):
            return
        more, missing = (keys, "cert") if len(keys) > len(chains) else (chains, "key")
        message = f"{len(keys)} keys and {len(chains)} certificates"
        if not (keys and chains):
            message = f"{missing} is not set, and {DEFAULT_FILES[missing]} is not there"
        self.report.add(more[0].place, more[0].key, message, "key=FILE and cert=FILE, in pairs")

    def _of_directory(self) -> Iterator[Certificate]:
        directory = os.path.join(self.root, DIRECTORY)
        others = []
        for name in self._listed(directory):
            path = os.path.join(directory, name)
            if not name.endswith(".pem"):
                others.append(name)
                continue
            found = self._certificate(_File(path, Place(path)), _File(path, Place(path)))
            if found and not found.names:
                self.report.add(
                    Place(path), None, "its certificate names no host", "one with a subjectAltName"
                )
            elif found:
                yield found
        if others:
            self.report.warn(f"{directory}: only *.pem is read, not: {', '.join(others)}")

    def _listed(self, directory: str) -> list[str]:
        self.report.reads(directory)
        try:
            return sorted(name for name in os.listdir(directory) if not name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            message = f"cannot be listed: {error.strerror}"
            self.report.add(Place(directory), None, message, "a directory of *.pem files")
            return []

    def _client_certificate(self) -> Certificate | None:
        own, places = self.reading.values[OUTBOUND], self.reading.places
        given = [key for key in ("key", "cert") if (OUTBOUND, key) in places]
        if len(given) == 1:
            missing = "cert" if given == ["key"] else "key"
            place = places[OUTBOUND, given[0]]
            self.report.add(place, given[0], f"{missing} is not set", "key=FILE and cert=FILE")
        if not (own["key"] and own["cert"]):
            return None
        key, chain = (
            _File(os.path.join(self.root, str(own[name])), places[OUTBOUND, name], name)
            for name in given
        )
        return self._certificate(key, chain)

    def _roots(self) -> bytes:
        path = self.reading.values[OUTBOUND]["ca"]
        if path is None:
            return b""
        place = self.reading.places[OUTBOUND, "ca"]
        file = _File(os.path.join(self.root, str(path)), place, "ca")
        return certificates.pem(self._tried(file, certificates.read_chain) or ())

    def _certificate(self, key: _File, chain: _File) -> Certificate | None:
        private = self._tried(key, certificates.read_key)
        public = self._tried(chain, certificates.read_chain)
        if private is None or public is None:
            return None
        if certificates.is_exposed(key.path):
            self.report.warn(f"{key.path} holds a private key, and everyone may read it")
        age = certificates.age(public[0], self.now)
        if age:
            self.report.warn(f"{chain.path}: the certificate {age}")
        return self._tried(chain, lambda path: certificates.pair(private, public, path))

    def _tried(self, file: _File, read: Callable[[str], T]) -> T | None:
        self.report.reads(file.path)
        try:
            return read(file.path)
        except WrongValueError as error:
            self.report.add(file.place, file.key, error.message, error.remedy)
            return None

    def _compare(self, no_tls: HostSet, force_tls: HostSet) -> None:
        """A host cannot be in both lists."""
        both = sorted(no_tls.names & force_tls.names)
        network = no_tls.networks.overlap(force_tls.networks)
        for text in [*both, network] if network else both:
            where = self.reading.places[OUTBOUND, "no_tls_hosts"]
            place = self.reading.places[OUTBOUND, "force_tls_hosts"]
            message = f"{text} is in no_tls_hosts as well ({where})"
            self.report.add(place, "force_tls_hosts", message, "in one of the two only")
