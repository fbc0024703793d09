"""A Hugging Face Hub of our own, on loopback; the real client takes it for the real one."""

from tests.loopback_hub.faults import Faults
from tests.loopback_hub.hub import LoopbackHub
from tests.loopback_hub.journal import Request

__all__ = ["Faults", "LoopbackHub", "Request"]
