"""What fixtures of conftest.py give."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command came to. `error`: the last line of stderr."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        assert "Traceback" not in self.err
        return self.err.splitlines()[-1] if self.err else ""

    @property
    def facts(self) -> dict[str, Any]:
        """The JSON object in the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


@dataclass(frozen=True)
class School:
    """Photos of real people: `enrolled` name → two photos, `probes` name → another, `strangers`: of other people."""

    enrolled: dict[str, list[Path]]
    probes: dict[str, Path]
    strangers: list[Path]


class Killed(BaseException):
    """What stands for SIGKILL in `kills`: nothing in the code catches it."""
