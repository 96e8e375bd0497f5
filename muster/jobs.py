"""Runs that a Ray cluster does on its own: what `muster submit` and `muster jobs` do."""

from muster.pipeline.distributed.jobs import Cluster, Job, Request, check_reach

__all__ = ["Cluster", "Job", "Request", "submit"]


def submit(request: Request, address: str = "auto") -> tuple[Job, bool]:
    """Have a cluster do a `muster run`: the job, and whether it was started now or was running already.

    `address`: the dashboard of its head. Raises InputError where nodes could not see the library or the weights.
    """
    cluster = Cluster(address)
    check_reach(cluster, request)
    return cluster.submit(request)
