"""The pages over a real ledger: who sees what, forms, headers, figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from radanon_node import config as configuration
from radanon_node.errors import ConfigError, Reason
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, HeldItem, ReleasedItem, ReleaseRecord
from radanon_node.web.app import Pages
from radanon_node.web.auth import hash_password
from radanon_node.web.refusals import MOST, Refusals

HASHED = hash_password("correct horse battery")
RAW: dict[str, Any] = {
    "routes": [{"ae_title": "IN", "profile": "p", "destinations": ["archive"]}],
    "profiles": {"p": {}},
    "destinations": {"archive": {"host": "h", "port": 104, "ae_title": "A"}},
    "web": {"auth": [{"name": name, "role": role, "password_hash": HASHED}
                     for name, role in (("vera", "viewer"), ("rosa", "reviewer"), ("anna", "admin"))]},
}  # fmt: skip
VIEWER = ("/quarantine", "/deliveries", "/search", "/residual", "/report", "/report?from=2026-01-01&to=2026-12-31")
REVIEWER = ("/review", "/rules", "/recalls", "/recalls?found=1&same=device", "/recalls/1.csv", "/review/decisions",
            "/review/rules.yaml", "/review/1", "/review/1/before.png", "/review/1/result.json")
ADMIN = ("/settings",)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", bytes(32), Spool(tmp_path / "spool"))
    incoming = made.spool.begin(b"\0" * 132)
    incoming.seal()
    made.admit([Arrival(incoming.name, 132, "IN", "CANARYAE", "1.2.3", "9.8.7.6.5.4.3", "1.2.840.10008.1.2.1", 1.0)])
    (item,) = made.claim("test", 1, 60)
    made.finish([HeldItem(item.id, item.token, Reason.VIDEO, "MPEG-4", 3, 4)])
    yield made
    made.close()


def pages(ledger: Ledger, folder: Path, **web: Any) -> Pages:
    return Pages(configuration.parse({**RAW, "web": {**RAW["web"], **web}, "node": {"data_dir": str(folder)}}), ledger, bytes(32))


@pytest.fixture
def client(ledger: Ledger, tmp_path: Path) -> Iterator[TestClient]:
    made = pages(ledger, tmp_path)
    yield TestClient(made.app(), base_url="http://node", follow_redirects=False)
    made.close()


def log_in(client: TestClient, name: str = "vera", password: str = "correct horse battery", **more: str) -> Any:
    return client.post("/login", data={"name": name, "password": password, **more})


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/").text)
    assert found is not None
    return found[1]


def test_counts_are_shown_to_everybody_and_details_to_nobody_else(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    assert client.get("/status.json").json()["states"]["quarantined"] == 1
    for page in (*VIEWER, *REVIEWER, *ADMIN):
        answer = client.get(page)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login"), page


@pytest.mark.parametrize(("name", "allowed"), [("vera", VIEWER), ("rosa", VIEWER + REVIEWER), ("anna", VIEWER + REVIEWER + ADMIN)])
def test_each_role_sees_its_pages(client: TestClient, name: str, allowed: tuple[str, ...]) -> None:
    assert log_in(client, name).status_code == 303
    for page in (*VIEWER, *REVIEWER, *ADMIN):
        status = client.get(page).status_code
        assert (status != 403) if page in allowed else (status == 403), page


def test_no_page_carries_an_identity(client: TestClient) -> None:
    assert log_in(client, "vera", "wrong password").status_code == 403
    assert log_in(client, "anna").status_code == 303
    assert "MPEG-4" in client.get("/quarantine").text
    for path in ("/", "/status.json", "/metrics", *VIEWER, *REVIEWER, *ADMIN, "/search?q=9.8.7.6.5.4.3"):
        text = client.get(path).text.replace('value="9.8.7.6.5.4.3"', "")  # what was typed into the search stands in its field
        assert "CANARYAE" not in text and "9.8.7.6.5.4.3" not in text, path


def test_logging_out_ends_the_session(client: TestClient) -> None:
    log_in(client)
    cookie = client.cookies["radanon_session"]
    assert client.post("/logout", data={"csrf": "x"}).status_code == 403
    assert client.post("/logout", data={"csrf": token(client)}).status_code == 303
    client.cookies.set("radanon_session", cookie)
    assert client.get("/quarantine").status_code == 303


@pytest.mark.parametrize(
    ("target", "goes"), [("/review", "/review"), ("//evil/x", "/"), ("https://evil/", "/"), ("/\\evil", "/"), ("", "/")])
def test_after_the_log_in_one_stays_here(client: TestClient, target: str, goes: str) -> None:
    assert log_in(client, next=target).headers["location"] == goes


def test_forms_of_other_sites_and_without_a_token_are_refused(client: TestClient, ledger: Ledger) -> None:
    answer = client.post("/login", data={"name": "vera", "password": "correct horse battery"}, headers={"Origin": "http://evil"})
    assert answer.status_code == 403
    log_in(client, "anna")
    form = {"act": "pause", "reason": "maintenance"}
    assert client.post("/destinations/archive/pause", data=form).status_code == 403
    assert ledger.paused_destinations() == set()
    assert client.post("/destinations/archive/pause", data={**form, "csrf": token(client)}).status_code == 303
    assert ledger.paused_destinations() == {"archive"}
    assert "paused" in client.get("/").text
    assert client.post("/destinations/nowhere/pause", data={**form, "csrf": token(client)}).status_code == 404


def test_forms_are_bounded_before_anybody_has_logged_in(client: TestClient) -> None:
    assert client.post("/login", data={"name": "x" * (2**20)}).status_code == 413
    told = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/login", content=iter([b"name=x"]), headers=told).status_code == 413


def test_only_admins_pause_and_retry(client: TestClient, ledger: Ledger) -> None:
    log_in(client, "rosa")
    for path in ("/destinations/archive/pause", "/deliveries/retry"):
        assert client.post(path, data={"csrf": token(client), "act": "pause", "reason": "x", "destination": "archive"}).status_code == 403
    assert ledger.paused_destinations() == set()


def test_log_ins_are_audited_without_what_may_be_a_password(client: TestClient, ledger: Ledger) -> None:
    log_in(client, "my secret typed here")
    log_in(client, "vera", "wrong")
    log_in(client)
    assert [(entry.who, entry.action) for entry in ledger.audit_trail()] == [
        ("vera", "logged in"), ("vera", "log-in refused"), ("unknown", "log-in refused")]


def test_the_proxys_word_counts_from_its_address_alone(ledger: Ledger, tmp_path: Path) -> None:
    made = pages(ledger, tmp_path, proxy={"addresses": ["127.0.0.1"], "role": "viewer"})
    inside = TestClient(made.app(), base_url="http://node", follow_redirects=False, client=("127.0.0.1", 5))
    outside = TestClient(made.app(), base_url="http://node", follow_redirects=False, client=("10.9.9.9", 5))
    says = {"X-Remote-User": "rosa", "X-Forwarded-For": "192.0.2.7"}
    assert inside.get("/review", headers=says).status_code == 200
    assert inside.get("/review", headers={"X-Remote-User": "somebody"}).status_code == 403
    assert outside.get("/review", headers=says).status_code == 303
    inside.post("/login", data={"name": "vera", "password": "x"}, headers=says)
    outside.post("/login", data={"name": "vera", "password": "x"}, headers=says)
    assert [entry.reason for entry in ledger.audit_trail()] == ["from 10.9.9.9", "from 192.0.2.7"]


def test_headers_keep_the_page_to_itself(client: TestClient) -> None:
    for path in ("/", "/metrics", "/login", "/static/style.css", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    cookie = log_in(client).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


def test_no_page_needs_what_its_policy_forbids() -> None:
    """The content security policy allows no inline script, style or handler, and nothing from elsewhere."""
    folder = Path(__file__).parents[2] / "radanon_node" / "web"
    for path in [*folder.glob("templates/*.html"), *folder.glob("static/*")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|https?://|\beval\(", text), path.name


def test_a_report_is_made_for_viewers(client: TestClient) -> None:
    log_in(client, "anna")
    answer = client.get("/report?from=2026-01-01&to=2026-12-31&route=IN")
    assert answer.status_code == 200 and "De-identification report" in answer.text
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]
    for asked in ("from=2026-02-01&to=2026-01-01", "from=x&to=y", "from=2026-01-01&to=2026-01-02&route=NO", "from=2026-01-01"):
        assert client.get(f"/report?{asked}").status_code == 400


def test_settings_are_shown_without_secrets(client: TestClient) -> None:
    log_in(client, "anna")
    text = client.get("/settings").text
    assert "ae_title: IN" in text and HASHED not in text and "scrypt" not in text


def test_metrics_are_prometheus_text(client: TestClient) -> None:
    text = client.get("/metrics").text
    assert 'radanon_instances{route="IN",state="quarantined"} 1.0' in text
    assert 'radanon_destination_up{destination="archive"} 1.0' in text
    assert 'radanon_destination_paused{destination="archive"} 0.0' in text


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code in (200, 503)


def test_what_cannot_be_seen_cannot_be_released_on_its_page(client: TestClient, ledger: Ledger) -> None:
    log_in(client, "rosa")
    page = client.get("/review/1").text
    assert 'value="release"' not in page and 'value="drop"' in page
    answer = client.post("/review/1", data={"csrf": token(client), "decision": "release", "note": "please"})
    assert answer.status_code == 409
    assert client.post("/review/1", data={"csrf": token(client), "decision": "retry", "note": " "}).status_code == 400
    assert client.post("/review/1", data={"csrf": token(client), "decision": "bless", "note": "x"}).status_code == 400
    assert client.post("/review/1", data={"csrf": token(client), "decision": "retry", "note": "x", "edits": "{"}).status_code == 400
    assert client.post("/review/9", data={"csrf": token(client), "decision": "retry", "note": "x"}).status_code == 404
    assert ledger.quarantine_list()[0].state == "quarantined"


def test_a_drop_asks_first(client: TestClient, ledger: Ledger) -> None:
    log_in(client, "rosa")
    asked = client.post("/review/1", data={"csrf": token(client), "decision": "drop", "note": "a test"})
    assert asked.headers["location"] == "/review/1?confirm=drop#drop"
    assert len(ledger.quarantine_list()) == 1
    assert "Drop instance 1 for good?" in client.get("/review/1?confirm=drop").text
    client.post("/review/1", data={"csrf": token(client), "decision": "drop", "note": "a test", "confirmed": "yes"})
    assert ledger.quarantine_list() == []
    assert client.get("/review/1").status_code == 404
    assert "a test" in client.get("/review/decisions").text


def test_hostile_bytes_are_a_clear_error_and_are_audited(client: TestClient, ledger: Ledger) -> None:
    log_in(client, "rosa")
    answer = client.get("/review/1/before.png", headers={"Accept": "text/plain"})
    assert answer.status_code == 422 and "cannot be shown" in answer.text
    client.get("/review/1/before.png")
    seen = [entry for entry in ledger.audit_trail() if entry.action == "original seen"]
    assert [(entry.who, entry.instance_id) for entry in seen] == [("rosa", 1)]
    assert json.loads(client.get("/review/1/result.json").text)["problem"]
    assert client.get("/review/1/sideways.png").status_code == 404


def test_off_the_loopback_needs_users_or_a_proxy() -> None:
    with pytest.raises(ConfigError, match=r"web\.auth"):
        configuration.parse({**RAW, "web": {"host": "0.0.0.0", "insecure": True}})
    configuration.parse({**RAW, "web": {"host": "0.0.0.0", "insecure": True, "proxy": {"addresses": ["10.0.0.1"]}}})
    with pytest.raises(ConfigError, match="proxy"):
        configuration.parse({**RAW, "web": {"proxy": {"addresses": ["not an address"]}}})


def test_refused_log_ins_are_counted_and_cannot_fill_the_audit_trail(client: TestClient, ledger: Ledger) -> None:
    for number in range(30):
        assert log_in(client, "vera" if number % 2 else f"guess{number}", "wrong").status_code == 403
    refused = [entry for entry in ledger.audit_trail() if entry.action == "log-in refused"]
    assert [(entry.who, entry.reason) for entry in refused] == [("vera", "from testclient"), ("unknown", "from testclient")]


def test_a_flood_from_many_addresses_shares_one_row() -> None:
    rows: list[tuple[str, str, str]] = []
    now = [0.0]
    refusals = Refusals(lambda *row: rows.append(row), lambda: now[0])
    for number in range(500):
        refusals.refused("unknown", f"10.0.{number // 250}.{number % 250}")
    assert len(rows) == MOST + 1 and rows[-1][2] == "from other addresses"
    now[0] = 61.0
    refusals.flush()
    assert rows[MOST + 1:] == [("unknown", "log-in refused", "479 more from other addresses within a minute")]
    refusals.refused("unknown", "10.0.0.1")
    assert len(rows) == MOST + 3


def test_a_recall_is_ordered_listed_and_closed_on_the_pages(client: TestClient, ledger: Ledger) -> None:
    incoming = ledger.spool.begin(b"\0" * 132)
    incoming.seal()
    ledger.admit([Arrival(incoming.name, 132, "IN", "CANARYAE", "1.2.3", "9.8.7", "1.2.840.10008.1.2.1", 1.0)])
    (item,) = ledger.claim("test", 1, 60)
    record = ReleaseRecord("1.2.3", "2.25.77", "1.2.840.10008.1.2.1", ledger.spool.store_released(b"new"), 3, "d", "s")
    ledger.finish([ReleasedItem(item.id, item.token, record, ("archive",), {"policy": {"hash": "p"}}, "study", device="dev")])
    log_in(client, "rosa")
    shown = client.get("/recalls?found=2.25.77&same=device").text
    assert "1 released instances are concerned" in shown and "An admin orders" in shown
    assert client.post("/recalls", data={"found": "2.25.77", "reason": "x", "csrf": token(client)}).status_code == 403
    log_in(client, "anna")
    assert "nothing that left is known" in client.get("/recalls?found=nobody").text
    assert client.post("/recalls", data={"found": "2.25.77", "reason": "", "csrf": token(client)}).status_code == 409
    order = {"found": "2.25.77", "same": ["device", "policy"], "reason": "a name on the screen", "csrf": token(client)}
    assert client.post("/recalls", data=order).status_code == 303
    listed = client.get("/recalls/1.csv")
    assert listed.headers["content-type"].startswith("text/csv") and "2.25.77" in listed.text and "9.8.7" not in listed.text
    assert "open" in client.get("/recalls").text
    assert client.post("/recalls/1/close", data={"reason": "deleted", "csrf": token(client)}).status_code == 303
    assert client.post("/recalls/1/close", data={"reason": "deleted", "csrf": token(client)}).status_code == 404
    assert [entry.action for entry in ledger.audit_trail()][:2] == ["recall closed", "recall"]
