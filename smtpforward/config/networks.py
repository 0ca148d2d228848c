"""A set of addresses and CIDR networks, asked once for each connection."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


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

    def __len__(self) -> int:
        """How many networks, each counted once."""
        return sum(map(len, self._by_prefix.values()))

    def __bool__(self) -> bool:
        return bool(self._by_prefix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._by_prefix == other._by_prefix

    def __hash__(self) -> int:
        return hash(frozenset(self._by_prefix))
