"""The numbers as Prometheus would fetch them from the node of a real Ray, and the dashboard over them."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.runs import config_of
from muster.pipeline.distributed.metrics import PLACES, DriverMetrics, WorkerMetrics
from muster.pipeline.run import Progress, run
from muster.storage.library import open_library
from muster.storage.manifest import scan

Series = tuple[str, tuple[tuple[str, str], ...]]  # name, and labels with their values
DRIVER = {"ray_muster_workers", "ray_muster_shards_waiting", "ray_muster_shards_in_flight"}
DASHBOARD = json.loads(Path(__file__).parents[3].joinpath("docs/grafana.json").read_text())
PRIVATE = """
import ray, sys, urllib.request
from muster.pipeline.distributed.actors import connected
with connected(None):
    [node] = ray.nodes()
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=60) as response:
        print(response.status, node["MetricsExportPort"], flush=True)
    sys.stdin.read()
"""


def exported() -> dict[Series, float]:
    import ray

    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as response:
        lines = re.findall(r"^(ray_muster_\w+){(.*)} (\S+)$", response.read().decode(), re.MULTILINE)
    return {(name, tuple(re.findall(r'(\w+)="([^"]*)"', labels))): float(value) for name, labels, value in lines}


def total(scrape: Mapping[Series, float], name: str, **labels: str) -> float:
    return sum(
        value for (each, of_each), value in scrape.items() if each == name and labels.items() <= dict(of_each).items()
    )


def result(errors: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """As ShardWorker.process gives one."""
    counts = {
        "images": 8,
        "bytes": 1000,
        "waited": {"decode": 0.25, "model": 0.5},
        "ahead": {"read": 3.0, "decoded": 5.5},
    }
    return {**counts, "errors_by": Counter(errors)}


@pytest.fixture(scope="module")
def scrape(
    tmp_path_factory: pytest.TempPathFactory, album: Path, weights: Path, ray_cluster: None
) -> dict[Series, float]:
    """Of a run over the album, and of a worker that saw errors in more places than it names, and ran out of memory."""
    import ray

    class Actor:
        def work(self, results: list[dict[str, Any]]) -> None:
            metrics = WorkerMetrics()
            for each in results:
                metrics.add(each, {("faces", 9): 16, ("faces", 10): 4})

    others = {each for each in exported() if each[0] not in DRIVER}  # of tests before this one
    actor = ray.remote(Actor).options(num_cpus=0).remote()  # lives until its numbers have been seen
    ray.get(actor.work.remote([result({("far", f"s3://bucket-{number}"): 2}) for number in range(PLACES + 4)]))
    library = open_library(tmp_path_factory.mktemp("metrics") / "L", create=True)
    scan(library, [str(album)])
    found: dict[Series, float] = {}

    def is_whole() -> bool:
        is_counted = total(found, "ray_muster_images_total") == 26 + 8 * (PLACES + 4)
        return is_counted and total(found, "ray_muster_workers") == 1 and {name for name, _ in found} >= DRIVER

    def on_progress(progress: Progress) -> None:
        """Workers live as long as this waits, and export their numbers every ten seconds."""
        end = time.monotonic() + 90
        while progress.images == progress.total and not is_whole():
            assert time.monotonic() < end, found
            time.sleep(0.5)
            found.update({each: value for each, value in exported().items() if each not in others})

    run(config_of(library.uri, "previews", workers=1, weights_dir=weights), on_progress)
    return found


def test_the_numbers_of_a_run_and_a_worker_reach_prometheus(scrape: dict[Series, float], album: Path) -> None:
    ours, size = 8 * (PLACES + 4), sum(file.stat().st_size for file in album.iterdir())
    assert total(scrape, "ray_muster_images_total") == 26 + ours
    assert total(scrape, "ray_muster_read_bytes_total") == size + 1000 * (PLACES + 4)
    assert total(scrape, "ray_muster_errors_total", kind="truncated", source="other") == 1  # a folder of this machine
    assert total(scrape, "ray_muster_errors_total", kind="far", source="s3://bucket-0") == 2
    assert total(scrape, "ray_muster_errors_total", kind="far", source="other") == 8
    assert total(scrape, "ray_muster_decode_wait_seconds_total") > 0.25 * (PLACES + 4)
    assert total(scrape, "ray_muster_model_wait_seconds_total") > 0.5 * (PLACES + 4)
    assert total(scrape, "ray_muster_batch_ceiling", task="faces") == 4
    assert total(scrape, "ray_muster_images_read_ahead") >= 3
    assert total(scrape, "ray_muster_images_decoded_ahead") >= 5.5
    assert total(scrape, "ray_muster_workers") == 1
    assert {name for name, _ in scrape} >= DRIVER


def test_the_dashboard_asks_for_what_is_there_and_for_all_of_it(scrape: dict[Series, float]) -> None:
    there = {name: {label for each, labels in scrape if each == name for label, _ in labels} for name, _ in scrape}
    asked: set[str] = set()
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            names = re.findall(r"ray_\w+", target["expr"])
            asked.update(names)
            labels = re.findall(r"(\w+)=~?\"", target["expr"]) + re.findall(r"{{(\w+)}}", target["legendFormat"])
            labels += [label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")]
            assert names, target
            assert all(set(labels) <= there.get(name, set()) for name in names), target
    assert asked == there.keys()
    queries = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    for name, label in re.findall(r"label_values\((\w+), (\w+)\)", " ".join(queries)):
        assert label in there[name]
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "session"}


def test_the_docs_have_every_metric(scrape: dict[Series, float]) -> None:
    text = Path(__file__).parents[3].joinpath("docs/operations.md").read_text()
    said = set(re.findall(r"^\| `(muster_\w+)", text, re.MULTILINE))
    assert {f"ray_{name}" for name in said} == {name for name, _ in scrape}


def test_a_worker_names_no_more_places_than_it_may() -> None:
    metrics = WorkerMetrics(2)
    assert [metrics.named(place) for place in "abcab"] == ["a", "b", "other", "a", "b"]
    assert WorkerMetrics(0).named("a") == "other"
    assert DriverMetrics()


def test_two_runs_at_once_take_ports_of_their_own() -> None:
    """Whatever port the metrics of another Ray have."""
    command = [sys.executable, "-c", PRIVATE]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **options) for _ in range(2)]
    try:
        answers = [str(process.stdout and process.stdout.readline()).split() for process in processes]
    finally:
        for process in processes:
            process.communicate()
    assert [status for status, _ in answers] == ["200", "200"]
    assert len({port for _, port in answers}) == 2
