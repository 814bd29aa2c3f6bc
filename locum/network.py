"""Where a server is found: URLs of hosts and ports, and which of them no proxy stands before.

A company's `HTTP_PROXY` is for other machines. What runs on this one is asked directly, whether or not `NO_PROXY` says
so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from locum.errors import BadInputError


def http_url(host: str, port: int) -> str:
    """The URL by which this machine reaches a server that listens on `host`: all addresses are met at loopback."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{host_and_port(here, port)}"


def host_and_port(host: str, port: int) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def on_loopback(url: str) -> bool:
    """Whether a URL is of this machine by its looks: `localhost`, 127.0.0.0/8, ::1, or an address that means all."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def proxy_of(url: str) -> str | None:
    """The HTTP proxy through which the environment wants a URL asked; None for a direct connection.

    Raises:
        BadInputError: it is a proxy of another kind.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if on_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or proxy.startswith(("http://", "https://")):
        return proxy
    kind, separator, _ = proxy.partition("://")
    if separator:
        raise BadInputError(
            f"{parts.hostname} is to be asked by a proxy of the kind {kind}, expected http",
            hint="HTTP_PROXY or HTTPS_PROXY names one; NO_PROXY names the hosts that are asked directly",
        )
    return f"http://{proxy}"


@contextmanager
def asked_directly(url: str) -> Iterator[None]:
    """Let libraries that make clients of their own ask a server on this machine directly, while this lasts."""
    names = ("no_proxy", "NO_PROXY") if on_loopback(url) else ()
    before = {name: os.environ.get(name) for name in names}
    host = urlsplit(url).hostname or ""
    exceptions = ",".join(filter(None, [*before.values(), host]))
    os.environ.update(dict.fromkeys(names, exceptions))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
