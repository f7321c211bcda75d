"""Pages in a real browser on a real node: live counters, the keyboard review of a held film to the archive, samples, accessibility."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UltrasoundMultiFrameImageStorage

from radanon_node.ledger.recalls import Suspicion
from radanon_node.training.films_dicom import invent
from radanon_node.web.auth import hash_password
from tests.integration.harness import NodeProcess, assert_clean, film, node_config, originals, storescu, write_study
from tests.integration.test_modalities import Sent, ground, made
from tests.integration.test_modalities import _frames as frames_of_a_loop
from tests.peers import free_port, storescp, wait_listening

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.integration, pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

PASSWORD = "correct horse battery"
PATIENCE_MS = 240_000  # a busy machine starts processes and models slowly


@dataclass
class Place:
    """A node with an archive, and a browser to look at it."""

    node: NodeProcess
    archive: Path
    dicom: int
    url: str
    browser: Any

    def page(self, name: str = "", width: int = 1280) -> Any:
        """A fresh browser page, logged in; whatever it complains about ends up in `page.complaints`."""
        context = self.browser.new_context(viewport={"width": width, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        if name:
            page.goto(f"{self.url}/login")
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_url(f"{self.url}/")
        return page

    def send(self, folder: Path, seed: int, called: str) -> Path:
        (path,) = write_study(folder, 1, seed=seed, make=film)
        storescu(self.dicom, [path], called=called)
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("review")
    hashed = hash_password(PASSWORD)
    roles = {"vera": "viewer", "rosa": "reviewer", "anna": "admin"}
    users = [{"name": name, "role": role, "password_hash": hashed} for name, role in roles.items()]
    port = free_port()
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(storescp(folder / "archive"))
        config = node_config(folder / "node", {"archive": {"host": "127.0.0.1", "port": peer.port, "ae_title": "ARCHIVE"}},
                             {"pixels": {"sop_classes": {"DX": "hold", "US": "hold"}}}, web={"enabled": True, "port": port, "auth": users},
                             sampling={"per_device": 5})  # fmt: skip
        config["profiles"]["open"] = {}
        config["routes"].append({"ae_title": "OPEN", "profile": "open", "destinations": ["archive"]})
        node = NodeProcess(folder / "node", config)
        stack.callback(node.stop)
        dicom = node.start()
        assert node.process is not None
        wait_listening(port, node.process, 240)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stack.callback(browser.close)
        yield Place(node, peer.folder, dicom, f"http://127.0.0.1:{port}", browser)


def expect(target: Any) -> Any:
    from playwright.sync_api import expect as expecting

    return expecting(target)


def ready(page: Any) -> None:
    page.wait_for_selector("#viewer[data-ready]", timeout=PATIENCE_MS)


def held(place: Place) -> list[dict[str, Any]]:
    with place.node.ledger() as ledger:
        return [{"id": entry.id, "reason": entry.reason} for entry in ledger.quarantine_list()]


def some_held(place: Place, folder: Path, seed: int) -> dict[str, Any]:
    """One that an earlier test has left held, or a new one: the tests may run in several processes, each with its own node."""
    if not held(place):
        place.send(folder, seed, "IN")
        place.node.wait_settled()
    return held(place)[-1]


def test_counters_move_while_one_looks(place: Place, tmp_path: Path) -> None:
    page = place.page()
    page.goto(place.url)
    cell = page.locator('[data-path="routes.OPEN.delivered"]')
    expect(cell).to_have_text("0")
    place.send(tmp_path, 31, "OPEN")
    expect(cell).to_have_text("1", timeout=PATIENCE_MS)
    assert page.complaints == []
    page.context.close()


def test_a_held_film_is_reviewed_by_keyboard_and_arrives(place: Place, tmp_path: Path) -> None:
    place.send(tmp_path, 32, "IN")
    place.node.wait_settled()
    (entry,) = held(place)
    before = len(list(place.archive.iterdir()))
    page = place.page("rosa")
    page.goto(f"{place.url}/review/{entry['id']}")
    ready(page)
    state = page.locator("#state")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("b")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(state).to_contain_text("The box is added")
    page.keyboard.press("a")
    expect(state).to_contain_text("release with your boxes")  # what was changed is not accepted as shown
    page.keyboard.press("v")
    expect(state).to_contain_text("with your boxes", timeout=PATIENCE_MS)
    (drawn,) = json.loads(page.locator("#edits").input_value())["added"]
    page.locator("#label").check()
    page.locator("#rule").check()
    page.locator("#note").fill("a plate with a name")
    page.locator("#boxes-title").click()
    page.keyboard.press("r")
    page.wait_for_url(re.compile(r"/review$"))
    place.node.wait_settled()
    assert held(place) == []
    assert len(list(place.archive.iterdir())) == before + 1
    newest = max((path for path in place.archive.iterdir() if not path.name.startswith(".")), key=lambda path: path.stat().st_mtime_ns)
    (source,) = originals([tmp_path / "32-1.dcm"])
    arrived = pydicom.dcmread(newest)
    assert_clean(newest.read_bytes(), source)
    x0, y0, x1, y1 = drawn["box"]
    black = np.zeros(source.pixel_array.shape, bool)
    black[y0:y1, x0:x1] = True
    assert np.array_equal(arrived.pixel_array[~black], source.pixel_array[~black]) and not arrived.pixel_array[black].any()
    with place.node.ledger() as ledger:
        trail = {(act.who, act.action) for act in ledger.audit_trail()}
        (decision,) = ledger.reviews_list()
        receipt = ledger.receipt(entry["id"])
    assert {("rosa", "original seen"), ("rosa", "review release"), ("rosa", "logged in")} <= trail
    assert [box["source"] for box in receipt["boxes"] if box["box"] == drawn["box"]] == ["reviewer"]
    assert "Modality: DX" in decision.rule
    assert page.complaints == []
    page.context.close()
    exported = tmp_path / "films"
    place.node.command("review", "export", "--out", str(exported), "--reason", "for the detector")
    from radanon_node.training.films import read_labels

    (labelled,) = read_labels(exported / "labels.jsonl")
    assert (labelled.items[-1].x0, labelled.items[-1].y1) == (x0, y1) and oct(exported.stat().st_mode)[-3:] == "700"
    assert ("review export" in {act.action for act in _trail(place)}) is True


def _trail(place: Place) -> list[Any]:
    with place.node.ledger() as ledger:
        return list(ledger.audit_trail())


def test_dropping_asks_and_is_done_without_a_mouse(place: Place, tmp_path: Path) -> None:
    place.send(tmp_path, 33, "IN")
    place.node.wait_settled()
    (entry,) = held(place)
    page = place.page("rosa")
    page.goto(f"{place.url}/review/{entry['id']}")
    ready(page)
    page.keyboard.press("d")
    expect(page.locator("#ask")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    assert len(held(place)) == 1
    # On a busy machine the closed dialog's field still holds the focus when the next key comes.
    page.locator("#drop-note").dispatch_event("keydown", {"key": "d", "bubbles": True})
    expect(page.locator("#ask")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    page.keyboard.press("d")
    expect(page.locator("#ask")).to_be_visible()
    page.locator("#drop-note").fill("a test film")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/review$"))
    assert held(place) == []
    page.context.close()


def test_a_sample_is_looked_at_and_bounds_the_risk(place: Place, tmp_path: Path) -> None:
    place.send(tmp_path, 34, "OPEN")
    place.node.wait_settled()
    with place.node.ledger() as ledger:
        waiting = [entry.instance_id for entry in ledger.sample_list()]
    page = place.page("rosa")
    page.goto(f"{place.url}/review/{waiting[0]}")
    ready(page)
    page.keyboard.press("a")
    page.wait_for_url(lambda url: not url.endswith(f"/{waiting[0]}"))
    page.goto(f"{place.url}/residual")
    expect(page.locator("tbody tr").first).to_contain_text("95.0%")  # one of one: the exact bound is the confidence itself
    metrics = page.request.get(f"{place.url}/metrics").text()
    assert re.search(r'radanon_residual_upper_bound\{device="[0-9a-f]{32}",month="\d{4}-\d\d"\} 0\.95', metrics)
    page.context.close()


def test_a_viewer_sees_no_identity_and_no_picture(place: Place, tmp_path: Path) -> None:
    source = pydicom.dcmread(place.send(tmp_path, 35, "IN"))
    place.node.wait_settled()
    entry = held(place)[-1]
    page = place.page("vera")
    words = [str(source.PatientID), *str(source.PatientName).split("^"), str(source.SOPInstanceUID), str(source.AccessionNumber)]
    for path in ("/", "/quarantine", "/deliveries", "/residual", "/search", "/metrics", "/status.json"):
        page.goto(place.url + path)
        content = page.content()
        assert [word for word in words if word in content] == [], path
    for path in (f"/review/{entry['id']}", f"/review/{entry['id']}/before.png", f"/review/{entry['id']}/after.levels", "/settings"):
        assert page.request.get(place.url + path).status == 403
    page.context.close()


def test_axe_finds_no_serious_fault(place: Place, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    entry = some_held(place, tmp_path, 36)
    for width in (1280, 400):
        page = place.page("anna", width)
        one = f"/review/{entry['id']}"
        for path in ("/", "/quarantine", "/review", one, f"{one}?full=1&confirm=drop", "/review/decisions", "/rules", "/recalls",
                     f"/recalls?found={entry['id']}", "/residual", "/deliveries", "/search?q=1", "/report", "/settings"):  # fmt: skip
            page.goto(place.url + path)
            if page.locator("#viewer").count():
                ready(page)
            faults = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in ("serious", "critical")]
            assert [(path, width, fault["id"], fault["nodes"][0]["html"][:120]) for fault in faults] == []
            # Nothing is wider than the window: tables scroll in places of their own.
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"), (path, width)
        assert page.complaints == []
        page.context.close()


def test_without_script_the_page_still_decides(place: Place, tmp_path: Path) -> None:
    entry = some_held(place, tmp_path, 37)
    context = place.browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{place.url}/login")
    page.get_by_label("Name").fill("rosa")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{place.url}/review/{entry['id']}?full=1")
    assert page.locator("img[data-side=after]").evaluate("image => image.naturalWidth") > 0
    page.get_by_label("Further boxes").fill("10 10 60 40")
    page.get_by_label("Reason (goes into").fill("seen without script")
    page.get_by_role("button", name="Release with my boxes").click()
    page.wait_for_url(re.compile(r"/review(/\d+)?$"))
    with place.node.ledger() as ledger:
        decision = ledger.reviews_list(instance_id=entry["id"])[-1]
    assert decision.decision == "release" and decision.edits["added"][0]["box"] == [10, 10, 60, 40]
    context.close()


def test_a_box_holds_for_the_frames_it_is_drawn_for(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "loop.dcm"
    sent = Sent("US", UltrasoundMultiFrameImageStorage, "", frames_of_a_loop, plain_loop)
    path.write_bytes(made(sent, 1, invent(np.random.default_rng(41))))
    storescu(place.dicom, [path], called="IN", options=["-R"])
    place.node.wait_settled()
    one = max(entry["id"] for entry in held(place))
    before = {path.name for path in place.archive.iterdir()}
    page = place.page("rosa")
    page.goto(f"{place.url}/review/{one}")
    ready(page)
    page.locator("#kind").select_option("banner")
    page.locator("#span").select_option("range")
    page.locator("#from").fill("2")
    page.locator("#to").fill("3")
    page.get_by_role("button", name="Add box").click()
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("as banner, on 2 of 3 frames")
    (drawn,) = json.loads(page.locator("#edits").input_value())["added"]
    assert (drawn["kind"], drawn["frames"]) == ("banner", [1, 2])
    page.locator("#note").fill("a name comes up")
    page.get_by_role("button", name="Release with my boxes").click()
    page.wait_for_url(lambda url: not url.endswith(f"/{one}"))
    place.node.wait_settled()
    (new,) = [path for path in place.archive.iterdir() if path.name not in before and not path.name.startswith(".")]
    after, source = pydicom.dcmread(new).pixel_array, pydicom.dcmread(path).pixel_array
    x0, y0, x1, y1 = drawn["box"]
    assert np.array_equal(after[0], source[0]) and source[1:, y0:y1, x0:x1].any() and not after[1:, y0:y1, x0:x1].any()
    assert page.complaints == []
    page.context.close()


def plain_loop() -> Any:
    return np.stack([ground(), ground(), ground()])


def test_what_a_sample_shows_leads_to_a_recall(place: Place, tmp_path: Path) -> None:
    place.send(tmp_path, 42, "OPEN")
    place.node.wait_settled()
    with place.node.ledger() as ledger:
        one = max(entry.instance_id for entry in ledger.sample_list())
        new_uid = ledger.suspects(Suspicion((one,)))[0].sop_instance_uid
    page = place.page("anna")
    page.goto(f"{place.url}/review/{one}")
    ready(page)
    page.locator("#note").fill("a name in the corner")
    page.get_by_role("button", name="Identity is left").click()
    page.wait_for_url(re.compile(r"/recalls\?"))
    expect(page.locator("main")).to_contain_text(new_uid)
    page.get_by_label("Reason").fill("a name in the corner")
    page.get_by_role("button", name=re.compile("Recall these")).click()
    page.wait_for_url(re.compile(r"/recalls$"))
    expect(page.locator("main")).to_contain_text("open")
    listed = page.request.get(f"{place.url}/recalls/1.csv").text()
    assert new_uid in listed and "archive" in listed
    page.get_by_label("Who confirmed").fill("its manager, by telephone")
    page.get_by_role("button", name=re.compile("Close recall 1")).click()
    expect(page.locator("main")).to_contain_text("closed")
    place.node.wait_settled()  # the originals of samples are still here: they are cleaned again and delivered
    with place.node.ledger() as ledger:
        # Of what other tests have sent from this device the original may be gone: forgotten.
        assert {entry.sop_instance_uid: entry.outcome for entry in ledger.recalled_list(1)}[new_uid] == "cleaned again"
        assert "recalled" not in {entry.reason for entry in ledger.quarantine_list()}
        assert new_uid in {again.sop_instance_uid for again in ledger.suspects(Suspicion(route="OPEN"))}  # under the same name
    assert page.complaints == []
    page.context.close()
