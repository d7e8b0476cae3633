"""One HTTP request with a deadline that holds however slowly the other side speaks. Follows no redirect, no proxy."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from critica.rewards.judge_base import JudgeTrouble

LONGEST = 4 << 20  # bytes of an answer
TRY_AGAIN = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: the parts of `http://host:port/base`."""

    secure: bool
    host: str
    port: int
    base: str

    @classmethod
    def read(cls, url: str) -> "Address":
        """The parts of a URL. Raises ValueError for another scheme, or one that holds a password or a query."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url.partition('@')[2] or url!r} is no http:// or https:// address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a judge's address holds no user, password, query or fragment: it is saved with the run")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))

    @property
    def loopback(self) -> bool:
        """Whether it is this machine."""
        return self.host in ("localhost", "::1") or (
            self.host.startswith("127.") and self.host.replace(".", "").isdigit()
        )

    @property
    def url(self) -> str:
        """Written out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.base}"


def post(address: Address, path: str, content: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> str:
    """POST JSON; returns the text of the answer. Raises `JudgeTrouble` for anything but status 2xx."""
    end = time.monotonic() + seconds
    kind = http.client.HTTPSConnection if address.secure else http.client.HTTPConnection
    connection = kind(address.host, address.port, timeout=seconds)
    cut = threading.Timer(seconds, lambda: None)
    try:
        connection.connect()
        cut = threading.Timer(max(0.0, end - time.monotonic()), _hang_up, [connection.sock])
        cut.daemon = True
        cut.start()
        body = json.dumps(content).encode()
        connection.request("POST", address.base + path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        raw = response.read(LONGEST + 1)
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= end:
            raise JudgeTrouble(f"had not answered after {seconds:g} s", again=True) from error
        raise JudgeTrouble(f"could not be asked ({type(error).__name__}: {error})", again=True) from error
    finally:
        cut.cancel()
        connection.close()
    if time.monotonic() >= end:  # cut off: what was read may not be all
        raise JudgeTrouble(f"had not answered after {seconds:g} s", again=True)
    if len(raw) > LONGEST:
        raise JudgeTrouble(f"answered with more than {LONGEST >> 20} MiB")
    text, wait = raw.decode(errors="replace"), response.getheader("Retry-After") or ""
    if not 200 <= response.status < 300:
        again = response.status in TRY_AGAIN or response.status >= 500
        shown = " ".join(text[:200].split())
        raise JudgeTrouble(f"answered with status {response.status}: {shown}", again, _seconds(wait))
    return text


def _hang_up(held: socket.socket) -> None:
    with contextlib.suppress(OSError):
        held.shutdown(socket.SHUT_RDWR)


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
