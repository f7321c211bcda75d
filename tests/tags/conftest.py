"""What the tests of this room share: a scrubber of any profile, and data sets through the real reader and writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from pydicom.dataset import Dataset

from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.settings_profile import PseudonymSettings, TagSettings
from radanon_node.tags.engine import PixelFacts, Scrubbed, Scrubber
from radanon_node.tags.identifiers import Identifiers, collect
from radanon_node.tags.pseudonyms import Pseudonyms
from radanon_node.tags.search import Finding, find_identity

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

IMPLICIT, EXPLICIT, BIG, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
CT = "1.2.840.10008.5.1.4.1.1.2"
KEY = b"0123456789abcdef0123456789abcdef"
NO_PIXELS = PixelFacts(has_pixels=False, looked=False, redacted=False)


@dataclass
class Cleaned:
    """A data set on its whole way: encoded, read, scrubbed, encoded, read again."""

    before: Dataset
    after: Dataset
    data: bytes
    scrubbed: Scrubbed
    identifiers: Identifiers
    findings: list[Finding]


@pytest.fixture(scope="session")
def make_scrubber() -> Callable[..., Scrubber]:
    def make(*options: str, scope: str = "default", **settings: object) -> Scrubber:
        tags = TagSettings(options=options, **settings)  # type: ignore[arg-type]
        return Scrubber(tags, Pseudonyms(KEY, PseudonymSettings(scope=scope), tags))

    return make


@pytest.fixture(scope="session")
def new_dataset() -> Callable[..., Dataset]:
    def make(sop_class: str = CT, **values: object) -> Dataset:
        dataset = Dataset()
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = "1.2.826.0.1.3680043.2.1125.1.1"
        dataset.StudyInstanceUID = "1.2.826.0.1.3680043.2.1125.1.2"
        dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.2.1125.1.3"
        dataset.PatientID = "PID-48151"
        dataset.PatientName = "Oyelaran^Temitope"
        dataset.Modality = "CT"
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    def make(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
        return encode_instance(dataset, syntax, None).data

    return make


@pytest.fixture(scope="session")
def run(make_scrubber: Callable[..., Scrubber], encode: Callable[..., bytes]) -> Callable[..., Cleaned]:
    """Clean a data set (or encoded file) with a scrubber and read the result back from its bytes."""

    def clean(dataset: Dataset | bytes, scrubber: Scrubber | None = None, syntax: str = EXPLICIT, facts: PixelFacts = NO_PIXELS) -> Cleaned:
        scrubber = scrubber or make_scrubber()
        instance = read_instance(dataset if isinstance(dataset, bytes) else encode(dataset, syntax))
        identifiers = collect(instance.dataset)
        scrubbed = scrubber.scrub(instance.dataset, facts, instance.transfer_syntax_uid, identifiers)
        out = encode_instance(scrubbed.dataset, instance.transfer_syntax_uid, instance.pixels).data
        again = read_instance(out)
        findings = find_identity(again.data, again.pixel_spans, scrubbed.searched(identifiers))
        return Cleaned(instance.dataset, again.dataset, bytes(again.data), scrubbed, identifiers, findings)

    return clean
