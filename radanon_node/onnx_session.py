"""How this package opens and calls a network in ONNX Runtime: one place for threads, idle cores, telemetry and denormal numbers."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

# Flush-to-zero and denormals-are-zero in MXCSR (Intel SDM, volume 1, 10.2.3), and where it stands in glibc's fenv_t.
_FLUSH, _MXCSR, _FENV_WORDS = 0x8040, 7, 8


class Network:
    """A loaded network; `run` is the runtime's own, with denormal numbers taken for zero on the calling thread too.

    Parameters
    ----------
    model : str or bytes
        Path of the ONNX file, or its content.
    options : SessionOptions
    """

    def __init__(self, model: str | bytes, options: ort.SessionOptions) -> None:
        # The first session of a process would leave the thread that opens it flushing for good.
        with _float_mode(flush=False):
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself, by key."""
        found: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """The outputs of those names, None = all, for inputs by name."""
        with _float_mode(flush=True):
            rows: list[NDArray[np.float32]] = self._session.run(outputs, inputs)
        return rows


def open_session(model: str | bytes, threads: int) -> Network:
    """Open a network on the CPU.

    A number too small for a normal float costs some hundred cycles wherever it meets an instruction, and networks underflow to such
    numbers in whole channels: the text detector took 3.7 times as long. The runtime's own setting flushes them on the threads of its
    pool, but on the calling thread only if that opened the process's first session; with one thread there is no pool. So `Network.run`
    does it.

    Parameters
    ----------
    model : str or bytes
        Path of the ONNX file, or its content.
    threads : int
        CPU threads of one call.

    Raises
    ------
    Exception
        The runtime raises its own, undocumented types.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(threads, 1)
    options.inter_op_num_threads = 1
    # Spinning threads would keep an idle node's cores busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = 3
    ort.disable_telemetry_events()
    return Network(model, options)


@contextmanager
def _float_mode(flush: bool) -> Iterator[None]:
    """The thread's floating-point environment is what it was before at the end; meanwhile denormal numbers are zero, if asked."""
    library = _fenv()
    if library is None:
        yield
        return
    before = (ctypes.c_uint32 * _FENV_WORDS)()
    library.fegetenv(before)
    if flush:
        inside = (ctypes.c_uint32 * _FENV_WORDS).from_buffer_copy(before)
        inside[_MXCSR] |= _FLUSH
        library.fesetenv(inside)
    try:
        yield
    finally:
        library.fesetenv(before)


@cache
def _fenv() -> ctypes.PyDLL | None:
    """The C library's fenv.h; None where it is another one, or the processor has no such mode (on ARM denormal numbers cost nothing)."""
    if platform.machine() != "x86_64":
        return None
    try:
        return ctypes.PyDLL("libm.so.6")
    except OSError:
        return None
