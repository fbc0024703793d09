"""The Ray Serve application: replicas with engines, and an ingress on each node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.schema import LoggingConfig

from router.app.fleet.ingress import Ingress
from router.app.fleet.replica import EngineReplica
from router.config.settings import Settings

_REPLICAS, _INGRESS = "engines", "ingress"
_GRACE = 15.0  # seconds after DRAIN_TIMEOUT, for engines to stop
# Ray puts large arguments into its object store. A body's chunks must fit into the call itself.
_INLINED = "RAY_task_rpc_inlined_bytes_limit"


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """`args` of the application, in a Serve config.

    * `num_gpus`, `num_cpus`: for each replica.
    * `min_replicas`, `max_replicas`: if they are equal, the number of replicas is fixed.
    * `target_requests`: in flight and waiting, per replica; Ray adds replicas above that.
    * `upscale_delay`, `downscale_delay`: seconds before Ray adds or removes replicas.
    * `ingresses`: their number, at most one on each node. With `ingress_resource`, only on
      nodes that have this custom Ray resource.
    """

    num_gpus: float = 1.0
    num_cpus: float = 1.0
    min_replicas: int = 1
    max_replicas: int = 1
    target_requests: float = 16.0
    upscale_delay: float = 30.0
    downscale_delay: float = 600.0
    ingresses: int = 1
    ingress_resource: str = ""
    at_random: bool = False  # route at random, for comparisons

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> FleetOptions:
        """Read `args`. Raises `ValueError` for an unknown name."""
        known = {field.name for field in fields(cls)}
        if strangers := set(args) - known:
            raise ValueError(f"{sorted(strangers)}: there are {sorted(known)}")
        return cls(**args)


def build(args: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Ray has no types
    """The application builder for `import_path` in a Serve config."""
    return application(FleetOptions.of(args), Settings.from_environ(os.environ))


def application(options: FleetOptions, settings: Settings) -> Any:  # noqa: ANN401
    grace = settings.drain_timeout + _GRACE
    common: dict[str, Any] = {
        "graceful_shutdown_timeout_s": grace,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": 2.0,
        "health_check_timeout_s": 30.0,
        "logging_config": LoggingConfig(enable_access_log=False),
    }
    # The workers bound their own queues, and refuse requests in the dialect of the route.
    most = 4 * (settings.max_concurrency + settings.max_queue)
    replicas = serve.deployment(
        EngineReplica,
        name=_REPLICAS,
        ray_actor_options={"num_gpus": options.num_gpus, "num_cpus": options.num_cpus},
        max_ongoing_requests=most,
        request_router_config=RequestRouterConfig(
            request_router_class="router.ray.affinity:AffinityRouter",
            request_router_kwargs={"at_random": options.at_random},
            request_routing_stats_period_s=1.0,
            request_routing_stats_timeout_s=10.0,
        ),
        **_scale(options),
        **common,
    )
    ingress = serve.deployment(
        Ingress,
        name=_INGRESS,
        num_replicas=options.ingresses,
        max_replicas_per_node=1,
        ray_actor_options={
            "num_cpus": 0,
            "resources": {options.ingress_resource: 1} if options.ingress_resource else {},
            "runtime_env": {"env_vars": {_INLINED: str(2 * settings.max_body_bytes)}},
        },
        **common,
    )
    return ingress.bind(replicas.bind())


def _scale(options: FleetOptions) -> dict[str, Any]:
    if options.min_replicas == options.max_replicas:
        return {"num_replicas": options.min_replicas}
    scale = AutoscalingConfig(
        min_replicas=options.min_replicas,
        max_replicas=options.max_replicas,
        target_ongoing_requests=options.target_requests,
        upscale_delay_s=options.upscale_delay,
        downscale_delay_s=options.downscale_delay,
    )
    return {"autoscaling_config": scale}
