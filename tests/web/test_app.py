"""The pages over a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from radanon_node import config as configuration
from radanon_node.errors import Reason
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, HeldItem
from radanon_node.web.app import Pages
from radanon_node.web.auth import hash_password

RAW: dict[str, Any] = {
    "routes": [{"ae_title": "IN", "profile": "p", "destinations": ["archive"]}],
    "profiles": {"p": {}},
    "destinations": {"archive": {"host": "h", "port": 104, "ae_title": "A"}},
    "web": {"auth": [{"name": "anna", "role": "viewer", "password_hash": hash_password("correct horse battery")}]},
}


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


@pytest.fixture
def client(ledger: Ledger, tmp_path: Path) -> TestClient:
    config = configuration.parse({**RAW, "node": {"data_dir": str(tmp_path)}})
    return TestClient(Pages(config, ledger, bytes(32)).app(), base_url="http://node", follow_redirects=False)


def log_in(client: TestClient, password: str = "correct horse battery") -> int:
    return client.post("/login", data={"name": "anna", "password": password}).status_code


def test_counts_are_shown_to_everybody_and_details_to_nobody_else(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    assert client.get("/status.json").json()["states"]["quarantined"] == 1
    for page in ("/quarantine", "/deliveries"):
        answer = client.get(page)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_after_log_in_the_quarantine_is_shown_without_identity(client: TestClient) -> None:
    assert log_in(client, "wrong password") == 403
    assert log_in(client) == 303
    page = client.get("/quarantine").text
    assert "video" in page
    assert "MPEG-4" in page
    for path in ("/", "/quarantine", "/deliveries", "/status.json", "/metrics"):
        text = client.get(path).text
        assert "CANARYAE" not in text
        assert "9.8.7.6.5.4.3" not in text
    assert client.post("/logout").status_code == 303
    assert client.get("/quarantine").status_code == 303


def test_forms_of_other_sites_are_refused(client: TestClient) -> None:
    answer = client.post("/login", data={"name": "anna", "password": "correct horse battery"}, headers={"Origin": "http://evil"})
    assert answer.status_code == 403


def test_headers_keep_the_page_to_itself(client: TestClient) -> None:
    for path in ("/", "/metrics", "/login", "/static/style.css"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_metrics_are_prometheus_text(client: TestClient) -> None:
    text = client.get("/metrics").text
    assert 'radanon_instances{route="IN",state="quarantined"} 1.0' in text
    assert 'radanon_destination_up{destination="archive"} 1.0' in text


def test_health_and_readiness(client: TestClient, ledger: Ledger) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code in (200, 503)


def test_off_the_loopback_needs_users() -> None:
    from radanon_node.errors import ConfigError

    with pytest.raises(ConfigError, match=r"web\.auth"):
        configuration.parse({**RAW, "web": {"host": "0.0.0.0", "insecure": True}})
