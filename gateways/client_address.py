"""What counts as one client of a server, for limits of one client: its address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address


def ip_address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a socket or a header names, without its zone; of IPv4 in IPv6 that of IPv4. None: it is none."""
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def client_of(address: IPv4Address | IPv6Address | None) -> str:
    """Of IPv6 the network of 64 bits, which one machine may have to itself; all without an address are one client."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address or "")
