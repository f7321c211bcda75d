"""Passwords, sessions, roles, and what a proxy may say."""

from __future__ import annotations

from typing import Any

import pytest

from radanon_node.errors import ConfigError
from radanon_node.settings import ProxySettings, UserSettings, WebSettings
from radanon_node.web import auth
from radanon_node.web.auth import Session, Sessions, check_password, hash_password

HASHED = hash_password("correct horse battery")
ANNA = UserSettings(name="anna", role="reviewer", password_hash=HASHED)
KEY = bytes(32)


def sessions(key: bytes = KEY, users: tuple[UserSettings, ...] = (ANNA,), **more: Any) -> Sessions:
    return Sessions(key, WebSettings(auth=users, **more))


def test_a_hash_is_salted_and_checks() -> None:
    assert hash_password("correct horse battery") != HASHED
    assert check_password("correct horse battery", HASHED)
    assert not check_password("correct horse batterz", HASHED)


@pytest.mark.parametrize("hashed", ["", "plain", "scrypt$1$2$3$x", "md5$1$2$3$AA==$AA==", "scrypt$a$b$c$AA==$AA=="])
def test_what_is_no_hash_is_a_config_error(hashed: str) -> None:
    with pytest.raises(ConfigError):
        check_password("x", hashed)


def test_a_session_cannot_be_forged_or_taken_elsewhere() -> None:
    here = sessions()
    session = here.log_in("anna", "correct horse battery", "1.2.3.4")
    assert session is not None and (session.name, session.role) == ("anna", "reviewer")
    cookie = here.cookie(session)
    assert here.session(cookie) == session
    assert here.session(cookie + "x") is here.session(None) is here.session("") is None
    assert sessions(bytes(31) + b"1").session(cookie) is None
    assert sessions(users=()).session(cookie) is None


def test_a_changed_password_or_role_counts_at_once() -> None:
    here = sessions()
    session = here.log_in("anna", "correct horse battery", "1.2.3.4")
    assert session is not None
    other = ANNA.model_copy(update={"password_hash": hash_password("another password")})
    assert sessions(users=(other,)).session(here.cookie(session)) is None
    demoted = sessions(users=(ANNA.model_copy(update={"role": "viewer"}),)).session(here.cookie(session))
    assert demoted is not None and demoted.role == "viewer"


def test_sessions_end_by_age_by_idleness_and_by_logging_out(monkeypatch: pytest.MonkeyPatch) -> None:
    here = sessions(session=100.0, idle=40.0)
    session = here.log_in("anna", "correct horse battery", "1.2.3.4")
    assert session is not None
    clock = {"now": session.started}
    monkeypatch.setattr("time.time", lambda: clock["now"])
    cookie = here.cookie(session)
    clock["now"] += 39
    assert here.session(cookie) == session
    again = here.cookie(session)  # used: its idle time begins anew
    clock["now"] += 39
    assert here.session(cookie) is None and here.session(again) == session
    clock["now"] += 39
    assert here.session(here.cookie(session)) is None  # a hundred seconds are over
    clock["now"] = session.started
    here.end(session)
    assert here.session(here.cookie(session)) is None


def test_guessing_is_stopped_for_that_address_alone() -> None:
    here = sessions()
    for _ in range(5):
        assert here.log_in("anna", "wrong", "1.2.3.4") is None
    assert here.log_in("anna", "correct horse battery", "1.2.3.4") is None
    assert here.log_in("anna", "correct horse battery", "1.2.3.5") is not None


def test_roles_include_the_lower_ones() -> None:
    roles: tuple[auth.Role, ...] = ("viewer", "reviewer", "admin")
    may = {role: [Session("x", role, "1").may(asked) for asked in roles] for role in roles}
    assert may == {"viewer": [True, False, False], "reviewer": [True, True, False], "admin": [True, True, True]}


def test_form_tokens_belong_to_one_session() -> None:
    here = sessions()
    one, other = Session("anna", "reviewer", "1"), Session("anna", "reviewer", "2")
    assert here.is_token(one, here.token(one))
    assert not here.is_token(other, here.token(one)) and not here.is_token(one, "") and not here.is_token(one, "é")


def test_only_the_proxy_may_say_who_somebody_is() -> None:
    proxy = ProxySettings(addresses=("10.0.0.0/24",), role="viewer")
    named = UserSettings(name="boss", role="admin")
    here = sessions(users=(ANNA, named), proxy=proxy)
    says = {"x-remote-user": "boss"}
    assert here.vouched(says, "10.0.0.7") == Session("boss", "admin", "proxy boss")
    assert here.vouched({"x-remote-user": "somebody"}, "10.0.0.7") == Session("somebody", "viewer", "proxy somebody")
    for headers, address in ((says, "10.0.1.7"), (says, ""), (says, "x"), ({}, "10.0.0.7"), ({"x-remote-user": "a\nb"}, "10.0.0.7")):
        assert here.vouched(headers, address) is None
    assert sessions(users=(named,)).vouched(says, "10.0.0.7") is None
    closed = sessions(users=(named,), proxy=ProxySettings(addresses=("10.0.0.7",)))
    assert closed.vouched({"x-remote-user": "somebody"}, "10.0.0.7") is None


def test_a_user_without_a_password_cannot_log_in_with_one() -> None:
    here = sessions(users=(UserSettings(name="boss", role="admin"),))
    assert here.log_in("boss", "", "1.2.3.4") is None
    assert auth.is_proxy(None, "127.0.0.1") is False
