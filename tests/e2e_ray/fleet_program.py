"""Runs a Ray cluster of several nodes on this machine, with the fleet on it, as one program.

    python -m tests.e2e_ray.fleet_program '{"nodes": [{"PORT": "0"}, ...], "options": {...}}'

It uses only the environment it is given. It reads one command per line from standard input
(`roll`: a rolling update; `grow`: one more node; end of input: shut down), and writes each
answer as a line of JSON to standard output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.cluster_utils import Cluster

from router.app.fleet.application import FleetOptions, application
from router.config.settings import Settings

NAME = "fleet"


def tell(what: object) -> None:
    sys.stdout.write(f"told {json.dumps(what)}\n")
    sys.stdout.flush()


def main(told: dict[str, Any]) -> None:
    # Ray also writes the cluster's address to its own directory, which may not exist.
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    place = str(Path(os.environ["RAY_TMPDIR"]) / "ray")
    common = {
        "num_cpus": 4,
        "object_store_memory": 100 << 20,
        "include_dashboard": False,
        "temp_dir": place,
    }
    cluster = Cluster()
    nodes = [cluster.add_node(**common, env_vars=one) for one in told["nodes"]]
    ray.init(address=cluster.address, log_to_driver=False, namespace="serve")
    serve.start(proxy_location="Disabled")
    options = FleetOptions.of(told["options"])

    def deploy() -> None:
        app = application(options, Settings.from_environ(os.environ))
        serve.run(app, name=NAME, route_prefix=None)

    deploy()
    tell(
        {"place": place, "address": cluster.address, "raylets": [raylet(one) for one in nodes]}
    )
    for line in sys.stdin:
        if line.strip() == "roll":
            deploy()
        elif line.strip() == "status":
            told_of = serve.status().applications[NAME].deployments
            tell({name: dict(one.replica_states) for name, one in told_of.items()})
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()
    tell("down")


def raylet(node: Any) -> int:
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
