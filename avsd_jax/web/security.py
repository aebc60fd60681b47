"""Who is let in, and what a browser may do with what it gets.

Another page in the same browser must not use the server: by its own forms and scripts (CSRF: the request says where it
comes from), or by a name of its own that leads to this machine (DNS rebinding: only this machine's names are served).
Nothing that is served can run as a script but the files of `avsd_jax/web/static`.
"""

import hmac
import re
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from avsd_jax.web.settings import is_local

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
# One range: lists of them are read in quadratic time by some versions of Starlette, and no player asks for them.
_RANGE = re.compile(r"bytes=\d{0,18}-\d{0,18}")


class Guard:
    """Middleware: refuses requests from elsewhere or without the token, and adds `HEADERS` to every response.

    Args:
        app: what answers the others.
        token: what a browser must know, once as `?token=` and then as a cookie; None: nothing.
        local: whether only names of this machine are served.
    """

    def __init__(self, app: ASGIApp, token: str | None, local: bool):
        self._app, self._token, self._local = app, token, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":  # the start and the end of the server; there are no websockets
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(scope)
        if answer is None:
            scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"range" or _is_range(v)]
        await (answer or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._local and not is_local(_name(host)):
            return _refused(403, f"this server answers to names of its own machine alone, not to {host[:80]!r}")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        navigates = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        foreign = (origin is not None and urlsplit(origin).netloc != host) or site not in ("none", "same-origin")
        if foreign and not navigates:
            return _refused(403, "this request comes from another page")
        return None if self._token is None else self._token_missing(scope, headers)

    def _token_missing(self, scope: Scope, headers: Headers) -> Response | None:
        """Returns None if the cookie has the token, a redirection that sets it if the address has, else a refusal."""
        if _same(cookie_parser(headers.get("cookie", "")).get(_cookie_name(headers), ""), self._token):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = query.pop("token", [""])[0]
        if scope["method"] not in ("GET", "HEAD") or not _same(given, self._token):
            return _refused(401, "open the address that the server printed when it started: it ends with ?token=...")
        rest = urlencode(query, doseq=True)
        # Beginning with one slash: two would lead to another machine.
        answer = RedirectResponse("/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(
            _cookie_name(headers), self._token, httponly=True, samesite="lax", secure=scope.get("scheme") == "https"
        )
        return answer


def _is_range(value: bytes) -> bool:
    return bool(_RANGE.fullmatch(value.decode("latin-1").strip()))


def _name(host: str) -> str:
    """Returns the name in a Host header, without the port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0].lower()


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _cookie_name(headers: Headers) -> str:
    """Returns the name of the cookie: browsers give cookies to all ports of a machine, and each server has its own."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"avsd_jax_token_{port if port.isdecimal() else 80}"


def _refused(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status) if status == 401 else JSONResponse({"error": why}, status)
