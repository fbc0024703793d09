"""RunPod's queue on loopback. The real SDK can't tell it from the real platform."""

from tests.loopback_platform.jobs import Chunk, Hold, Job, Outcome
from tests.loopback_platform.platform import LoopbackPlatform
from tests.loopback_platform.records import Ping, Take

__all__ = ["Chunk", "Hold", "Job", "LoopbackPlatform", "Outcome", "Ping", "Take"]
