from pathlib import Path

from helpers.collection import Collection
from helpers.live import ANNA, source_of
from muster.storage import layout


def test_a_scan_that_finds_files_elsewhere_changes_the_state(tmp_path: Path) -> None:
    made = Collection()
    made.photo("/photos/1.jpg", [ANNA])
    source = source_of(made, tmp_path / "library")
    before = source.state
    assert source.state == before
    (shard,) = source.shards("images")
    name = layout.manifest_shard(shard)
    source.library.write(name, source.library.read(name))  # as a scan does: a new file in place of the old
    assert source.state != before
