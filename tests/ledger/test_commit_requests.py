"""Requests of modalities for Storage Commitment stay until they are reported on."""

from __future__ import annotations

from typing import Any

Hands = Any
REQUEST = {"transaction_uid": "1.2.3", "references": [["1.2", "1.2.3.4"]], "port": 104}


def test_kept_held_and_dropped(hands: Hands) -> None:
    ledger = hands.ledger
    kept = ledger.keep_request(REQUEST, 600.0, 3600.0)
    assert ledger.due_request(60.0) is None  # whoever took it still holds it
    assert ledger.hold_request(kept, 0.0)
    other = hands.again()
    try:
        found = other.ledger.due_request(600.0)
        assert (found.request, found.expired, found.id) == (REQUEST, False, kept.id)
        assert not ledger.hold_request(kept, 600.0)  # it is another's now
        ledger.drop_request(kept)
        assert other.ledger.hold_request(found, 0.0)
        again = ledger.due_request(0.0)
        ledger.drop_request(again)
        assert ledger.due_request(0.0) is None
    finally:
        other.close()


def test_it_expires_and_its_content_lies_sealed(hands: Hands) -> None:
    hands.ledger.keep_request(REQUEST, 0.0, -1.0)
    (stored,), = hands.sql("SELECT request FROM commitment_requests")
    assert b"1.2.3" not in bytes(stored)
    assert hands.ledger.due_request(0.0).expired
    hands.sql("UPDATE commitment_requests SET request = :nothing", nothing=b"altered")
    assert hands.ledger.due_request(0.0) is None
    assert hands.sql("SELECT count(*) FROM commitment_requests") == [(0,)]
