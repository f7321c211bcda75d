"""The web application of a node: the pages put together, security headers on every answer, the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from radanon_node.errors import StorageError
from radanon_node.ledger.ledger import Ledger
from radanon_node.settings import Config
from radanon_node.web.overview import Overview
from radanon_node.web.proposals import Proposals
from radanon_node.web.recalls import RecallPages
from radanon_node.web.reports import Reports
from radanon_node.web.review import ReviewPages
from radanon_node.web.site import HERE, Site

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # under no-referrer browsers send our own forms with the origin null
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FORM_BYTES = 2**20
_TICKS = 100  # of uvicorn, ten a second


class Pages:
    """The pages of one node.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    key : bytes
        The node's key; signs the session cookies.
    """

    def __init__(self, config: Config, ledger: Ledger, key: bytes) -> None:
        self.site = Site(config, ledger, key)

    def app(self) -> Starlette:
        parts = (Overview(self.site), ReviewPages(self.site), Proposals(self.site), RecallPages(self.site), Reports(self.site))
        routes = [*(route for part in parts for route in part.routes()), Mount("/static", StaticFiles(directory=HERE / "static"))]
        app = Starlette(routes=routes, exception_handlers={StorageError: _unavailable, HTTPException: self._refused})
        app.add_middleware(BaseHTTPMiddleware, dispatch=self._secure)
        return app

    def close(self) -> None:
        """End the process that opens pictures; note the refused log-ins that were only counted so far."""
        self.site.viewer.close()
        with suppress(StorageError):  # the ledger is down: the first refusal of each address is in it
            self.site.refusals.flush(all_of_them=True)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase.capitalize()
        if "text/html" not in request.headers.get("accept", "text/html"):
            return PlainTextResponse(f"{error.detail}\n", error.status_code)
        return self.site.page(request, "error.html", error.status_code, title=title, detail=error.detail)

    async def _secure(self, request: Request, handle: Callable[[Request], Awaitable[Response]]) -> Response:
        """Security headers on every answer; forms only from our own pages (the cookie is SameSite=Strict besides)."""
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin is not None and origin.split("//", 1)[-1] != request.headers.get("host"):
            return PlainTextResponse("cross-site request refused\n", 403)
        if request.method not in ("GET", "HEAD") and not 0 <= _length(request) <= _FORM_BYTES:
            return PlainTextResponse("no form of ours is so long, or without its length\n", 413)
        answer = await handle(request)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        if self.site.config.web.tls is not None:
            answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        return answer


def _length(request: Request) -> int:
    """Bytes that a request says it brings; -1 where it does not say."""
    told = request.headers.get("content-length", "")
    return int(told) if told.isdecimal() and len(told) < 12 else -1


async def _unavailable(request: Request, error: Exception) -> Response:
    return PlainTextResponse("the ledger does not answer\n", 503)


def serve(config: Config, ledger: Ledger, key: bytes, stopped: Callable[[], bool]) -> None:
    """Serve the pages until `stopped` says so (asked twice a second)."""
    web = config.web
    pages = Pages(config, ledger, key)
    # X-Forwarded-For is read by site.py, from the trusted proxy alone: uvicorn would believe it of the whole loopback.
    settings = uvicorn.Config(
        pages.app(), web.host, web.port, log_config=None, access_log=False, server_header=False, proxy_headers=False,
        ssl_certfile=str(web.tls.certificate) if web.tls else None,
        ssl_keyfile=str(web.tls.private_key) if web.tls else None,
    )  # fmt: skip
    try:
        _Server(settings, stopped, pages.site.refusals.flush).run()
    finally:
        pages.close()


class _Server(uvicorn.Server):
    """uvicorn that ends when the node does; signals belong to the node's parent process."""

    def __init__(self, config: uvicorn.Config, stopped: Callable[[], bool], now_and_then: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopped, self._now_and_then = stopped, now_and_then

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0 and self._stopped():
            self.should_exit = True
        if counter % _TICKS == 0:
            with suppress(StorageError):  # tried again the next time
                await run_in_threadpool(self._now_and_then)
        return await super().on_tick(counter)
