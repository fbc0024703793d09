"""A side process: `python -m router.side_process_child`. See `router.side_process`.

Reads orders from standard input and writes results to standard output. Each is two lengths, a
pickle, and bytes. End of file means that the router has ended or has no more work.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import struct
import sys
from typing import BinaryIO

from router.concealment import hide_memory
from router.errors import RouterError

_HEAD = struct.Struct("<QQ")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NICENESS = 5  # the router and its engines come first


def serve(orders: BinaryIO, results: BinaryIO) -> None:
    while head := orders.read(_HEAD.size):
        length, left = _HEAD.unpack(head)
        order = orders.read(length)
        result, returned = _carry_out(order, orders.read(left))
        results.write(_HEAD.pack(len(result), len(returned)) + result)
        results.write(returned)
        results.flush()
        del order, result, returned  # an idle process must not keep a caller's data
        gc.collect()


def _carry_out(order: bytes, data: bytes) -> tuple[bytes, bytes]:
    try:
        work, arguments = pickle.loads(order)  # noqa: S301 - written by the router
        result, returned = work(data, *arguments)
    except RouterError as error:
        return pickle.dumps(error), b""
    except Exception as defect:  # noqa: BLE001 - its text may hold a caller's data
        return pickle.dumps(RuntimeError(type(defect).__name__)), b""
    return pickle.dumps(result), returned


def main() -> None:
    hide_memory()
    # Without this, a side process outlives a killed router until its work ends, which can take
    # minutes.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep printed text out of the results
    os.nice(_NICENESS)
    gc.disable()  # it would scan each tree of values several times
    serve(sys.stdin.buffer, results)


if __name__ == "__main__":
    main()
