"""Passwords and sessions."""

from __future__ import annotations

import pytest

from radanon_node.errors import ConfigError
from radanon_node.settings import UserSettings
from radanon_node.web.auth import Sessions, check_password, hash_password

HASHED = hash_password("correct horse battery")
USERS = [UserSettings(name="anna", role="reviewer", password_hash=HASHED)]
KEY = bytes(32)


def test_a_hash_is_salted_and_checks() -> None:
    assert hash_password("correct horse battery") != HASHED
    assert check_password("correct horse battery", HASHED)
    assert not check_password("correct horse batterz", HASHED)


@pytest.mark.parametrize("hashed", ["", "plain", "scrypt$1$2$3$x", "md5$1$2$3$AA==$AA==", "scrypt$a$b$c$AA==$AA=="])
def test_what_is_no_hash_is_a_config_error(hashed: str) -> None:
    with pytest.raises(ConfigError):
        check_password("x", hashed)


def test_a_session_lasts_and_cannot_be_forged() -> None:
    sessions = Sessions(KEY, USERS)
    cookie = sessions.log_in("anna", "correct horse battery", "1.2.3.4")
    assert cookie is not None
    assert sessions.user(cookie) == USERS[0]
    assert sessions.user(cookie + "x") is None
    assert sessions.user(None) is None
    assert Sessions(bytes(31) + b"1", USERS).user(cookie) is None
    assert Sessions(KEY, []).user(cookie) is None


def test_guessing_is_stopped_for_that_address_alone() -> None:
    sessions = Sessions(KEY, USERS)
    for _ in range(5):
        assert sessions.log_in("anna", "wrong", "1.2.3.4") is None
    assert sessions.log_in("anna", "correct horse battery", "1.2.3.4") is None
    assert sessions.log_in("anna", "correct horse battery", "1.2.3.5") is not None
