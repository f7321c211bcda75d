"""The process that opens instance files for the review page: originals are hostile input, so what decodes them is kept apart.

It is started at the first picture, ends after some minutes without one, may crash or hang without harm to the pages, and holds the
models, so that a reviewer sees what the cleaning core would do with an instance before he decides.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import structlog

from radanon_node import logs
from radanon_node.errors import HoldInstance, RadanonError, describe
from radanon_node.ledger.reviews import DECIDABLE, ReviewSource
from radanon_node.settings import Config

log = structlog.get_logger("radanon.web")

_IDLE_S = 300.0
_TIMEOUT_S = 180.0
_CACHED = 4


class CannotShow(RadanonError):
    """A picture cannot be shown; the text says why, without a value of the data set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the cleaning core makes of an instance.

    Parameters
    ----------
    boxes : list of dict
        As in a receipt.
    reason, detail : str
        Why it would be held; empty when it would be released.
    rows, columns, frames : int
        Of the picture; 0 where there is none.
    """

    boxes: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    detail: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 0


class Viewer:
    """The pages' end of the process. Safe for threads; one request at a time.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    timeout : float
        Seconds after which a request is given up and the process ended.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self.timeout = _TIMEOUT_S
        self._process: Any = None
        self._pipe: Connection | None = None

    def size(self, source: ReviewSource) -> tuple[int, int, int]:
        """(rows, columns, frames) of the original."""
        rows, columns, frames = self._call("size", source)
        return int(rows), int(columns), int(frames)

    def outcome(self, source: ReviewSource, edits: dict[str, Any] | None) -> Outcome:
        """What would become of a held instance with these corrections, its verdict let pass where a person may."""
        found: Outcome = self._call("outcome", source, edits)
        return found

    def picture(self, source: ReviewSource, after: bool, frame: int, edits: dict[str, Any] | None,
                png: bool) -> tuple[dict[str, str], bytes]:
        """One frame before or after cleaning: headers that describe it and its bytes (gzip'd levels, or a PNG)."""
        headers, data = self._call("picture", source, after, frame, edits, png)
        return headers, data

    def rule(self, source: ReviewSource, edits: dict[str, Any], name: str) -> str:
        """The added boxes as a device rule for instances like this one, YAML."""
        return str(self._call("rule", source, edits, name))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _call(self, name: str, *arguments: Any) -> Any:
        with self._lock:
            if self._process is None or not self._process.is_alive():
                self._begin()
            try:
                assert self._pipe is not None
                self._pipe.send((name, arguments))
                if not self._pipe.poll(self.timeout):
                    self._end()
                    raise CannotShow("it takes too long")
                done, answer = self._pipe.recv()
            except (EOFError, OSError):
                self._end()
                raise CannotShow("the process that opens pictures died of it") from None
        if not done:
            raise CannotShow(answer)
        return answer

    def _begin(self) -> None:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=viewer_main, args=(self._config, theirs), name="radanon viewer", daemon=True)
        self._process.start()
        theirs.close()  # so that each end notices when the other is gone

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def viewer_main(config: Config, pipe: Connection) -> None:
    """The process: answers until nobody asks for a while or the pages are gone."""
    from radanon_node.ledger.places import open_spool
    from radanon_node.ledger.seal import load_key
    from radanon_node.pipeline.tools import Tools
    from radanon_node.pipeline.worker import _limit_memory

    logs.configure(config.node.log_format, config.node.log_level)
    _limit_memory(config.worker.memory_limit)
    key = load_key(config.node.key_path, create=False)
    opener = Opener(config, open_spool(config, key), Tools.load(config, key, 1))
    answers: dict[str, Callable[..., Any]] = {
        "size": opener.size, "outcome": opener.outcome, "picture": opener.picture, "rule": opener.rule}
    try:
        while pipe.poll(_IDLE_S):
            name, arguments = pipe.recv()
            pipe.send(_answered(answers[name], arguments))
    except (EOFError, OSError):
        return


