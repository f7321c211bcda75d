"""The pages: counts for everybody who may see the port, quarantine and deliveries after log-in; health and metrics for monitoring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

import radanon_node
from radanon_node.errors import StorageError
from radanon_node.ledger.ledger import Ledger
from radanon_node.reasons import REASON_HELP
from radanon_node.settings import Config, UserSettings
from radanon_node.status import full_status
from radanon_node.web.auth import SESSION_SECONDS, Sessions
from radanon_node.web.metrics import exposition

_HERE = Path(__file__).parent
_COOKIE = "radanon_session"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE_ROWS = 200


class Pages:
    """The request handlers of one node.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    key : bytes
        The node's key; signs the session cookies.
    """

    def __init__(self, config: Config, ledger: Ledger, key: bytes) -> None:
        self._config, self._ledger = config, ledger
        self._sessions = Sessions(key, config.web.auth)
        self._templates = Jinja2Templates(_HERE / "templates")

    def app(self) -> Starlette:
        routes = [
            Route("/", self.overview),
            Route("/status.json", self.status_json),
            Route("/quarantine", self.quarantine),
            Route("/deliveries", self.deliveries),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]
        if self._config.metrics.enabled:
            routes.append(Route("/metrics", self.metrics))
        app = Starlette(routes=routes, exception_handlers={StorageError: _unavailable})
        app.add_middleware(BaseHTTPMiddleware, dispatch=_secure)
        return app

    async def overview(self, request: Request) -> Response:
        return self._page(request, "overview.html", status=await self._status())

    async def status_json(self, request: Request) -> Response:
        return JSONResponse(await self._status())

    async def quarantine(self, request: Request) -> Response:
        if self._user(request) is None:
            return RedirectResponse("/login", 303)
        entries = await run_in_threadpool(self._ledger.quarantine_list, limit=_PAGE_ROWS)
        return self._page(request, "quarantine.html", entries=entries, help=REASON_HELP)

    async def deliveries(self, request: Request) -> Response:
        if self._user(request) is None:
            return RedirectResponse("/login", 303)
        entries = await run_in_threadpool(self._ledger.deliveries_list, limit=_PAGE_ROWS)
        return self._page(request, "deliveries.html", entries=entries)

    async def login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._page(request, "login.html", failed=False)
        form = await request.form()
        address = request.client.host if request.client else ""
        cookie = await run_in_threadpool(self._sessions.log_in, str(form.get("name", "")), str(form.get("password", "")), address)
        if cookie is None:
            return self._page(request, "login.html", failed=True, status_code=403)
        answer = RedirectResponse("/", 303)
        secure = self._config.web.tls is not None
        answer.set_cookie(_COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
        return answer

    async def logout(self, request: Request) -> Response:
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(_COOKIE)
        return answer

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """200 while the ledger answers and the disk is above its floor, else 503 and why."""
        disk = (await self._status())["disk"]
        if disk["free"] < disk["min_free"]:
            return PlainTextResponse("disk below listener.min_free_disk\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(self, request: Request) -> Response:
        return Response(exposition(await self._status()), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _status(self) -> dict[str, Any]:
        return await run_in_threadpool(full_status, self._config, self._ledger)

    def _user(self, request: Request) -> UserSettings | None:
        return self._sessions.user(request.cookies.get(_COOKIE))

    def _page(self, request: Request, name: str, status_code: int = 200, **values: Any) -> Response:
        context = {"user": self._user(request), "users": bool(self._config.web.auth), "version": radanon_node.__version__, **values}
        return self._templates.TemplateResponse(request, name, context, status_code=status_code)


async def _secure(request: Request, handle: Callable[[Request], Awaitable[Response]]) -> Response:
    """Security headers on every answer; forms only from our own pages (the cookie is SameSite=Strict besides)."""
    origin = request.headers.get("origin")
    if request.method == "POST" and origin is not None and origin.split("//", 1)[-1] != request.headers.get("host"):
        return PlainTextResponse("cross-site request refused\n", 403)
    answer = await handle(request)
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


async def _unavailable(request: Request, error: Exception) -> Response:
    return PlainTextResponse("the ledger does not answer\n", 503)


def serve(config: Config, ledger: Ledger, key: bytes, stopped: Callable[[], bool]) -> None:
    """Serve the pages until `stopped` says so (asked twice a second)."""
    web = config.web
    app = Pages(config, ledger, key).app()
    settings = uvicorn.Config(
        app, web.host, web.port, log_config=None, access_log=False, server_header=False,
        ssl_certfile=str(web.tls.certificate) if web.tls else None,
        ssl_keyfile=str(web.tls.private_key) if web.tls else None,
    )  # fmt: skip
    _Server(settings, stopped).run()


class _Server(uvicorn.Server):
    """uvicorn that ends when the node does; signals belong to the node's parent process."""

    def __init__(self, config: uvicorn.Config, stopped: Callable[[], bool]) -> None:
        super().__init__(config)
        self._stopped = stopped

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0 and self._stopped():
            self.should_exit = True
        return await super().on_tick(counter)
