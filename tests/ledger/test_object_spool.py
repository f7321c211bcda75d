"""The spool on object storage, against a real S3 server: what is sealed is kept, what the store has is sealed, orphans go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node import config as configuration
from radanon_node.cli import main
from radanon_node.errors import ConfigError, DiskLow, StorageError
from radanon_node.ledger import object_spool, object_store
from radanon_node.ledger.object_spool import ObjectSpool
from radanon_node.ledger.object_store import MissingObject, ObjectStore
from radanon_node.ledger.sealed_objects import SEGMENT, open_object, seal_object, sealed_size
from radanon_node.store import open_store
from tests.ledger.conftest import Hands
from tests.s3 import S3Server, s3_server

KEY = bytes(range(32))
_prefixes = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def place() -> str:
    return f"s3://spool/test{next(_prefixes)}"


def opened(server: S3Server, place: str, folder: Path, key: bytes | None = KEY, **more: object) -> ObjectSpool:
    return ObjectSpool(folder, ObjectStore(place, server.settings()), key, **more)  # type: ignore[arg-type]


@pytest.fixture
def spool(server: S3Server, place: str, tmp_path: Path) -> Iterator[ObjectSpool]:
    made = opened(server, place, tmp_path / "staging")
    yield made
    made.close()


def received(spool: ObjectSpool, body: bytes = b"the data set of DOE^JOHN") -> str:
    incoming = spool.begin(b"header ")
    os.write(incoming.fd, body)
    incoming.seal()
    return incoming.name


def staged(spool: ObjectSpool) -> list[Path]:
    return [path for path in spool._staging.rglob("*.dcm") if path.stat().st_size]


def test_what_is_sealed_lies_in_the_store_and_nothing_stays_behind(spool: ObjectSpool, server: S3Server, place: str) -> None:
    name = received(spool)
    assert staged(spool) == []
    with spool.open(name) as file:
        assert bytes(file.data) == b"header the data set of DOE^JOHN"
    assert b"DOE" not in (ObjectStore(place, server.settings()).get(name)[1] or b"")
    assert spool.exists(name)
    spool.remove(name)
    spool.remove(name)
    assert not spool.exists(name)
    with pytest.raises(StorageError, match="no such object"):
        spool.open(name)


def test_another_machine_opens_it(spool: ObjectSpool, server: S3Server, place: str, tmp_path: Path) -> None:
    names = [received(spool), *spool.store_all([b"one", b"", b"three"])]
    other = opened(server, place, tmp_path / "other")
    try:
        assert [bytes(other.open(name).data) for name in names] == [b"header the data set of DOE^JOHN", b"one", b"", b"three"]
    finally:
        other.close()


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "plain"])
def test_a_large_one_moves_in_pieces(key: bytes | None, server: S3Server, place: str, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (object_spool, object_store):
        monkeypatch.setattr(module, "AT_ONCE", 2**20)
        monkeypatch.setattr(module, "PIECE", 5 * 2**20)
    spool = opened(server, place, tmp_path / "staging", key)
    try:
        body = os.urandom(12 * 2**20 + 5)
        name = received(spool, body)
        with spool.open(name) as file:
            assert bytes(file.data) == b"header " + body
    finally:
        spool.close()


def test_a_store_that_is_away_is_a_storage_error_and_nothing_is_kept(server: S3Server, place: str, tmp_path: Path) -> None:
    lost = ObjectStore(place, server.settings(endpoint="http://127.0.0.1:9", timeout=1))
    spool = ObjectSpool(tmp_path / "staging", lost, KEY)
    try:
        incoming = spool.begin(b"header")
        with pytest.raises(StorageError, match="the object store fails"):
            incoming.seal()
        assert staged(spool) == []
        before = time.monotonic()
        with pytest.raises(StorageError, match="a moment ago"):
            spool.begin(b"header")
        assert time.monotonic() - before < 1.0
        with pytest.raises(StorageError):
            spool.store_all([b"x"])
    finally:
        spool.close()


def test_wrong_credentials_are_refused(server: S3Server, place: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("access_key_id=radanon\nsecret_access_key=guessed\n")
    store = ObjectStore(place, server.settings(credentials=wrong))
    with pytest.raises(StorageError, match="refuses the credentials"):
        store.put("x", b"x")


def test_credentials_must_be_there_and_private(server: S3Server, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        ObjectStore(place, server.settings(credentials=None))
    shown = tmp_path / "shown"
    shown.write_text("access_key_id=a\nsecret_access_key=b\n")
    shown.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        ObjectStore(place, server.settings(credentials=shown))
    with pytest.raises(ConfigError, match="s3://BUCKET/PREFIX"):
        ObjectStore("s3://", server.settings())


def test_a_prefix_belongs_to_one_ledger(spool: ObjectSpool, server: S3Server, place: str, tmp_path: Path) -> None:
    spool.bind("a" * 32)
    other = opened(server, place, tmp_path / "other")
    try:
        other.bind("a" * 32)
    finally:
        other.close()
    stranger = opened(server, place, tmp_path / "stranger")
    try:
        with pytest.raises(ConfigError, match="another ledger"):
            stranger.bind("b" * 32)
    finally:
        stranger.close()


def test_only_old_objects_without_a_row_go(server: S3Server, place: str, tmp_path: Path) -> None:
    spool = opened(server, place, tmp_path / "staging", orphan_after=timedelta(0))
    try:
        kept, orphan = received(spool), received(spool)
        young = opened(server, place, tmp_path / "young")
        assert young.tidy(lambda names: (), at_once=True) == []
        young.close()
        assert spool.tidy(lambda names: {kept}) == []  # not yet time to look
        assert spool.tidy(lambda names: {kept}, at_once=True) == [orphan]
        assert spool.exists(kept)
        assert not spool.exists(orphan)
    finally:
        spool.close()


def test_the_staging_folder_of_a_dead_process_is_cleared(server: S3Server, place: str, tmp_path: Path) -> None:
    dead = opened(server, place, tmp_path / "staging")
    incoming = dead.begin(b"half an instance")
    dead.close()
    os.close(incoming.fd)
    again = opened(server, place, tmp_path / "staging")
    try:
        assert incoming.name in again.sweep(lambda names: names)
        assert staged(again) == []
    finally:
        again.close()


def test_the_staging_disk_has_a_floor(server: S3Server, place: str, tmp_path: Path) -> None:
    spool = opened(server, place, tmp_path / "staging", min_free=2**60)
    try:
        with pytest.raises(DiskLow):
            spool.begin(b"header")
    finally:
        spool.close()


@given(size=st.sampled_from([0, 1, 15, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT + 7]), place=st.floats(0, 0.999), part=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_sealed_object_opens_whole_or_not_at_all(size: int, place: float, part: bool) -> None:
    data = bytes(size)
    sealed = b"".join(seal_object(KEY, "in/a", data))
    assert len(sealed) == sealed_size(size)

    def text(found: bytes, name: str = "in/a", key: bytes = KEY) -> bytes:
        return b"".join(open_object(key, name, len(found), lambda start, end: found[start:end]))

    assert text(sealed) == data
    where = int(place * len(sealed))
    altered = sealed[:where] if part else sealed[:where] + bytes([sealed[where] ^ 1]) + sealed[where + 1:]
    for arguments in ((altered,), (sealed, "in/b"), (sealed, "in/a", bytes(32)), (sealed + sealed[-40:],)):
        with pytest.raises(StorageError):
            text(*arguments)  # type: ignore[arg-type]


def test_what_is_not_there_is_told_apart_from_trouble(server: S3Server, place: str) -> None:
    with pytest.raises(MissingObject):
        ObjectStore(place, server.settings()).get("nothing")


def test_many_objects_go_in_one_request_also_those_that_are_gone(spool: ObjectSpool) -> None:
    names = [received(spool, b"%d" % number) for number in range(5)]
    spool.remove(names[2])
    spool.remove_all(names[:4])
    assert [spool.exists(name) for name in names] == [False] * 4 + [True]
    spool.remove_all([])
    with pytest.raises(StorageError):
        spool.remove_all(["../elsewhere"])


def test_a_backup_is_restored_into_an_object_store(server: S3Server, place: str, tmp_path: Path) -> None:
    """Under the same names, sealed; what came after the backup is set aside, as in a folder."""
    phrase, config, out = tmp_path / "phrase", tmp_path / "config.yaml", tmp_path / "one.backup"
    phrase.write_text("correct horse battery")
    phrase.chmod(0o600)
    settings = {"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}},
                "ledger": {"spool": place, "s3": {"endpoint": server.endpoint, "credentials": str(server.credentials)}}}
    config.write_text(yaml.safe_dump(settings))
    hands = Hands.__new__(Hands)
    hands.ledger, hands.spool = open_store(configuration.load(config), create_key=True)
    hands.release("1.1")
    hands.admit("1.2")
    names = hands.ledger.kept_files()
    before = {}
    for name in names:
        with hands.spool.open(name) as opened:
            before[name] = bytes(opened.data)
    assert main(["backup", "--out", str(out), "--spool", "--passphrase-file", str(phrase), "--config", str(config)]) == 0
    hands.admit("1.3")
    gone = next(name for name in names if name.startswith("out/"))
    hands.spool.remove(gone)
    hands.close()
    for left in (tmp_path / "var").glob("ledger.sqlite*"):
        left.unlink()
    assert main(["restore", str(out), "--passphrase-file", str(phrase), "--config", str(config)]) == 0
    (aside,) = (tmp_path / "var").glob("unknown-*")
    (kept,) = aside.iterdir()
    assert kept.read_bytes().endswith(b"the data set")
    assert kept.stat().st_mode & 0o777 == 0o600
    hands.ledger, hands.spool = open_store(configuration.load(config), create_key=False)
    try:
        for name, data in before.items():
            with hands.spool.open(name) as opened:
                assert bytes(opened.data) == data
        assert {name for batch in hands.spool.originals() for name in batch} == {name for name in names if name.startswith("in/")}
    finally:
        hands.close()
