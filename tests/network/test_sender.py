"""The sender against real archives: what each of their answers makes of a delivery."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.network.sending import bench, network, picture
from tests.peers import StoreScp, free_port, mute_port, orthanc, storescp

pytestmark = pytest.mark.integration


def data_set(data: bytes) -> bytes:
    """The data set's bytes of a Part 10 file."""
    return data[144 + int.from_bytes(data[140:144], "little"):]


def stored(archive: StoreScp) -> dict[str, bytes]:
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): data_set(path.read_bytes()) for path in archive.files()}


def test_instances_arrive_bit_by_bit(tmp_path: Path) -> None:
    """What the archive has is what was released, for every PDU length it may ask for."""
    pictures = [picture(number, rows=100 + number) for number in range(40)]
    for pdu in ("4096", "16384", "131072"):
        with storescp(tmp_path / pdu / "store", "-pdu", pdu) as archive, bench(tmp_path / pdu, {"archive": network(archive.port)}) as node:
            files = node.put(pictures)
            with node.sending():
                node.wait_delivered("archive", 40)
            assert stored(archive) == {str(ds.SOPInstanceUID): data_set(data) for ds, data in zip(pictures, files, strict=True)}
            assert node.ledger.status()["states"]["delivered"] == 40
            assert node.counts("archive")["up"] is True


def test_dead_destination_does_not_delay_a_live_one(tmp_path: Path) -> None:
    """One is dead, one takes the connection and never answers: the live one has all, the others keep waiting and cost no attempt."""
    port = free_port()
    with storescp(tmp_path / "store") as archive, mute_port() as mute:
        destinations = {"dead": network(port), "mute": network(mute, timeout=1), "live": network(archive.port)}
        with bench(tmp_path, destinations) as node:
            node.put([picture(number) for number in range(20)])
            with node.sending():
                node.wait_delivered("live", 20)
                node.wait(lambda: node.counts("dead").get("up") is False and node.counts("mute").get("up") is False)
                assert node.counts("dead")["waiting"] == node.counts("mute")["waiting"] == 20
                with storescp(tmp_path / "late", port=port) as late:
                    node.wait_delivered("dead", 20)
                    assert len(late.files()) == 20
                assert node.counts("dead")["up"] is True
            assert {entry.attempts for entry in node.ledger.deliveries_list()} == {0}


def test_archive_that_refuses_associations_is_tried_later(tmp_path: Path) -> None:
    port = free_port()
    with bench(tmp_path, {"archive": network(port)}) as node:
        node.put([picture()])
        with node.sending():
            with storescp(tmp_path / "no", "--refuse", port=port):
                node.wait(lambda: "rejected" in node.ledger.deliveries_list()[0].detail)
            with storescp(tmp_path / "yes", port=port) as archive:
                node.wait_delivered("archive", 1)
                assert len(archive.files()) == 1


@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
def test_abort_is_tried_later_and_costs_no_attempt(tmp_path: Path, option: str) -> None:
    port = free_port()
    with bench(tmp_path, {"archive": network(port)}) as node:
        node.put([picture(number, rows=200, columns=200) for number in range(5)])
        with node.sending():
            with storescp(tmp_path / "bad", option, port=port):
                node.wait(lambda: node.counts("archive").get("up") is False)
            assert {entry.attempts for entry in node.ledger.deliveries_list()} == {0}
            with storescp(tmp_path / "good", port=port) as archive:
                node.wait_delivered("archive", 5)
                assert len(archive.files()) == 5


def test_silence_after_the_data_is_tried_later(tmp_path: Path) -> None:
    """A time-out is no verdict on the instance."""
    slow = storescp(tmp_path / "store", "--sleep-during", "5")
    with slow as archive, bench(tmp_path, {"archive": network(archive.port, timeout=0.5)}) as node:
        node.put([picture()])
        with node.sending():
            node.wait(lambda: bool(node.ledger.deliveries_list()[0].detail))
        entry = node.ledger.deliveries_list()[0]
        assert entry.state == "waiting" and entry.attempts == 0


def test_only_implicit_is_served_by_transcoding(tmp_path: Path) -> None:
    """Explicit and compressed instances reach an archive that knows Implicit VR Little Endian alone, with the same pixels."""
    syntaxes = [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, ImplicitVRLittleEndian]
    pictures = [picture(number, syntax=syntax) for number, syntax in enumerate(syntaxes)]
    with storescp(tmp_path / "store", "+xi") as archive, bench(tmp_path, {"archive": network(archive.port)}) as node:
        node.put(pictures)
        with node.sending():
            node.wait_delivered("archive", 4)
        found = {ds.SOPInstanceUID: ds for ds in archive.instances()}
        for ds in pictures:
            assert found[ds.SOPInstanceUID].file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
            assert (found[ds.SOPInstanceUID].pixel_array == ds.pixel_array).all()


