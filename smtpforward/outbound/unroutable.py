"""Why mail for a domain has nowhere to go: each reason with its reply (RFC 3463), in one place.

Permanent (5yz) is what the domain's owner has said, or has to change; temporary (4yz) what the DNS
may yet say.
"""

from collections.abc import Iterable

from smtpforward.reply import Reply

MOST_NAMES = 3


class Unroutable(Exception):  # noqa: N818 -- it says what was found
    """There is no host to send to.

    :ivar reply: ours, as a server would give it at RCPT: 4yz or 5yz, with an enhanced status code.
    """

    def __init__(self, code: int, status: str, text: str) -> None:
        Exception.__init__(self, f"{code} {status} {text}")
        self.reply = Reply(code, (f"{status} {text}".encode("ascii", "backslashreplace"),))


def no_such_domain(domain: str) -> Unroutable:
    """NXDOMAIN."""
    return Unroutable(550, "5.1.2", f"there is no domain {domain}")


def takes_no_mail(domain: str) -> Unroutable:
    """A null MX (RFC 7505)."""
    return Unroutable(556, "5.1.10", f"{domain} takes no mail: it has a null MX")


def no_address(domain: str) -> Unroutable:
    """Neither MX nor A nor AAAA."""
    return Unroutable(550, "5.4.4", f"{domain} has neither a mail server nor an address")


def loops(domain: str) -> Unroutable:
    """The best mail server is this one (RFC 5321 5.1)."""
    return Unroutable(550, "5.4.6", f"mail for {domain} loops back to this server")


def private(domain: str, addresses: Iterable[str]) -> Unroutable:
    """All that the domain's servers have are addresses that mean something else here."""
    text = f"the mail servers of {domain} have private addresses only, and local_mx_ok=false"
    return Unroutable(550, "5.4.4", f"{text}: {_some(addresses)}")


def lookup_failed(domain: str, name: str, why: str) -> Unroutable:
    """The DNS gives no answer."""
    of = "" if name == domain else f" of its mail server {name}"
    return Unroutable(451, "4.4.3", f"looking up {domain}: the DNS has no answer{of}: {why}")


def hosts_unknown(domain: str, names: Iterable[str]) -> Unroutable:
    """There are MX hosts, and none of them has an address."""
    return Unroutable(451, "4.4.4", f"no mail server of {domain} has an address: {_some(names)}")


def _some(names: Iterable[str]) -> str:
    all_of_them = list(names)
    return ", ".join(all_of_them[:MOST_NAMES]) + ", ..." * (len(all_of_them) > MOST_NAMES)
