"""Every C-STORE status and what it makes of a delivery; the archive is pynetdicom, told what to answer."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event

from radanon_node.errors import DeliveryFailed, DeliveryRefused
from radanon_node.network.courier import judge
from tests.network.sending import bench, network, picture


@contextlib.contextmanager
def archive(answer: Callable[[str], int]) -> Iterator[int]:
    """An archive that answers `answer(SOP Instance UID)`; gives its port."""

    def on_store(event: Event) -> int:
        return answer(str(event.request.AffectedSOPInstanceUID))

    application = AE("ARCHIVE")
    application.supported_contexts = AllStoragePresentationContexts
    server: Any = application.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@settings(max_examples=500)
@given(status=st.integers(0, 0xFFFF))
@example(status=0)
@example(status=0xA700)
@example(status=0xB000)
@example(status=0x0107)
@example(status=0x0111)
def test_every_status_has_one_meaning(status: int) -> None:
    """Success and warnings are delivered, A7xx comes later, all else is a refusal of this instance."""
    if status == 0 or 0xB000 <= status < 0xC000:
        assert judge(status) == ("" if status == 0 else f"delivered with warning 0x{status:04X}")
    elif status == 0x0111:
        assert judge(status) == "the archive has it already"
    else:
        with pytest.raises(DeliveryRefused if 0xA700 <= status < 0xA800 else DeliveryFailed) as caught:
            judge(status)
        assert caught.value.status == status


@pytest.mark.integration
@pytest.mark.parametrize("warning", [0xB000, 0xB006, 0xB007])
def test_warning_is_delivered_and_recorded(tmp_path: Path, warning: int) -> None:
    with archive(lambda uid: warning) as port, bench(tmp_path, {"archive": network(port)}) as node:
        node.put([picture()])
        with node.sending():
            node.wait_delivered("archive", 1)
        assert node.ledger.deliveries_list(state="delivered")[0].detail == f"delivered with warning 0x{warning:04X}"


@pytest.mark.integration
@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0110, 0x0122])
def test_refused_instance_fails_alone(tmp_path: Path, status: int) -> None:
    """After its attempts it is failed, its status is recorded; the others of the batch are delivered over the same association."""
    bad = picture(3)
    asked: list[str] = []

    def answer(uid: str) -> int:
        asked.append(uid)
        return status if uid == bad.SOPInstanceUID else 0

    with archive(answer) as port, bench(tmp_path, {"archive": network(port, attempts=3)}) as node:
        node.put([picture(1), picture(2), bad, picture(4)])
        with node.sending():
            node.wait(lambda: node.counts("archive").get("failed") == 1 and node.counts("archive").get("delivered") == 3)
        entry = next(entry for entry in node.ledger.deliveries_list() if entry.state == "failed")
        assert f"0x{status:04X}" in entry.detail
        assert asked.count(str(bad.SOPInstanceUID)) == 3 and len(asked) == 6
        assert node.counts("archive")["up"] is True


@pytest.mark.integration
def test_out_of_resources_is_tried_again_and_costs_no_attempt(tmp_path: Path) -> None:
    """An archive with a full disk gets everything once it has room; until then it is asked seldom, by one instance at a time."""
    full, asked = [True], list[str]()

    def answer(uid: str) -> int:
        asked.append(uid)
        return 0xA700 if full[0] else 0

    with archive(answer) as port, bench(tmp_path, {"archive": network(port)}) as node:
        node.put([picture(number) for number in range(30)])
        with node.sending():
            node.wait(lambda: len(asked) >= 5)
            assert {entry.attempts for entry in node.ledger.deliveries_list()} == {0}
            assert node.counts("archive")["up"] is False and len(asked) < 20
            full[0] = False
            node.wait_delivered("archive", 30)


@pytest.mark.integration
def test_one_instance_that_is_always_too_much_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = picture(0)
    answers = {str(bad.SOPInstanceUID): 0xA700}
    with archive(lambda uid: answers.get(uid, 0)) as port, bench(tmp_path, {"archive": network(port, max_associations=1)}) as node:
        node.put([bad, *(picture(number) for number in range(1, 20))])
        with node.sending():
            node.wait_delivered("archive", 19)
            answers.clear()
            node.wait_delivered("archive", 20)


@pytest.mark.integration
def test_other_associations_begin_with_the_first_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the second batch: the archive keeps the second instance of the first batch until it has another association."""
    monkeypatch.setattr("radanon_node.network.lane._LINGER_S", 0.0)  # as of a sender that has been idle
    both, opened, stored = threading.Event(), itertools.count(1), itertools.count(1)

    def on_open(event: Event) -> None:
        if next(opened) == 2:
            both.set()

    def on_store(event: Event) -> int:
        return 0x0000 if next(stored) == 1 or both.wait(15) else 0xC000

    application = AE("ARCHIVE")
    application.supported_contexts = AllStoragePresentationContexts
    server: Any = application.start_server(("127.0.0.1", 0), block=False,
                                           evt_handlers=[(evt.EVT_C_STORE, on_store), (evt.EVT_ACCEPTED, on_open)])
    try:
        with bench(tmp_path, {"archive": network(server.server_address[1], max_associations=2)}) as node:
            node.put([picture(number) for number in range(40)])
            with node.sending():
                node.wait_delivered("archive", 40)
            assert {entry.attempts for entry in node.ledger.deliveries_list(state="delivered")} == {0}
    finally:
        server.shutdown()
