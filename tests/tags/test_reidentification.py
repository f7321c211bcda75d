"""The way back is encrypted, complete and needs the key."""

from __future__ import annotations

import pytest

from radanon_node.errors import ConfigError
from radanon_node.tags.pseudonyms import PatientKey
from radanon_node.tags.reidentification import export_map, new_key, read_map


def test_the_map_leads_back(make_scrubber, new_dataset, run):
    scrubber, key = make_scrubber("retain_longitudinal_modified_dates"), new_key()
    before = new_dataset(StudyDate="20240305")
    after = run(before, scrubber).after
    token = export_map(scrubber.pseudonyms, [(PatientKey("PID-48151"), [before.StudyInstanceUID, before.SOPInstanceUID])], key)
    assert b"48151" not in token
    (entry,) = read_map(token, key)
    assert (entry.patient_id, entry.pseudonym) == ("PID-48151", after.PatientID)
    assert entry.uids[after.StudyInstanceUID] == before.StudyInstanceUID and entry.uids[after.SOPInstanceUID] == before.SOPInstanceUID
    assert "48151" not in repr(entry)


def test_without_the_key_nothing(make_scrubber):
    key = new_key()
    token = export_map(make_scrubber().pseudonyms, [(PatientKey("1"), ())], key)
    for wrong_token, wrong_key in ((token, new_key()), (token[:-9] + b"AAAAAAAAA", key), (token, b"short")):
        with pytest.raises(ConfigError):
            read_map(wrong_token, wrong_key)
