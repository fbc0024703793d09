"""A side process: `python -m router.side_process_child`. See `router.side_process`.

Reads orders from standard input and writes results to standard output, each as two lengths, a
pickle and bytes. End of file means that the router has ended, or has no more work.
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
        del order, result, returned  # while this waits, nothing of a caller's is here
        gc.collect()


def _carry_out(order: bytes, data: bytes) -> tuple[bytes, bytes]:
    try:
        work, arguments = pickle.loads(order)  # noqa: S301 - the router's
        result, returned = work(data, *arguments)
    except RouterError as error:
        return pickle.dumps(error), b""
    except Exception as defect:  # noqa: BLE001 - told by its type alone: its text may be a caller's
        return pickle.dumps(RuntimeError(type(defect).__name__)), b""
    return pickle.dumps(result), returned


def main() -> None:
    hide_memory()
    # A killed router ends no work, and the end of file is seen after it: seconds, or minutes.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep anything that is printed out of the results
    os.nice(_NICENESS)
    gc.disable()  # it would look through each tree of values several times
    serve(sys.stdin.buffer, results)


if __name__ == "__main__":
    main()
