"""A Hugging Face Hub on loopback. The real client can't tell it from the real Hub."""

from tests.loopback_hub.faults import Faults
from tests.loopback_hub.hub import LoopbackHub
from tests.loopback_hub.journal import Request

__all__ = ["Faults", "LoopbackHub", "Request"]
