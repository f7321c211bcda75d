"""What the worker notes of burnt-in text: alarms or holds by policy, counts without text, nothing lost while the ledger is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import UltrasoundImageStorage
from structlog.testing import capture_logs

from radanon_node.errors import HoldInstance, LedgerUnavailable, Reason
from radanon_node.markers.layouts import LEAST, Device, Layout, Sighting, cells_of
from radanon_node.markers.text import TextDetector
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.observer import Observer
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Box, Kind, Quarantined, Received, Region, Source, Verdict
from radanon_node.settings_profile import PixelSettings, ProfileSettings, TagSettings
from radanon_node.training.films_dicom import invent
from radanon_node.training.screens import font_files
from tests.integration.harness import ct

DEVICE = Device("US", "Acme", "Sono 3", "7.1", 768, 1024, "SN1")


class Notes:
    """A ledger's layouts in memory."""

    def __init__(self) -> None:
        self.layouts: dict[str, Layout] = {}
        self.units: dict[str, str] = {}
        self.finds: Counter[str] = Counter()
        self.sightings: list[Sighting] = []
        self.away = False

    def device_token(self, device: Device) -> str:
        return f"{device.model} {device.software}"

    def layout(self, device: Device) -> Layout:
        return self.layouts.get(self.device_token(device), Layout())

    def layout_sightings(self, sightings: Sequence[Sighting]) -> list[str]:
        if self.away:
            raise LedgerUnavailable("away")
        self.sightings += sightings
        return []

    def layout_unit(self, device: Device) -> bool:
        before = self.units.get(device.unit)
        self.units[device.unit] = device.software
        return before is not None and before != device.software

    def add_finds(self, counts: Mapping[tuple[str, str, str, str], int]) -> None:
        for (_, _, _, what), count in counts.items():
            self.finds[what] += count


def lines(*whys: str, y: int = 6) -> list[Region]:
    return [Region(Box(8, y + 30 * number, 200, y + 20 + 30 * number), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL, why)
            for number, why in enumerate(whys)]


@pytest.fixture
def notes() -> Notes:
    made = Notes()
    cells = cells_of(lines("text"), DEVICE.rows, DEVICE.columns)
    made.layouts[made.device_token(DEVICE)] = Layout(LEAST, dict.fromkeys(cells, LEAST))
    return made


def test_finds_are_counted_by_what_the_input_said(notes: Notes) -> None:
    observer = Observer(notes)
    observer.judged(DEVICE, "IN", lines("text", "identifier", "identifier"), said_no=True, learns=True, holds=False)
    observer.judged(DEVICE, "IN", lines("text"), said_no=True, learns=True, holds=False)
    observer.judged(DEVICE, "IN", lines("like_identifier"), said_no=False, learns=True, holds=False)
    observer.judged(DEVICE, "IN", [], said_no=True, learns=True, holds=False)
    observer.flush(force=True)
    assert notes.finds == {"looked": 4, "with_text": 3, "with_certain_phi": 1, "certain_lines": 2, "said_no_but_text": 2,
                           "said_no_but_certain_phi": 1}


@pytest.mark.parametrize("holds", [False, True])
def test_a_changed_layout_is_an_alarm_and_by_policy_a_hold(notes: Notes, holds: bool) -> None:
    observer = Observer(notes)
    with capture_logs() as logs:
        try:
            observer.judged(DEVICE, "IN", lines("text", y=600), said_no=False, learns=True, holds=holds)
            held = None
        except HoldInstance as hold:
            held = hold.reason
    assert held == (Reason.LAYOUT_CHANGED if holds else None)
    assert [entry["event"] for entry in logs] == ["layout changed"]
    observer.flush(force=True)
    assert notes.sightings[0].changed and notes.finds["layout_changed"] == 1


def test_new_software_holds_by_policy_until_somebody_takes_note(notes: Notes) -> None:
    observer = Observer(notes)
    observer.judged(DEVICE, "IN", lines("text"), said_no=False, learns=True, holds=True)
    newer = replace(DEVICE, software="8.0")
    with pytest.raises(HoldInstance) as held:
        observer.judged(newer, "IN", lines("text"), said_no=False, learns=True, holds=True)
    assert held.value.reason is Reason.LAYOUT_CHANGED
    notes.layouts[notes.device_token(newer)] = Layout(alarm="software_changed")  # as the ledger has it from now on
    observer = Observer(notes)
    with pytest.raises(HoldInstance):
        observer.judged(newer, "IN", lines("text"), said_no=False, learns=True, holds=True)
    notes.layouts[notes.device_token(newer)] = Layout()
    Observer(notes).judged(newer, "IN", lines("text"), said_no=False, learns=True, holds=True)


