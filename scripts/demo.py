"""The main job, for real: films over DICOM into a running node, clean ones into a real archive, a before/after picture.

Starts Orthanc (the archive) and the node on free ports of the loopback, pushes synthetic films with DCMTK's storescu, waits until the
archive has all of them, fetches them back, checks that nothing of the patients' identities is in them, and draws before beside after.
Everything lands in ``demo-out/``; everything started is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.pixels.picture import before_after_png
from radanon_node.pixels.view import views
from radanon_node.training.demo_films import write_demo_films

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=6, help="how many films to push")
    parser.add_argument("--out", type=Path, default=ROOT / "demo-out")
    args = parser.parse_args()
    for program in ("storescu", "Orthanc"):
        if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
            sys.exit(f"demo: {program} is missing; `make setup` says how to install it")
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    print(f"1. drawing {args.films} synthetic films of invented patients, markers and names burnt in")
    films = write_demo_films(args.out / "films", args.films)
    with contextlib.ExitStack() as stack:
        http, dicom = stack.enter_context(orthanc(args.out / "archive"))
        print(f"2. archive: Orthanc, AE title ARCHIVE, port {dicom}")
        port = stack.enter_context(node(args.out, dicom))
        print(f"3. node: AE title RADANON, port {port}")
        begun = time.perf_counter()
        command = ["storescu", "-aec", "RADANON", "-aet", "MODALITY", "127.0.0.1", str(port), *map(str, films)]
        subprocess.run(command, check=True, env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"})
        print(f"4. storescu pushed {len(films)} films: each acknowledged after it was on disk ({time.perf_counter() - begun:.1f} s)")
        arrived = wait_for_archive(http, len(films), args.out)
        print(f"5. the archive has {len(arrived)} clean films ({time.perf_counter() - begun:.1f} s after the first byte)")
        pictures = compare(films, arrived, args.out, http)
    print(f"6. before/after pictures: {', '.join(str(path.relative_to(args.out.parent)) for path in pictures)}")
    return 0


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, int]]:
    """A private Orthanc; yields its HTTP and DICOM ports."""
    folder.mkdir()
    http, dicom = free_port(), free_port()
    settings = {
        "Name": "archive", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "HttpPort": http, "DicomPort": dicom,
        "DicomAet": "ARCHIVE", "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomCheckCalledAet": False, "Plugins": [],
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    with (folder / "orthanc.log").open("wb") as output:
        process = subprocess.Popen([program, str(path)], stdout=output, stderr=output)
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and process.poll() is None:
                with contextlib.suppress(OSError):
                    rest(http, "/system")
                    break
                time.sleep(0.1)
            else:
                sys.exit(f"demo: Orthanc did not start; see {output.name}")
            yield http, dicom
        finally:
            stop(process)


@contextlib.contextmanager
def node(out: Path, archive_port: int) -> Iterator[int]:
    """The node under the repository's default configuration, with free ports; yields its DICOM port."""
    text = (ROOT / "config.yaml").read_text()
    changes = {
        "port: 11112": "port: 0", "port: 4242": f"port: {archive_port}", "port: 8080": "port: 0", "ae_title: ORTHANC": "ae_title: ARCHIVE",
        "log_format: console": "log_format: json", "min_free_disk: 2GiB": "min_free_disk: 200MiB",
    }  # fmt: skip
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    config = out / "config.yaml"
    config.write_text(text)
    log = out / "node.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "radanon_node", "serve", "--config", str(config)], stdout=output, stderr=output)
        try:
            until = time.monotonic() + 120
            port = None
            while port is None and time.monotonic() < until and process.poll() is None:
                time.sleep(0.1)
                events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
                port = next((event["port"] for event in events if event["event"] == "ready"), None)
            if port is None:
                sys.exit(f"demo: the node did not start; see {log}")
            yield port
        finally:
            stop(process)


def wait_for_archive(http: int, count: int, out: Path) -> list[str]:
    """Ids of the archive's instances once it has `count` of them."""
    until = time.monotonic() + 180
    while time.monotonic() < until:
        found: list[str] = json.loads(rest(http, "/instances"))
        if len(found) >= count:
            return found
        time.sleep(0.2)
    subprocess.run([sys.executable, "-m", "radanon_node", "quarantine", "list", "--config", str(out / "config.yaml")], check=False)
    sys.exit(f"demo: the archive has {len(found)} of {count} films; see {out / 'node.log'}")


def compare(films: list[Path], arrived: list[str], out: Path, http: int) -> list[Path]:
    """Fetch what arrived, look for what must not be there, draw each film before and after."""
    clean = out / "clean"
    clean.mkdir()
    originals = {}
    for path in films:
        instance = read_instance(path.read_bytes())
        originals[int(instance.dataset.InstanceNumber)] = instance
    pictures = []
    for identifier in arrived:
        data = rest(http, f"/instances/{identifier}/file")
        after = read_instance(data)
        number = int(after.dataset.InstanceNumber)
        before = originals[number]
        for word in (str(before.dataset.PatientID), *str(before.dataset.PatientName).split("^"), str(before.dataset.AccessionNumber)):
            assert word.encode() not in data, "an identifier of the patient is in what left"
        (clean / f"{number}.dcm").write_bytes(data)
        picture = out / f"film-{number}.png"
        picture.write_bytes(before_after_png(views(open_image(before), 0)[0], views(open_image(after), 0)[0], []))
        pictures.append(picture)
    return sorted(pictures)


def rest(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        data: bytes = answer.read()
    return data


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
