"""The node's key is made once, kept private, and everything sealed with it can be neither read nor forged without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset

from radanon_node.errors import ConfigError, StorageError
from radanon_node.ledger import seal as seal_module
from radanon_node.ledger.seal import Seal, dataset_offset, load_key
from radanon_node.ledger.types import ReleaseRecord

SEAL, OTHER = Seal(bytes(32)), Seal(bytes(31) + b"\1")
RECORD = ReleaseRecord("1.2", "2.25.1", "1.2.840.10008.1.2.1", "out/x", 7, "d", "")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret.key"
    key = load_key(path, create=True)
    assert (len(key), load_key(path, create=True), load_key(path, create=False)) == (32, key, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret.key"]


def test_racing_starts_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: load_key(tmp_path / "secret.key", create=True), range(24)))) == 1


def test_a_missing_key_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_key(tmp_path / "secret.key", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret.key"
    load_key(path, create=True)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(path, create=False)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33, "é" * 64])
def test_a_file_without_a_key_in_it_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="64 hexadecimal"):
        load_key(path, create=True)


def test_a_folder_as_key_file_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError, match=r"node\.key_file"):
        load_key(tmp_path, create=False)


@given(st.text())
@settings(deadline=None)
def test_sealed_text_opens_with_its_key_alone(text: str) -> None:
    sealed = SEAL.encrypt(text)
    assert SEAL.decrypt(sealed) == text
    assert SEAL.encrypt(text) != sealed
    with pytest.raises(StorageError):
        OTHER.decrypt(sealed)
    with pytest.raises(StorageError):
        SEAL.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_indexes_are_equal_for_equal_values_under_one_key() -> None:
    assert SEAL.index("a", "b") == SEAL.index("a", "b")
    assert len({SEAL.index("a", "b"), SEAL.index("ab"), SEAL.index("b", "a"), OTHER.index("a", "b")}) == 4


@pytest.mark.parametrize("field", [field.name for field in fields(ReleaseRecord) if field.name != "seal"])
def test_a_record_changed_anywhere_is_no_longer_signed(field: str) -> None:
    signed = replace(RECORD, seal=SEAL.sign(RECORD))
    assert SEAL.check(signed)
    assert not OTHER.check(signed)
    assert not SEAL.check(replace(signed, **{field: 8 if field == "size" else "other"}))


def part10(body: bytes, version: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2", "1.2.3", "1.2.840.10008.1.2.1"
    meta.ImplementationVersionName = version
    dataset = Dataset()
    dataset.file_meta = meta
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue() + body


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_the_content_digest_is_of_the_data_set_and_its_syntax(one: bytes, other: bytes) -> None:
    digest = SEAL.content_digest(part10(one, "A"), "1.2")
    assert digest == SEAL.content_digest(part10(one, "LONGER NAME"), "1.2")
    assert digest != SEAL.content_digest(part10(one, "A"), "1.2.1")
    assert (digest == SEAL.content_digest(part10(other, "A"), "1.2")) == (one == other)
    assert digest != OTHER.content_digest(part10(one, "A"), "1.2")


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_anything_else_is_taken_whole(data: bytes) -> None:
    assert dataset_offset(memoryview(data)) == 0
    lying = bytes(128) + b"DICM\2\0\0\0UL\4\0\xff\xff\xff\x7f" + data
    assert dataset_offset(memoryview(lying)) == 0


def test_large_data_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_module, "_PIECE", 16)
    data = bytes(range(100))
    assert SEAL.content_digest(data, "1.2") == SEAL.content_digest(data, "1.2")
    assert SEAL.content_digest(data, "1.2") != SEAL.content_digest(data[16:32] + data[:16] + data[32:], "1.2")
