"""A set of addresses and CIDR networks, asked once for each connection."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPV4_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def network(text: str) -> IPNetwork:
    """The address or network that is meant; ``ValueError`` for what is none.

    An IPv4-mapped one comes as IPv4: addresses are compared in that form.
    """
    found = ipaddress.ip_network(text)
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(IPV4_MAPPED):
        prefix = found.prefixlen - IPV4_MAPPED.prefixlen
        return ipaddress.IPv4Network((int(found.network_address) & 0xFFFFFFFF, prefix))
    return found


class Networks:
    """Which addresses are in one of the given networks.

    A look-up costs one set access for each prefix length in use, however long the list is.
    """

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        self._by_prefix: dict[tuple[int, int], set[int]] = {}
        # The same clients come again and again.
        self._holds = lru_cache(maxsize=4096)(self._look_up)
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            known = self._by_prefix.setdefault((network.version, shift), set())
            known.add(int(network.network_address) >> shift)

    def __reduce__(self) -> "tuple[type[Networks], tuple[()], object]":
        """What a worker process gets of it: not the answers known so far."""
        return Networks, (), self._by_prefix

    def __setstate__(self, state: dict[tuple[int, int], set[int]]) -> None:
        """See :meth:`__reduce__`."""
        self._by_prefix.update(state)

    def __contains__(self, ip: object) -> bool:
        """Whether ``ip`` (text) is inside; an IPv4-mapped IPv6 address counts as IPv4."""
        return self._holds(ip)

    def _look_up(self, ip: object) -> bool:
        try:
            address = ipaddress.ip_address(str(ip).partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        number = int(address)
        return any(
            version == address.version and number >> shift in known
            for (version, shift), known in self._by_prefix.items()
        )

    def joined(self, other: "Networks") -> "Networks":
        """What is in one of the two."""
        both = Networks()
        for one in (self, other):
            for key, known in one._by_prefix.items():
                both._by_prefix.setdefault(key, set()).update(known)
        return both

    def overlap(self, other: "Networks") -> str:
        """The narrower of two networks that share addresses, one in each set, or nothing."""
        return self._inside(other) or other._inside(self)

    def _inside(self, other: "Networks") -> str:
        """One of ours that is wholly in one of theirs: networks overlap in no other way."""
        for (version, shift), numbers in self._by_prefix.items():
            for (of, wider), known in other._by_prefix.items():
                if of == version and wider >= shift:
                    for number in numbers:
                        if number >> (wider - shift) in known:
                            return _text(version, number, shift)
        return ""

    def __len__(self) -> int:
        """How many networks, each counted once."""
        return sum(map(len, self._by_prefix.values()))

    def __bool__(self) -> bool:
        return bool(self._by_prefix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._by_prefix == other._by_prefix

    def __hash__(self) -> int:
        return hash(frozenset(self._by_prefix))


def _text(version: int, number: int, shift: int) -> str:
    if version == 4:
        return str(ipaddress.IPv4Network((number << shift, 32 - shift)))
    return str(ipaddress.IPv6Network((number << shift, 128 - shift)))
