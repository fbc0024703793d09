"""RunPod's queue on loopback; the real SDK takes it for the real one."""

from tests.loopback_platform.jobs import Chunk, Hold, Job, Outcome
from tests.loopback_platform.platform import LoopbackPlatform
from tests.loopback_platform.records import Ping, Take

__all__ = ["Chunk", "Hold", "Job", "LoopbackPlatform", "Outcome", "Ping", "Take"]
