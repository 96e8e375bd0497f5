"""The numbers as Prometheus would fetch them from the node of a real Ray."""

import re
import time
import urllib.request
import uuid

import pytest


def exported() -> str:
    import ray

    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as response:
        return str(response.read().decode())


@pytest.mark.usefixtures("ray_cluster")
def test_a_workers_numbers_reach_prometheus() -> None:
    import ray

    from muster.pipeline.distributed.metrics import DriverMetrics, WorkerMetrics

    kind = f"kind-{uuid.uuid4().hex[:8]}"

    class Actor:
        def work(self) -> None:
            waited = {"decode": 0.25, "model": 0.5}
            metrics = WorkerMetrics()
            for _ in range(2):
                result = {"images": 8, "error_kinds": {kind: 2}, "waited": waited}
                metrics.add(result, {("faces", 9): 16, ("faces", 10): 4})

    actor = ray.remote(Actor).options(num_cpus=0).remote()  # lives until its numbers have been seen
    ray.get(actor.work.remote())
    DriverMetrics().in_flight.set(3)
    wanted = [rf'ray_muster_errors_total{{.*kind="{kind}".*}} 4\.0']
    wanted += [r"ray_muster_images_total{.*} 16\.0", r'ray_muster_batch_ceiling{.*task="faces".*} 4\.0']
    wanted += [r"ray_muster_decode_wait_seconds_total{.*} 0\.5", r"ray_muster_model_wait_seconds_total{.*} 1\.0"]
    wanted += [r"ray_muster_shards_in_flight{.*} 3\.0"]
    end = time.monotonic() + 60
    while not all(re.search(line, text := exported()) for line in wanted):
        assert time.monotonic() < end, [line for line in text.splitlines() if "muster" in line]
        time.sleep(0.5)
