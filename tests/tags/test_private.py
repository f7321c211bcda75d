"""Private attributes: safe ones by creator, group and low byte with the right VR and value; the site's own; nothing else."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.errors import ConfigError
from radanon_node.settings_profile import TagSettings
from radanon_node.tags.private import PrivatePolicy
from radanon_node.tags.tables import safe_private

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture
def philips(new_dataset):
    dataset = new_dataset()
    block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.000123")
    block.add_new(0x09, "DS", "9999.777")  # listed; the tests below write a name over it
    block.add_new(0x20, "LO", "not listed")
    dataset.private_block(0x7055, "Somebody else", create=True).add_new(0x00, "DS", "1")
    return dataset


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_only_listed_and_fitting_values_stay(philips, run, make_scrubber, encode, syntax):
    data = encode(philips, syntax).replace(b"9999.777", b"Oyelaran")
    after = run(data, make_scrubber("retain_safe_private")).after
    odd = [f"{tag:08X}" for tag in after.keys() if tag >> 16 & 1]  # noqa: SIM118
    assert odd == ["70530010", "70531000"]
    assert run(philips).after.get((0x7053, 0x1000)) is None


def test_the_block_may_be_any(new_dataset, run, make_scrubber):
    dataset = new_dataset()
    dataset.private_block(0x0019, "SOMETHING", create=True).add_new(0x24, "DS", "1.5")
    dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x24, "DS", "2.5")
    after = run(dataset, make_scrubber("retain_safe_private")).after
    assert after[0x00191124].value == "2.5" or float(after[0x00191124].value) == 2.5
    assert 0x00191024 not in after and 0x00190010 not in after and after[0x00190011].value == "GEMS_ACQU_01"


def test_a_creator_of_another_level_does_not_count(new_dataset, run, make_scrubber):
    item = Dataset()
    item.add_new(0x70531000, "DS", "1.5")
    dataset = new_dataset(ProcedureCodeSequence=Sequence([item]))
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.5")
    after = run(dataset, make_scrubber("retain_safe_private")).after
    assert 0x70531000 in after and not any(0x70531000 in item for item in after.get("ProcedureCodeSequence", ()))


def test_wrong_vr_goes(new_dataset, run, make_scrubber):
    dataset = new_dataset()
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "LO", "12")
    assert not [tag for tag in run(dataset, make_scrubber("retain_safe_private")).after.keys() if tag >> 16 & 1]  # noqa: SIM118


def test_safe_sequences_are_cleaned_inside(new_dataset, run, make_scrubber):
    row = next(row for row in safe_private().values() if row.vrs == ("SQ",))
    item = Dataset()
    item.PatientName, item.SliceThickness = "Oyelaran^Temitope", "5"
    item.private_block(row.group, "Unknown", create=True).add_new(1, "LO", "secret")
    dataset = new_dataset()
    dataset.private_block(row.group, row.creator, create=True).add_new(row.low, "SQ", Sequence([item]))
    cleaned = run(dataset, make_scrubber("retain_safe_private"))
    (inside,) = cleaned.after[row.group << 16 | 0x1000 | row.low].value
    assert inside.SliceThickness == 5 and b"Oyelaran" not in cleaned.data and b"secret" not in cleaned.data


def test_kept_private_text_is_hunted(new_dataset, run, make_scrubber):
    dataset = new_dataset()
    dataset.private_block(0x0029, "SITE TOOL", create=True).add_new(0x01, "LO", "sharp Oyelaran kernel")
    after = run(dataset, make_scrubber(private_keep=("(0029,xx01) SITE TOOL",))).after
    assert after[0x00291001].value == "sharp kernel" and after[0x00290010].value == "SITE TOOL"


@pytest.mark.parametrize("entry", ["SITE TOOL", "(0028,xx01) SITE TOOL", "(0029,01) X", "(0029,xx01)"])
def test_entries_that_cannot_be_understood_are_refused(entry):
    with pytest.raises(ConfigError):
        PrivatePolicy(TagSettings(private_keep=(entry,)))
