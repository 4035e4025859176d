"""Who we are to a hub: the password in its address, or a token that is meant for it.

HF_TOKEN    set for the hub that HF_ENDPOINT names, as the hub's own tools understand it
token file  what logging in at huggingface.co left; for that host alone
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import urllib.request

import httpx2 as httpx

from ondevice.domain.download import DownloadNotice
from ondevice.domain.text import clean_line
from ondevice.hub.local import token_file
from ondevice.hub.patience import Told

_LOGIN_HOST = "huggingface.co"


def shown_to(address: httpx.URL, token: str | None) -> str | None:
    """What the hub's own origin is shown: name and password of its address, or the token."""
    if address.userinfo:
        both = f"{address.username}:{address.password}".encode()
        return f"Basic {base64.b64encode(both).decode()}"
    return f"Bearer {token}" if token else None


def token_for(address: httpx.URL, told: Told) -> str | None:
    """The person's token, where it is meant for the hub at `address`; `told` hears where not."""
    if address.userinfo:
        return None
    host = clean_line(address.host, 80)
    if token := _usable(os.environ.get("HF_TOKEN")):
        here = _is_here(address.host)
        if address.scheme == "https" or (here and not _has_proxy(address.host)):
            return token
        goal = f"{host} through a proxy" if here else host
        told(DownloadNotice("token", f"HF_TOKEN is not sent to {goal}: http is not encrypted"))
        return None
    token = _usable(_of_login()) if "HF_TOKEN" not in os.environ else None
    if token is None or (address.scheme, address.host) == ("https", _LOGIN_HOST):
        return token
    goal = f"{address.scheme}://{host}"
    reason = f"the login at {_LOGIN_HOST} is not shown to {goal}; HF_TOKEN is for other hubs"
    told(DownloadNotice("token", reason))
    return None


def _of_login() -> str | None:
    """What the hub's own tools keep in a file."""
    if os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN") == "1":
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return token_file().read_text(encoding="utf-8")
    return None


def _usable(token: str | None) -> str | None:
    token = (token or "").strip()
    return token if token.isascii() and token.isprintable() and token else None


def _has_proxy(host: str) -> bool:
    """Whether http to `host` may go through a proxy, as NO_PROXY has neither that name nor `*`."""
    proxies = urllib.request.getproxies()  # where the client looks, too
    spared = {each.strip() for each in proxies.get("no", "").split(",")}
    return bool(proxies.get("http") or proxies.get("all")) and not spared & {"*", host}


def _is_here(host: str) -> bool:
    """Whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
