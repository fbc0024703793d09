# ruff: noqa: INP001 - a script, not a package
"""RunPod's Hub looks for a handler here; the image starts the same: `python -m router`."""

import runpy
import sys

sys.path.insert(0, __file__.rpartition("/.runpod/")[0] or ".")
runpy.run_module("router", run_name="__main__")
