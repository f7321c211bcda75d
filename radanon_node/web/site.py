"""What all pages share: who asks, what they may, templates, form tokens, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.templating import Jinja2Templates

import radanon_node
from radanon_node.ledger.ledger import Ledger
from radanon_node.reasons import REASON_HELP
from radanon_node.settings import Config
from radanon_node.web.auth import Role, Session, Sessions, is_proxy
from radanon_node.web.charts import number, seconds_text
from radanon_node.web.refusals import Refusals
from radanon_node.web.viewer import Viewer

HERE = Path(__file__).parent
COOKIE = "radanon_session"
Handler = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


class Site:
    """One node's pages in common.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    key : bytes
        The node's key; signs cookies and form tokens.
    """

    def __init__(self, config: Config, ledger: Ledger, key: bytes) -> None:
        self.config, self.ledger = config, ledger
        self.sessions = Sessions(key, config.web)
        self.viewer = Viewer(config)
        self.refusals = Refusals(ledger.record_act)
        self._templates = Jinja2Templates(HERE / "templates")
        self._templates.env.filters.update(time=clock, age=seconds_text, number=number)

    def address(self, request: Request) -> str:
        """Where a request comes from; behind the trusted proxy, where the proxy says."""
        address = request.client.host if request.client else ""
        if is_proxy(self.config.web.proxy, address):
            return request.headers.get("x-forwarded-for", address).rpartition(",")[2].strip()[:64] or address
        return address

    def session(self, request: Request) -> Session | None:
        """Who asks, or None."""
        direct = request.client.host if request.client else ""
        return self.sessions.vouched(request.headers, direct) or self.sessions.session(request.cookies.get(COOKIE))

    def guard(self, role: Role, handler: Handler) -> Handler:
        """`handler` for users of at least `role`; others are sent to the log-in, or told that they may not."""

        async def guarded(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                if request.method != "GET":
                    raise HTTPException(403, "Your log-in has ended. Log in again and repeat what you did.")
                return RedirectResponse("/login?next=" + quote(request.url.path), 303)
            if not session.may(role):
                raise HTTPException(403, f"This page needs the role {role}; you have {session.role}.")
            request.state.session = session
            return await handler(request)

        return guarded

    def who(self, request: Request) -> str:
        """The name that the audit trail is given."""
        session: Session = request.state.session
        return session.name

    async def form(self, request: Request) -> FormData:
        """The fields of a form of our own; HTTPException 403 if its token is not this session's."""
        form = await request.form(max_files=0, max_fields=200)
        if not self.sessions.is_token(request.state.session, str(form.get("csrf", ""))):
            raise HTTPException(403, "The form is not of this session. Load the page again and repeat what you did.")
        return form

    def page(self, request: Request, name: str, status_code: int = 200, **values: Any) -> Response:
        """A page from its template."""
        session = self.session(request)
        context = {
            "session": session, "can_log_in": any(user.password_hash for user in self.config.web.auth),
            "csrf": self.sessions.token(session) if session else "", "version": radanon_node.__version__, "help": REASON_HELP,
            "path": request.url.path, **values,
        }  # fmt: skip
        answer = self._templates.TemplateResponse(request, name, context, status_code=status_code)
        if session is not None and session.started and request.cookies.get(COOKIE):
            self.set_cookie(request, answer, session)
        return answer

    def set_cookie(self, request: Request, answer: Response, session: Session) -> None:
        """Give the browser the session's cookie, its idle time begun anew."""
        direct = request.client.host if request.client else ""
        secure = request.url.scheme == "https" or (
            is_proxy(self.config.web.proxy, direct) and request.headers.get("x-forwarded-proto") == "https")
        answer.set_cookie(COOKIE, self.sessions.cookie(session), max_age=int(self.config.web.session), httponly=True, samesite="strict",
                          secure=secure)


async def threaded(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run what blocks (ledger, viewer) beside the event loop."""
    return await run_in_threadpool(call, *arguments, **named)


def clock(seconds: float | None) -> str:
    """A time as the pages show it (UTC)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


class Handlers:
    """Request handlers of a group of pages.

    Parameters
    ----------
    site : Site
    """

    def __init__(self, site: Site) -> None:
        self._site = site