def test_what_cannot_be_written_is_kept_for_the_next_time(notes: Notes) -> None:
    observer = Observer(notes)
    observer.judged(DEVICE, "IN", lines("text"), said_no=False, learns=True, holds=False)
    notes.away = True
    observer.flush(force=True)
    notes.away = False
    observer.flush(force=True)
    assert len(notes.sightings) == 1 and notes.finds["looked"] == 1


def test_films_and_devices_without_a_name_are_counted_but_not_learned(notes: Notes) -> None:
    observer = Observer(notes)
    observer.judged(DEVICE, "IN", lines("text"), said_no=False, learns=False, holds=True)
    observer.judged(Device("US", "", "", "", 768, 1024), "IN", lines("text"), said_no=False, learns=True, holds=True)
    observer.flush(force=True)
    assert notes.sightings == [] and notes.finds["looked"] == 2


@pytest.fixture(scope="module")
def text_detector() -> TextDetector:
    return TextDetector.load(1)


def screen(*texts: str) -> bytes:
    picture = Image.new("L", (640, 480), 0)
    font = ImageFont.truetype(next(path for path in font_files() if "Sans" in path), 22)
    for number, text in enumerate(texts):
        ImageDraw.Draw(picture).text((20, 20 + 40 * number), text, font=font, fill=230)
    dataset = pydicom.dcmread(BytesIO(ct(invent(np.random.default_rng(3)), 1)))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "US", "Acme", "Sono 3"
    dataset.PatientName, dataset.BurnedInAnnotation = "Vandenberghe^Liesbeth", "NO"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 480, 640, 8, 8, 7
    dataset.PixelRepresentation, dataset.PixelData = 0, np.asarray(picture, np.uint8).tobytes()
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
        if keyword in dataset:
            delattr(dataset, keyword)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def cleaned(data: bytes, notes: Notes, detector: TextDetector, **pixels: str) -> Released | Quarantined:
    tools = Tools(bytes(32), observer=Observer(notes))
    tools._text = detector
    profile = ProfileSettings(tags=TagSettings(options=("clean_pixel_data",)), pixels=PixelSettings.model_validate(pixels))
    (result,) = clean_batch([Received(data, "1")], Policy("IN", "p", profile), tools)
    assert tools.observer is not None
    tools.observer.flush(force=True)
    return result


def test_burned_in_annotation_no_is_not_believed_and_what_it_hid_is_counted(text_detector: TextDetector) -> None:
    """A name in long lines too: the first picture of a device is read whole."""
    notes = Notes()
    result = cleaned(screen("VANDENBERGHE, LIESBETH  12345", "Depth and gain"), notes, text_detector)
    assert isinstance(result, Released)
    after = pydicom.dcmread(BytesIO(bytes(result.encoded)))
    assert after.pixel_array[20:45, 20:300].max() == 0
    assert notes.finds["said_no_but_certain_phi"] == notes.finds["with_certain_phi"] == notes.finds["said_no_but_text"] == 1
    assert notes.finds["certain_lines"] == 1 and len(notes.sightings) == 1
    assert all("VANDEN" not in str(box).upper() for box in result.receipt["boxes"])


def test_a_screen_of_another_layout_is_held_where_policy_says_so(text_detector: TextDetector) -> None:
    notes = Notes()
    far = cells_of([Region(Box(20, 440, 300, 470), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL)], 480, 640)
    notes.layouts["Sono 3 "] = Layout(LEAST, dict.fromkeys(far, LEAST))
    data = screen("VANDENBERGHE, LIESBETH  12345", "ACC 5566778899")
    held = cleaned(data, notes, text_detector, layout_change="hold")
    assert isinstance(held, Quarantined) and held.reason is Reason.LAYOUT_CHANGED and "VANDEN" not in held.detail
    assert isinstance(cleaned(data, notes, text_detector), Released)
    assert isinstance(cleaned(data, notes, text_detector, layout_change="off"), Released)
