"""``radanon map``: which patient is behind a pseudonym, for those who may know: encrypted, asked for a reason, and audited.

The node keeps no such map. It is made anew from original files that still are where identities are at home, with the node's key.
"""

from __future__ import annotations

import argparse
import getpass
import os
from dataclasses import asdict
from pathlib import Path

from radanon_node.commands.common import add_config_argument, load_config, print_json, profile_name, warn
from radanon_node.errors import EXIT_OK, EXIT_QUARANTINED, ConfigError, HoldInstance
from radanon_node.inputs import list_inputs, printable, read_input
from radanon_node.ledger.seal import load_key
from radanon_node.pixels.instance import read_instance
from radanon_node.store import open_store
from radanon_node.tags.pseudonyms import PatientKey, Pseudonyms, patient_key
from radanon_node.tags.reidentification import export_map, new_key, read_map

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    export = acts.add_parser("export", help="write the map of the patients in original files")
    export.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="original files or folders")
    export.add_argument("--out", required=True, type=Path, metavar="F", help="the encrypted map; made 0600")
    export.add_argument("--key-file", required=True, type=Path, metavar="K", help="its key, made 0600; keep it apart from the map")
    export.add_argument("--reason", required=True, metavar="WHY", help="kept in the audit trail")
    export.add_argument("--user", default=None, metavar="NAME", help="who asks (default: the login name)")
    export.add_argument("--route", metavar="AE", help="project of this route (default: the profile `default`)")
    add_config_argument(export)
    read = acts.add_parser("read", help="decrypt a map to stdout, as JSON")
    read.add_argument("map", type=Path, metavar="F")
    read.add_argument("--key-file", required=True, type=Path, metavar="K")


def run(args: argparse.Namespace) -> int:
    try:
        return _export(args) if args.act == "export" else _read(args)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None


def _read(args: argparse.Namespace) -> int:
    print_json([asdict(entry) for entry in read_map(args.map.read_bytes(), args.key_file.read_bytes().strip())])
    return EXIT_OK


def _export(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    _, name = profile_name(config, args.route)
    profile = config.profiles[name]
    patients: dict[PatientKey, set[str]] = {}
    skipped = 0
    for path, relative in list_inputs(args.paths):
        try:
            dataset = read_instance(read_input(path)).dataset
        except (HoldInstance, OSError) as error:
            warn(f"left out: {printable(relative)}: {error.reason if isinstance(error, HoldInstance) else error.strerror}")
            skipped += 1
            continue
        uids = patients.setdefault(patient_key(dataset), set())
        uids.update(str(dataset.get(keyword)) for keyword in _UIDS if dataset.get(keyword))
    if not patients:
        raise ConfigError("PATH: no patient in these files")
    key = new_key()
    pseudonyms = Pseudonyms(load_key(config.node.key_path, create=False), profile.pseudonyms, profile.tags)
    token = export_map(pseudonyms, [(patient, sorted(uids)) for patient, uids in patients.items()], key)
    ledger, _ = open_store(config)
    # Audited before anything is written: an export that nobody can see later does not happen.
    who = args.user or getpass.getuser()
    ledger.record_act(who, f"map export: {len(patients)} patients, scope {profile.pseudonyms.scope}", args.reason)
    ledger.close()
    _write_private(args.key_file, key)
    _write_private(args.out, token)
    print(f"{len(patients)} patients; map: {args.out}; key: {args.key_file}")
    return EXIT_QUARANTINED if skipped else EXIT_OK


def _write_private(path: Path, data: bytes) -> None:
    """A new file for this user alone; one that is there already is an error."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
