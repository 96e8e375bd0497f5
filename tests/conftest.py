import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photos, labels and published weights."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA} (set MUSTER_TEST_DATA)")
    return DATA
