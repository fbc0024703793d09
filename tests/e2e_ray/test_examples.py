"""Ray Serve accepts the files that users deploy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from router.app.fleet.application import FleetOptions, application
from router.config.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples/ray"
CONFIG = yaml.safe_load((EXAMPLES / "serve.yaml").read_text())
RAY_SERVICE, SERVICE = yaml.safe_load_all((EXAMPLES / "kuberay.yaml").read_text())


@pytest.mark.parametrize(
    "config", [CONFIG, yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"])]
)
def test_a_config_is_one_of_ray_serve(config: dict[str, Any]) -> None:
    read = ServeDeploySchema(**config)
    (application,) = read.applications
    assert application.import_path == "router.app.fleet.application:build"
    FleetOptions.of(application.args)


def test_ray_takes_what_the_application_asks_for() -> None:
    """The application asks only for its own resource. Ray adds the others."""
    for name in ("", "ingress"):
        made = application(FleetOptions(ingress_resource=name), Settings.from_environ({}))
        asked = made._bound_deployment.ray_actor_options["resources"]
        assert asked == ({name: 1} if name else {})


def test_a_replica_and_an_ingress_get_the_time_to_drain() -> None:
    settings = Settings.from_environ({"DRAIN_TIMEOUT": "1000"})
    for made in deployments(settings):
        assert made._deployment_config.graceful_shutdown_timeout_s > 1000


def test_the_largest_body_stays_inside_of_its_call() -> None:
    """Ray would put the arguments of a larger call into its object store."""
    settings = Settings.from_environ({"MAX_BODY_BYTES": "100MiB"})
    _, ingress = deployments(settings)
    environment = ingress.ray_actor_options["runtime_env"]["env_vars"]
    assert int(environment["RAY_task_rpc_inlined_bytes_limit"]) > 100 << 20


def deployments(settings: Settings) -> tuple[Any, Any]:
    """The deployments of the replicas and of the ingresses."""
    made = application(FleetOptions(), settings)
    (replicas,) = made._bound_deployment.init_args
    return replicas._bound_deployment, made._bound_deployment


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="replica_count"):
        FleetOptions.of({"replica_count": 2})


def test_callers_reach_the_pods_that_have_an_ingress() -> None:
    groups = RAY_SERVICE["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    group = next(one for one in groups if one["groupName"] == "ingress")
    template = group["template"]
    (container,) = template["spec"]["containers"]
    assert SERVICE["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = container["ports"]
    assert port["name"] == SERVICE["spec"]["ports"][0]["targetPort"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["PORT"] == str(port["containerPort"])
    grace = template["spec"]["terminationGracePeriodSeconds"]
    assert grace > float(environment["DRAIN_TIMEOUT"])
    # As Ray's command line receives it, through a shell.
    resources = json.loads(json.loads(group["rayStartParams"]["resources"]))
    (application,) = yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"])["applications"]
    options = FleetOptions.of(application["args"])
    assert resources == {options.ingress_resource: 1}
    assert options.ingresses == group["replicas"]


def test_no_secret_is_written_down() -> None:
    for file in EXAMPLES.iterdir():
        assert "hf_" not in file.read_text()