def test_own_syntax_is_kept_where_it_is_taken(tmp_path: Path) -> None:
    """One batch of several transfer syntaxes over one association."""
    syntaxes = [RLELossless, JPEGLSLossless, JPEG2000Lossless, ExplicitVRLittleEndian]
    pictures = [picture(number, syntax=syntax) for number, syntax in enumerate(syntaxes)]
    with storescp(tmp_path / "store", "+xa") as archive, bench(tmp_path, {"archive": network(archive.port, max_associations=1)}) as node:
        files = node.put(pictures)
        with node.sending():
            node.wait_delivered("archive", 4)
        assert stored(archive) == {str(ds.SOPInstanceUID): data_set(data) for ds, data in zip(pictures, files, strict=True)}


def test_no_presentation_context_fails_after_the_attempts(tmp_path: Path) -> None:
    """An archive that knows no such SOP class is up; the instance is failed, the others are delivered."""
    with storescp(tmp_path / "store") as archive, bench(tmp_path, {"archive": network(archive.port, attempts=3)}) as node:
        node.put([picture(1, sop_class="1.2.826.0.1.3680043.2.1143.99"), picture(2)])
        with node.sending():
            node.wait(lambda: node.counts("archive").get("failed") == 1 and node.counts("archive").get("delivered") == 1)
        entry = next(entry for entry in node.ledger.deliveries_list() if entry.state == "failed")
        assert "no presentation context" in entry.detail and entry.attempts == 2
        assert node.counts("archive")["up"] is True


def test_orthanc_takes_all_and_again(tmp_path: Path) -> None:
    """A resend of the same instances, as after a crash, is one instance in the archive."""
    pictures = [picture(number) for number in range(6)]
    with orthanc(tmp_path / "orthanc") as archive:
        for run in ("first", "again"):
            with bench(tmp_path / run, {"archive": network(archive.port)}) as node:
                node.put(pictures)
                with node.sending():
                    node.wait_delivered("archive", 6)
        assert len(archive.instances()) == 6


def test_changed_file_is_never_sent(tmp_path: Path) -> None:
    """One byte of a released file changed on disk: the digest does not hold, nothing leaves."""
    with storescp(tmp_path / "store") as archive, bench(tmp_path, {"archive": network(archive.port)}) as node:
        node.put([picture(1), picture(2)])
        victim = sorted((tmp_path / "var" / "spool" / "out").rglob("*.dcm"))[0]
        raw = bytearray(victim.read_bytes())
        raw[-1] ^= 1
        victim.write_bytes(raw)
        with node.sending():
            node.wait(lambda: node.counts("archive").get("failed") == 1 and node.counts("archive").get("delivered") == 1)
        assert len(archive.files()) == 1
        assert "not the one that was verified" in node.ledger.deliveries_list()[0].detail


def test_folder_destination(tmp_path: Path) -> None:
    """Whole files of the folder's own mode, nothing half-written left; asking a folder for commitment changes nothing."""
    pictures = [picture(number) for number in range(3)]
    with bench(tmp_path, {"folder": {"directory": str(tmp_path / "out"), "storage_commitment": True}}) as node:
        files = node.put(pictures)
        with node.sending():
            node.wait_delivered("folder", 3)
    for ds, data in zip(pictures, files, strict=True):
        path = tmp_path / "out" / "ANON-7" / ds.StudyInstanceUID / ds.SeriesInstanceUID / f"{ds.SOPInstanceUID}.dcm"
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o640
    assert not list((tmp_path / "out" / ".incoming").iterdir())


def test_folder_that_cannot_be_written_is_down_until_it_can(tmp_path: Path) -> None:
    """A file stands where the folder should be: all wait and none is blamed; afterwards all are delivered."""
    blocked = tmp_path / "mount"
    blocked.write_text("not mounted")
    with bench(tmp_path, {"folder": {"directory": str(blocked / "out"), "retry_initial": 0.05, "retry_max": 0.4}}) as node:
        node.put([picture(number) for number in range(3)])
        with node.sending():
            node.wait(lambda: node.counts("folder").get("up") is False)
            assert {entry.attempts for entry in node.ledger.deliveries_list()} == {0}
            blocked.unlink()
            node.wait_delivered("folder", 3)
