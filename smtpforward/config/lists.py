"""``me``, and the files that hold one entry a line: domains, expressions, networks.

Rules: a bad line is a problem, the others are read on. Each expression of ``host_list_regex``
stands for whole domains, in any case of letters. A network with bits beyond its prefix is a
problem: its writer meant either less or more, and one of the two lets a stranger relay.
"""

import ipaddress
import re
from collections.abc import Callable

from smtpforward.config import names
from smtpforward.config.files import entries
from smtpforward.config.networks import Networks, network
from smtpforward.config.problems import Place, Report, shown

# Joined with others, a numbered or named group, or flags for all of it, would mean something else.
UNJOINABLE = re.compile(r"\\[1-9]|\(\?(?:P[<=]|\(|[aiLmsux]+\))")


def read_me(path: str, hostname: Callable[[], str], report: Report) -> tuple[str, bool]:
    """This host's name, from the file or else the system; and whether the file gave it."""
    lines = list(entries(path, report))
    if len(lines) > 1:
        report.add(lines[1][0], None, "a second name", "one name only")
    place, text = lines[0] if lines else (Place(path), hostname())
    try:
        return names.host_name(text), bool(lines)
    except ValueError:
        source = "" if lines else ", the name that the system gives this host,"
        message = f"{shown(text)}{source} is no host name"
        report.add(place, None, message, "a line such as mail.example.com")
        return "localhost", bool(lines)


def read_hosts(path: str, report: Report) -> frozenset[str]:
    """The domains of ``host_list``."""
    found = set()
    for place, entry in entries(path, report):
        try:
            found.add(names.domain(entry))
        except ValueError:
            report.add(place, None, f"{shown(entry)} is no domain", "a domain such as example.com")
    return frozenset(found)


def read_host_pattern(path: str, report: Report) -> re.Pattern[str] | None:
    """The lines of ``host_list_regex`` as one expression that matches whole domains."""
    good = []
    for place, entry in entries(path, report):
        try:
            re.compile(entry)
        except (re.error, OverflowError, RecursionError) as error:
            message = f"{shown(entry)} is no regular expression: {error}"
            report.add(place, None, message, r"one such as .*\.example\.com")
            continue
        if UNJOINABLE.search(entry):
            message = f"{shown(entry)} has a back reference, a named group or a global flag"
            report.add(place, None, message, "an expression without them")
        else:
            good.append(f"(?:{entry})")
    return re.compile(rf"\A(?:{'|'.join(good)})\Z", re.IGNORECASE) if good else None


def read_relays(path: str, report: Report) -> Networks:
    """The networks of ``relay_acl_allow``."""
    found = []
    for place, entry in entries(path, report):
        try:
            found_network = network(entry)
        except ValueError:
            message = f"{shown(entry)} is no address or network"
            report.add(place, None, message, _network_remedy(entry))
            continue
        if found_network.prefixlen == 0:
            report.warn(f"{place}: {found_network} lets every host relay to every domain")
        found.append(found_network)
    return Networks(found)


def _network_remedy(entry: str) -> str:
    try:
        meant = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return "one such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
    return f"{meant} for the network, {entry.partition('/')[0]} for the address"
