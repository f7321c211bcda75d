"""Dates, times and ages moved: every form, intervals kept, nothing unreadable taken for moved."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.tags import dates

DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))


@given(day=DAYS, shift=st.integers(1, 3650))
def test_a_day_moves_back_by_the_shift(day, shift):
    moved = dates.shift_date(f"{day:%Y%m%d}", shift)
    assert dates.parse_date(moved) == day - timedelta(days=shift)


@given(one=DAYS, two=DAYS, shift=st.integers(1, 3650))
def test_intervals_stay(one, two, shift):
    moved = [dates.parse_date(dates.shift_date(f"{day:%Y%m%d}", shift)) for day in (one, two)]
    assert moved[1] - moved[0] == two - one


@given(moment=st.datetimes(datetime(1900, 1, 2), datetime(2100, 1, 1)), shift=st.integers(1, 3650), seconds=st.integers(0, 86399))
def test_date_and_time_apart_move_like_both_in_one(moment, shift, seconds):
    moment = moment.replace(microsecond=0)
    time, borrowed = dates.shift_time(f"{moment:%H%M%S}", seconds)
    day = dates.shift_date(f"{moment:%Y%m%d}", shift + borrowed)
    assert day + time == dates.shift_datetime(f"{moment:%Y%m%d%H%M%S}", shift, seconds)


@pytest.mark.parametrize(
    ("text", "moved"),
    [("20240301", "20240229"), ("2024.03.01", "20240229"), ("2024-03-01", "20240229"), ("202403", "202402"), ("2024", "2023"),
     ("20240301-20240302", "20240229-20240301"), ("00000000", None), ("20241301", None), ("soon", None), ("20240301x", None), ("", None)],
)  # fmt: skip
def test_legacy_partial_and_broken_dates(text, moved):
    assert dates.shift_date(text, 1) == moved


@pytest.mark.parametrize(
    ("text", "moved"),
    [("20240301123000", "20240229123000"), ("20240301123000.123456+0100", "20240229123000.123456+0100"), ("2024030112", "2024022912"),
     ("20240301-0500", "20240229-0500"), ("202403", "202402"), ("20240301250000", None), ("x", None)],
)  # fmt: skip
def test_forms_of_date_times(text, moved):
    assert dates.shift_datetime(text, 1) == moved


@pytest.mark.parametrize(
    ("text", "capped"), [("089Y", "089Y"), ("090Y", "090Y"), ("104Y", "090Y"), ("012M", "012M"), ("old", None), ("", None)]
)
def test_ages_over_89_are_one_group(text, capped):
    assert dates.cap_age(text) == capped


def shifted(run, scrubber, dataset: Dataset) -> tuple[int, Dataset]:
    after = run(dataset, scrubber).after
    return (dates.parse_date(dataset.StudyDate) - dates.parse_date(after.StudyDate)).days, after


def test_one_shift_per_patient_at_every_depth(new_dataset, run, make_scrubber):
    scrubber = make_scrubber("retain_longitudinal_modified_dates")
    item = Dataset()
    item.ContentDate, item.DateTime = "20240110", "20240110111213.5"
    one = new_dataset(StudyDate="20240102", SeriesDate="20240103", AcquisitionDateTime="20240104101112", StudyTime="101112.5")
    one.PerformedProcedureCodeSequence = Sequence([item])
    one.TimezoneOffsetFromUTC, one.PatientBirthDate = "-0500", "19500101"
    two = new_dataset(StudyDate="20240702", SOPInstanceUID="1.2.3.4.5.6.7", StudyInstanceUID="1.2.3.4.5.6.8")
    shift, after = shifted(run, scrubber, one)
    assert 30 <= shift <= 3650
    assert shifted(run, scrubber, two)[0] == shift
    inside = after.PerformedProcedureCodeSequence[0]
    pairs = [
        (one.SeriesDate, after.SeriesDate),
        ("20240110", inside.ContentDate),
        ("20240104", after.AcquisitionDateTime[:8]),
        ("20240110", inside.DateTime[:8]),
    ]
    for before, moved in pairs:
        assert (dates.parse_date(before) - dates.parse_date(moved)).days == shift
    assert after.StudyTime == "101112.5" and after.TimezoneOffsetFromUTC == "-0500" and after.PatientBirthDate == ""
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"
    other = new_dataset(StudyDate="20240102", PatientID="someone else")
    assert shifted(run, scrubber, other)[0] != shift


@settings(max_examples=20, deadline=None)
@given(patient=st.text("0123456789", min_size=6, max_size=9))
def test_weekdays_stay_where_asked(patient, new_dataset, run, make_scrubber):
    scrubber = make_scrubber("retain_longitudinal_modified_dates", keep_weekday=True, date_shift_days=(1, 30))
    shift, _ = shifted(run, scrubber, new_dataset(StudyDate="20240102", PatientID=patient))
    assert shift in (7, 14, 21, 28)


def test_times_move_too_where_asked(new_dataset, run, make_scrubber):
    scrubber = make_scrubber("retain_longitudinal_modified_dates", shift_times=True)
    before = new_dataset(
        StudyDate="20240102", StudyTime="000130", SeriesDate="20240102", SeriesTime="235930", AcquisitionDateTime="20240102000130"
    )
    after = run(before, scrubber).after
    assert after.StudyTime != "000130"
    assert after.AcquisitionDateTime == after.StudyDate + after.StudyTime

    def moment(day: str, time: str) -> datetime:
        return datetime.strptime(day + time, "%Y%m%d%H%M%S")

    assert moment(after.SeriesDate, after.SeriesTime) - moment(after.StudyDate, after.StudyTime) == timedelta(hours=23, minutes=58)


def test_dates_that_cannot_be_read_do_not_stay(new_dataset, run, make_scrubber):
    after = run(new_dataset(StudyDate="gestern", AcquisitionDate="99999999"), make_scrubber("retain_longitudinal_modified_dates")).after
    assert after.get("StudyDate", "") == "" and after.get("AcquisitionDate", "") == ""


def test_modified_dates_win_over_device_identity(new_dataset, run, make_scrubber):
    before = new_dataset(StudyDate="20240102", DateOfLastCalibration="20231231")
    kept = run(before, make_scrubber("retain_device_identity")).after
    assert kept.DateOfLastCalibration == "20231231"
    shift, moved = shifted(run, make_scrubber("retain_device_identity", "retain_longitudinal_modified_dates"), before)
    assert (dates.parse_date("20231231") - dates.parse_date(moved.DateOfLastCalibration)).days == shift
    full = run(before, make_scrubber("retain_longitudinal_full_dates")).after
    assert full.StudyDate == "20240102" and full.LongitudinalTemporalInformationModified == "UNMODIFIED"
