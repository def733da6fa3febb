"""Who may talk to the studio: pure ASGI middleware that every request and every websocket passes.

- Host must be a name of this machine, against DNS rebinding, and Origin must be the address that the browser itself
  asked for, against requests from pages of other sites. Any port will do, so `ssh -L` works.
- A random token, compared in constant time, is exchanged for a cookie (HttpOnly, SameSite=Strict) on the first visit.
- What changes something must be JSON, which another site cannot send without a preflight, which is never granted.
- A strict Content-Security-Policy with Trusted Types: no inline script or style, no other host, no HTML from strings.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 8 << 20  # a selection of 50,000 files fits
COOKIE_DAYS = 30
_READING = frozenset({"GET", "HEAD"})
_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_LOGIN = (
    "This studio needs its token: open the address that 'cllm studio' printed, with ?token=... at its end.\n"
    "'cllm studio' in the same directory prints it again.\n"
)


def hostname_of(netloc: str) -> str | None:
    """The hostname of a Host header or of an Origin's host part, in lower case and without brackets."""
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets through what has the right Host, Origin, token and content type; adds the headers to every answer."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str] = frozenset()) -> None:
        self._app, self._token, self._hosts = app, token, hosts
        # Cookies do not distinguish ports: two studios on one host must not overwrite each other's.
        self.cookie = f"cllm-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await self._refuse(scope, send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif (location := self._login(scope)) is not None:
            await self._redirect(send, location)
        else:
            await self._app(scope, _limited(receive), _with_headers(send))

    # ---- decisions ------------------------------------------------------------------------------------------------

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = _headers(scope)
        host = hostname_of(headers.get("host", ""))
        if host is None or not self._is_ours(host):
            return 421, "this address is not one of the studio's: use localhost, or start it with --host"
        origin = headers.get("origin")
        changes = scope["type"] == "http" and scope["method"] not in _READING
        if (scope["type"] == "websocket" or changes) and origin is None:
            return 403, "a request that changes something must say its origin"
        if origin is not None:
            # With the port: a page of another program on this machine is another site too.
            scheme, _, netloc = origin.partition("://")
            if scheme not in ("http", "https") or netloc.lower() != headers["host"].lower():
                return 403, "this request comes from a page of another site"
        if headers.get("sec-fetch-site") == "cross-site" and not (scope["type"] == "http" and _is_navigation(headers)):
            return 403, "this request comes from a page of another site"
        if not self._is_known(scope, headers):
            return 401, _LOGIN
        if changes and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "send JSON (content type application/json)"
        if changes and int(headers.get("content-length", "0") or 0) > MOST_BODY_BYTES:
            return 413, f"too long: at most {MOST_BODY_BYTES >> 20} MiB"
        return None

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or host in self._hosts

    def _is_known(self, scope: Scope, headers: dict[str, str]) -> bool:
        # By hand: http.cookies gives up at the first cookie of another local program that it does not like.
        cookies = dict(part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";"))
        if self._is_token(cookies.get(self.cookie, "")):
            return True
        return _may_log_in(scope) and self._is_token(_query(scope).get("token", ""))

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _login(self, scope: Scope) -> str | None:
        """Where to send a browser that has just shown the token: the same page, without it in the address."""
        query = _query(scope)
        if not _may_log_in(scope) or "token" not in query:
            return None
        del query["token"]
        path: str = "/" + scope["path"].lstrip("/")  # "//host" would lead to another site
        return path + (f"?{urlencode(query)}" if query else "")

    # ---- answers --------------------------------------------------------------------------------------------------

    async def _redirect(self, send: Send, location: str) -> None:
        cookie = f"{self.cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_DAYS * 86_400}"
        headers = [(b"location", location.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        await _with_headers(send)({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, scope: Scope, send: Send, status: int, text: str) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
            return
        is_page = _is_navigation(_headers(scope))
        body = text.encode() if is_page else json.dumps({"error": text.strip()}).encode()
        kind = b"text/plain; charset=utf-8" if is_page else b"application/json"
        await _with_headers(send)(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}
        )
        await send({"type": "http.response.body", "body": body})


def _may_log_in(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"] == "GET")


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def _is_navigation(headers: dict[str, str]) -> bool:
    return headers.get("sec-fetch-mode") == "navigate" or "text/html" in headers.get("accept", "")


def _limited(receive: Receive) -> Receive:
    """The same, but a body that is longer than it may be ends as if the client had left."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > MOST_BODY_BYTES else message

    return limited


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending
