"""cluster.yaml and docs/kuberay-rayjob.yaml: what Ray itself would refuse, and what must not be exposed."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

HOME = Path(__file__).parents[1]


@pytest.fixture
def launcher() -> dict[str, Any]:
    return yaml.safe_load((HOME / "cluster.yaml").read_text())


@pytest.fixture
def rayjob() -> dict[str, Any]:
    job, policy = yaml.safe_load_all((HOME / "docs" / "kuberay-rayjob.yaml").read_text())
    assert (job["kind"], policy["kind"]) == ("RayJob", "NetworkPolicy")
    return job["spec"]


def test_ray_accepts_the_launcher_file(launcher: dict[str, Any]) -> None:
    config = prepare_config(copy.deepcopy(launcher))
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**config, "initial_workers": 1})


def test_workers_autoscale_and_gpus_are_spot(launcher: dict[str, Any]) -> None:
    head, cpu, gpu = (launcher["available_node_types"][name] for name in ("head", "cpu", "gpu"))
    assert head["resources"] == {"CPU": 0}
    for workers in (cpu, gpu):
        assert workers["min_workers"] == 0 < workers["max_workers"]
    assert launcher["max_workers"] == cpu["max_workers"] + gpu["max_workers"]
    assert gpu["resources"]["GPU"] == 1
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


def test_a_token_is_asked_for_and_the_dashboard_stays_on_loopback(launcher: dict[str, Any]) -> None:
    config = prepare_config(copy.deepcopy(launcher))
    starts = [
        command
        for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "0.0.0.0" not in yaml.safe_dump(config)
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"


def test_images_have_the_ray_that_is_tested(launcher: dict[str, Any], rayjob: dict[str, Any]) -> None:
    tags = [launcher["docker"]["head_image"], launcher["docker"]["worker_image"]]
    tags.append(launcher["available_node_types"]["gpu"]["docker"]["worker_image"])
    assert all(tag.startswith(f"rayproject/ray:{ray.__version__}-py3") for tag in tags)
    assert rayjob["rayClusterSpec"]["rayVersion"] == ray.__version__


def test_the_rayjob_asks_for_a_token_and_goes_on_after_a_loss(rayjob: dict[str, Any]) -> None:
    assert rayjob["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert rayjob["backoffLimit"] > 0
    assert rayjob["shutdownAfterJobFinishes"] is True
    assert "dashboard-host" not in rayjob["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]
