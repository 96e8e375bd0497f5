"""What the live page is given, and that it is found without a network. tests/pipeline/cli/test_serve.py serves it."""

import subprocess
import sys
from pathlib import Path

from helpers.collection import Collection
from helpers.live import ANNA, source_of
from muster.pipeline.people import served
from muster.tasks import registry


def test_tasks_without_labels_are_those_that_say_so() -> None:
    says = {name: registry.find(name).findings for name in registry.OWN}
    silent = {name for name, findings in says.items() if not (findings.label and findings.filters)}
    assert silent | {"images"} == served.WITHOUT_LABELS


def test_a_library_of_faces_has_no_labels_and_needs_no_torch(tmp_path: Path) -> None:
    made = Collection()
    made.photo("/photos/a.jpg", [ANNA])
    library = source_of(made, tmp_path / "library").library
    code = (
        "import sys; from muster.pipeline.people import served; from muster.storage.library import open_library;"
        f"print(served._labels(open_library({library.uri!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
