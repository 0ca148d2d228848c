"""``outbound.ini`` to what the outbound queue is told.

Rules: there is a queue where a route leads to it, or the file is there, or that of the default
store, which may still hold mail. ``temp_fail_intervals`` goes before ``maxTempFailures``, as in
Haraka. A smart host has pools of its own, also where it is a route's backend.
"""

import os
from typing import Any

from attrs import define

from smtpforward.config import backends, credentials, store
from smtpforward.config.dialect import MAIN
from smtpforward.config.files import read_secret
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import ClientTLS, Outbound, Routes
from smtpforward.config.values import WrongValueError
from smtpforward.job import NextHop, PoolBounds, Server

FILE = "outbound.ini"
STORE, STORE_FILE = "store", "store_file"
# Keys that are settings of the same name.
AS_THEY_ARE = (
    *("disabled", "concurrency_max", "delay_notice", "always_split", "received_header"),
    "local_mx_ok",
    "lease",
)
WITHOUT_EFFECT = (
    "{} has no effect: no route leads to the queue, it sets no store, and there is no {}"
)
NOT_WRITABLE = (
    "{} is not writable by this user, and no route leads to it: the mail in it stays there"
)
Values = dict[str, Any]


def build(
    reading: Reading,
    path: str,
    me: str,
    client_tls: ClientTLS,
    routes: Routes | None,
    report: Report,
) -> Outbound | None:
    """The settings of the queue, where there is one.

    :param path: of the file, which may be missing.
    :param routes: ``None`` where there are none to be had.
    """
    builder = _Builder(reading, path, me, client_tls, report)
    return builder.outbound(builder.store(routes is not None and routes.queues))


def intervals(values: Values) -> tuple[float, ...]:
    """Seconds from each failed attempt to the next, by Haraka's rules."""
    given: tuple[float, ...] | None = values["temp_fail_intervals"]
    if given is not None:
        return given
    return tuple(float(2 ** (n + 5)) for n in range(1, values["maxTempFailures"]))


def in_words(outbound: Outbound) -> str:
    """Where the queue is kept and where it leads, without a secret."""
    to = f"the smart host {outbound.smart_host}" if outbound.smart_host else "MX hosts"
    disabled = ", delivery disabled" if outbound.disabled else ""
    return f"{store.in_words(outbound.store)}, to {to}{disabled}"


@define
class _Builder:
    reading: Reading
    path: str
    me: str
    client_tls: ClientTLS
    report: Report

    def store(self, needed: bool) -> str | None:
        """The store's address, where there is a queue and nothing is wrong with it.

        :param needed: whether a route leads to the queue.
        """
        key = STORE_FILE if self._at(STORE_FILE) else STORE
        place = self._at(key)
        try:
            if place is not None:
                address = self._given(key, place)
            else:
                address = store.SQLITE + store.DEFAULT_FILE if needed else self._left_over()
            return store.usable(address, self._root, self.report) if address else None
        except WrongValueError as error:
            why = "" if place else ", and smtp_forward.ini leads mail to the outbound queue"
            message = error.message + why
            self.report.add(place or Place(self.path), key, message, error.remedy)
            return None

    def _given(self, key: str, place: Place) -> str | None:
        """What the file says; ``None`` where that is wrong, and reported."""
        value = self.reading.values[MAIN][key]
        if key == STORE or value is None:
            return None if value is None else str(value)
        other = self._at(STORE)
        if other is not None:
            message = f"{STORE} is set as well, on line {other.line}"
            raise WrongValueError(message, "only one of the two")
        full = os.path.join(self._root, str(value))
        self.report.reads(full)
        return read_secret(full, "the address alone")

    def _left_over(self) -> str | None:
        """The default store, where no route leads to the queue but it may hold mail."""
        file = store.DEFAULT_FILE
        folder = os.path.dirname(file)
        if os.path.exists(file):
            if os.access(file, os.W_OK):
                return store.SQLITE + file
            self.report.warn(NOT_WRITABLE.format(file))
        elif os.path.lexists(self.path):
            if os.path.isdir(folder):
                return store.SQLITE + file
            # One that says nothing, such as an example that was not touched, misses nothing.
            if self.reading.places:
                self.report.warn(WITHOUT_EFFECT.format(FILE, folder))
        return None

    def outbound(self, address: str | None) -> Outbound | None:
        """All of it; what is wrong is reported, also where there is no queue."""
        main: Values = dict(self.reading.values[MAIN])
        main = dict(credentials.with_password(main, self._at, self._root, self.report))
        smart_host, direct = self._smart_host(main), self._direct(main)
        if address is None:
            return None
        return Outbound(
            store=address,
            pool_concurrency_max=main["pool_concurrency_max"] or main["concurrency_max"],
            intervals=intervals(main),
            inet_prefer="v6" if main["inet_prefer"] == "v6" else "v4",
            smart_host=smart_host,
            direct=direct,
            nameservers=main["nameservers"] or (),
            **{key: main[key] for key in AS_THEY_ARE},
        )

    def _direct(self, main: Values) -> NextHop:
        tls = backends.POLICIES[main["enable_tls"]]
        helo = main["bind_helo"] or self.me
        server = Server("", main["mx_port"], helo, main["bind"], tls=tls)
        return NextHop((server,), backends.timeouts(main), _bounds(main))

    def _smart_host(self, main: Values) -> NextHop | None:
        credentials.check(main, self._at, self.report)
        given = main["smart_host"]
        if given is None:
            self._check_no_login()
            return None
        values = {**main, "forwarding_host_pool": (given,), "port": None}
        servers = backends.build(values, self.me, self.client_tls)
        for key, message, remedy in backends.contradictions(servers, values):
            place = self._at(key) or self._at("smart_host") or Place(self.path)
            self.report.add(place, key, message, remedy)
        return NextHop(servers, backends.timeouts(main), _bounds(main))

    def _check_no_login(self) -> None:
        """A login is the smart host's, and the servers of others are shown none."""
        for key in credentials.KEYS:
            place = self._at(key)
            # A smart host that is wrong is reported already.
            if place and not self._at("smart_host"):
                message = "smart_host is not set, and MX hosts are shown no login"
                self.report.add(place, key, message, "smart_host=HOST:PORT, or no auth_*")
                return

    @property
    def _root(self) -> str:
        return os.path.dirname(self.path)

    def _at(self, key: str) -> Place | None:
        """Where ``key`` is set."""
        return self.reading.places.get((MAIN, key))


def _bounds(main: Values) -> PoolBounds:
    most = main["concurrency_max"]
    # A destination's messages are not more than that at once, and each has its own time to connect.
    return PoolBounds(most, main["timeout"], main["max_age"], main["max_messages"], most)
