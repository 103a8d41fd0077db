"""Who may train: whoever sits at the machine that serves the page, or is signed in to it.

A peer on the loopback interface is not enough: a reverse proxy, a tunnel and a page of another site that is open in the
operator's browser all arrive from 127.0.0.1. So what they add is looked at too, and refused where it is there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gradio.utils import get_space

from playground import zero_gpu

FORWARDED = (
    *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server", "x-real-ip"),
    *("cf-connecting-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "x-original-host", "x-envoy-external-address"),
)  # fmt: skip
ELSEWHERE = (
    "Training is for the operator of this page: open it on the machine that serves it, at http://127.0.0.1, or sign in "
    "where it was started with accounts."
)
ON_A_SPACE = (
    "Training is off on a Space, where a process that computes for minutes has no place; run the playground on your own "
    "machine to train, and bring the head here."
)


def refusal(visitor: Any) -> str | None:
    """Why this visitor (a gr.Request) may not train, in one sentence, or None."""
    if zero_gpu.present() or get_space():
        return ON_A_SPACE
    if getattr(visitor, "username", None):
        return None
    return None if at_the_machine(_host(visitor), getattr(visitor, "headers", {})) else ELSEWHERE


def at_the_machine(peer: str, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a browser on this machine, by its own page, through nothing.

    The server's name in `Host` must be a loopback one, so that neither a tunnel nor a foreign name that resolves to
    127.0.0.1 passes; `Origin`, where there is one, must be too.
    """
    named = {name.lower(): value for name, value in headers.items()}
    if not loopback(peer) or any(name in named for name in FORWARDED):
        return False
    if not loopback(urlsplit(f"//{named.get('host', '')}").hostname or ""):
        return False
    return "origin" not in named or loopback(urlsplit(named["origin"]).hostname or "")


def loopback(host: str) -> bool:
    """Whether `host` names this machine to itself: localhost, 127.0.0.0/8, ::1."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _host(visitor: Any) -> str:
    client = getattr(visitor, "client", None)
    return str(getattr(client, "host", "") or "")
