"""What Muster uses of other packages though they call it private: an upgrade that takes it away is named here.

Each has a reason where it is used, and nothing public that does the same.
"""

import inspect
import pkgutil

import pyarrow.fs as pafs
import pytest
import torch


@pytest.mark.parametrize(
    "name",
    [
        "ray._private.ray_constants.ENABLE_RAY_CLUSTER",  # pipeline/distributed/actors.py: loopback alone
        "ray._private.runtime_env.packaging.GCS_STORAGE_MAX_SIZE",  # pipeline/distributed/jobs.py: the largest package
        "ray._raylet.AuthenticationTokenLoader",  # pipeline/distributed/actors.py: the next cluster has another token
        "ray._raylet.Config",
        "ray._raylet.GcsClient",  # pipeline/distributed/shipped.py: a job's code lies in the head's memory
        "PIL._imaging",  # storage/photos/pixels.py: libtiff prints nothing
    ],
)
def test_it_is_still_there(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


def test_the_requests_of_rays_client() -> None:
    """pipeline/distributed/jobs.py: answers of the dashboard for which the client has no call."""
    from ray.job_submission import JobSubmissionClient

    parameters = list(inspect.signature(JobSubmissionClient._do_request).parameters)
    assert parameters[:3] == ["self", "method", "endpoint"]
    assert "data" in parameters


def test_the_convolution_of_onednn() -> None:
    """tasks/models/fuse.py, ADR 3; tests/tasks/models/test_fuse.py holds what it computes to the plain network."""
    assert torch.ops.mkldnn._convolution_pointwise.default
    assert torch.ops.mkldnn._is_mkldnn_bf16_supported() in (True, False)


def test_the_options_of_an_s3_filesystem() -> None:
    """storage/uris.py: as pickle has it, a filesystem is the arguments of its constructor, by name."""
    fs = pafs.S3FileSystem(anonymous=True, region="eu-west-1")
    options = fs.__reduce__()[1][0]
    assert options["region"] == "eu-west-1"
    assert pafs.S3FileSystem(**options).equals(fs)
