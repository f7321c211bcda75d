"""Which spool the settings mean: a folder, or an object store with a staging folder before it."""

from __future__ import annotations

from radanon_node.ledger.seal import object_key
from radanon_node.ledger.spool import Spool
from radanon_node.settings import Config


def open_spool(config: Config, key: bytes, min_free: int = 0) -> Spool:
    """The spool of a configuration.

    Parameters
    ----------
    key : bytes
        The node's (`seal.load_key`).
    min_free : int
        Bytes of free space below which new instances are refused: of the folder, or of the staging folder.

    Raises
    ------
    ConfigError
        ``ledger.spool`` or ``ledger.s3`` cannot be used.
    StorageError
        The folder cannot be made or written.
    """
    place = config.ledger.spool or ""
    if not place.startswith("s3://"):
        return Spool(config.spool_dir, min_free)
    from radanon_node.ledger.object_spool import ObjectSpool
    from radanon_node.ledger.object_store import ObjectStore

    store = ObjectStore(place, config.ledger.s3)
    return ObjectSpool(config.spool_dir, store, object_key(key) if config.ledger.s3.encrypt else None, min_free)