def _answered(answer: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, answer(*arguments)
    except HoldInstance as hold:
        return False, f"{hold.reason}: {hold.detail}"
    except RadanonError as error:
        return False, describe(error)
    except Exception as error:  # the edge of the process; the text of a foreign error may quote the data set
        log.error("a picture cannot be shown", exc_info=error)
        return False, type(error).__name__


class Opener:
    """The work of the process."""

    def __init__(self, config: Config, spool: Any, tools: Any) -> None:
        self._config, self._spool, self._tools = config, spool, tools
        self._images: OrderedDict[str, tuple[Any, Any]] = OrderedDict()  # file -> image, its open file
        self._outcomes: OrderedDict[tuple[str, str], tuple[Outcome, bytes]] = OrderedDict()

    def size(self, source: ReviewSource) -> tuple[int, int, int]:
        image = self._image(source.file)
        return image.rows, image.columns, image.frames

    def outcome(self, source: ReviewSource, edits: dict[str, Any] | None) -> Outcome:
        return self._clean(source, edits)[0]

    def picture(self, source: ReviewSource, after: bool, frame: int, edits: dict[str, Any] | None,
                png: bool) -> tuple[dict[str, str], bytes]:
        from radanon_node.pixels.shown import shown

        image = self._after(source, edits) if after else self._image(source.file)
        if not 0 <= frame < image.frames:
            raise CannotShow("there is no such frame")
        one = shown(image, frame)
        if png:
            return {}, one.png()
        rows, columns = one.pixels.shape[:2]
        headers = {"X-Rows": str(rows), "X-Columns": str(columns), "X-Samples": "3" if one.pixels.ndim == 3 else "1",
                   "X-Bits": str(8 * one.pixels.itemsize), "X-Low": f"{one.low:.3f}", "X-High": f"{one.high:.3f}",
                   "X-Inverted": str(int(one.inverted)), "X-Scale": str(one.scale)}
        squeezed = zlib.compressobj(1, zlib.DEFLATED, 31)
        return headers, squeezed.compress(one.pixels.astype(one.pixels.dtype.newbyteorder("<"), copy=False).tobytes()) + squeezed.flush()

    def rule(self, source: ReviewSource, edits: dict[str, Any], name: str) -> str:
        from radanon_node.markers.rules import Rule, dump_rules
        from radanon_node.markers.rules_conditions import Group, Test
        from radanon_node.pipeline.reviewed import edits_from

        image = self._image(source.file)
        dataset = image.instance.dataset
        words = {keyword: str(dataset.get(keyword) or "").strip() for keyword in ("Modality", "Manufacturer", "ManufacturerModelName")}
        tests = tuple(Test(keyword, "equals", (value,)) for keyword, value in words.items() if value)
        boxes = tuple(edit.box.clipped(image.rows, image.columns) for edit in edits_from(edits).added)
        if not tests or not boxes:
            raise CannotShow("a device rule needs a device that names itself, and added boxes")
        return dump_rules([Rule(name, Group(tests, True), boxes, None, (image.rows, image.columns), False, "proposed by a reviewer")])

    def _image(self, file: str) -> Any:
        from radanon_node.pixels.codec import open_image
        from radanon_node.pixels.instance import read_instance

        if file not in self._images:
            opened = self._spool.open(file)
            instance = read_instance(opened.data)
            if instance.pixels is None:
                raise CannotShow("the instance has no picture")
            self._images[file] = open_image(instance), opened
        self._images.move_to_end(file)
        while len(self._images) > _CACHED:
            self._images.popitem(last=False)[1][1].close()
        return self._images[file][0]

    def _after(self, source: ReviewSource, edits: dict[str, Any] | None) -> Any:
        from radanon_node.pixels.codec import open_image
        from radanon_node.pixels.instance import read_instance

        if source.source == "sample":
            return self._image(source.released_file)
        outcome, encoded = self._clean(source, edits)
        if not encoded:
            raise CannotShow(f"{outcome.reason}: {outcome.detail}" if outcome.reason else "there is no clean picture")
        return open_image(read_instance(encoded))

    def _clean(self, source: ReviewSource, edits: dict[str, Any] | None) -> tuple[Outcome, bytes]:
        key = source.file, json.dumps([edits, source.waived, source.reason], sort_keys=True)
        if key not in self._outcomes:
            self._outcomes[key] = self._cleaned_now(source, edits)
        self._outcomes.move_to_end(key)
        while len(self._outcomes) > _CACHED:
            self._outcomes.popitem(last=False)
        return self._outcomes[key]

    def _cleaned_now(self, source: ReviewSource, edits: dict[str, Any] | None) -> tuple[Outcome, bytes]:
        from radanon_node.pipeline.clean import finish, look, prepare
        from radanon_node.pipeline.receipt import describe_region
        from radanon_node.pipeline.reviewed import edits_from
        from radanon_node.pipeline.tools import Policy
        from radanon_node.pipeline.types import Received

        policy = Policy.for_route(self._config, source.route)
        waived = f"{source.waived} {source.reason}" if source.reason in DECIDABLE else source.waived
        boxes: list[dict[str, Any]] = []
        size = (0, 0, 0)
        with self._spool.open(source.file) as opened:
            received = Received(opened.data, str(source.id), source.sop_class_uid, source.sop_instance_uid, source.transfer_syntax_uid,
                                waived, edits_from(edits))
            try:
                item = prepare(received, policy, self._tools)
                if item.image is not None:
                    size = item.image.rows, item.image.columns, item.image.frames
                look([item], policy, self._tools)
                boxes = [describe_region(region) for region in item.regions]
                released = finish(item, policy, self._tools)
            except HoldInstance as hold:
                return Outcome(boxes, str(hold.reason), hold.detail, *size), b""
            return Outcome(boxes, "", "", *size), bytes(released.encoded)
