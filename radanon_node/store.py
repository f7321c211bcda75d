"""Ledger and spool of a configuration: what the node's processes, and every command that looks into its data, begin with."""

from __future__ import annotations

from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.places import open_spool
from radanon_node.ledger.seal import load_key
from radanon_node.ledger.spool import Spool
from radanon_node.settings import Config


def open_store(config: Config, create_key: bool = False) -> tuple[Ledger, Spool]:
    """Ledger and spool of a configuration, with its key.

    Parameters
    ----------
    config : Config
    create_key : bool
        Make data folder and key file where there are none yet: the node's first start.

    Raises
    ------
    ConfigError
        The key file is missing, unsafe, or not the one this ledger was made with.
    StorageError
        Database or folder cannot be used.
    """
    if create_key:
        config.node.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = load_key(config.node.key_path, create=create_key)
    spool = open_spool(config, key, config.listener.min_free_disk)
    return Ledger(config.ledger_url, key, spool, config.worker.attempts), spool
