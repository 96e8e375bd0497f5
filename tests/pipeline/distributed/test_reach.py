import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.fixtures import Outcome
from muster.errors import InputError, MusterError
from muster.pipeline.distributed.reach import about_token, is_here, refuse_local, require_answer, token_source

ELSEWHERE = "192.0.2.7"  # an address that is nobody's: RFC 5737


def test_addresses_of_this_machine() -> None:
    assert is_here("127.0.0.1")
    assert not is_here(ELSEWHERE)


def test_local_paths_are_refused_where_nodes_are_elsewhere() -> None:
    refuse_local({"library": "/l"}, ["127.0.0.1"])
    refuse_local({}, [ELSEWHERE])
    with pytest.raises(
        InputError, match=r"library /l is on this machine, and nodes of the cluster are not \(192.0.2.7\)"
    ):
        refuse_local({"library": "/l"}, ["127.0.0.1", ELSEWHERE])


def test_an_address_where_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_answer(f"127.0.0.1:{server.getsockname()[1]}")
        require_answer(f"ray://127.0.0.1:{server.getsockname()[1]}")
    require_answer("auto")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "127.0.0.1", "host:port", ":6379", "h:99999"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match="give the head's HOST:PORT"):
        require_answer(address)


def test_an_address_where_nobody_answers(muster: Callable[..., Outcome], tmp_path: Path, album: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "a..b:6379"):
        with pytest.raises(MusterError, match="no Ray cluster answers"):
            require_answer(address)
    assert muster("scan", album, "-l", tmp_path / "L").code == 0
    outcome = muster("run", "-l", tmp_path / "L", "--tasks", "faces", "--address", f"127.0.0.1:{port}")
    assert (outcome.code, outcome.out) == (1, "")
    assert f"no Ray cluster answers at 127.0.0.1:{port} (Connection refused)" in outcome.error


def test_a_library_here_and_nodes_elsewhere(
    muster: Callable[..., Outcome], ray_cluster: None, tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    nodes: list[dict[str, Any]] = [*ray.nodes(), {"NodeManagerAddress": ELSEWHERE, "Alive": True}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert muster("scan", album, "-l", tmp_path / "L").code == 0
    outcome = muster("run", "-l", tmp_path / "L", "--tasks", "faces", "--address", "auto")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"library {tmp_path / 'L'} is on this machine" in outcome.error
    assert "with --shared-library" in outcome.error
    assert muster("status", "-l", tmp_path / "L", "--json").facts["ok"] == 0


def test_weights_here_and_nodes_elsewhere(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from muster.pipeline.distributed import actors
    from muster.pipeline.work.choice import TaskChoice
    from muster.pipeline.work.machine import Machine

    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeManagerAddress": ELSEWHERE, "Alive": True}])
    choices = [TaskChoice(name="objects", weights=Path(__file__))]
    with pytest.raises(InputError, match=r"`weights` objects .* is on this machine"):
        actors.check_reach(Machine(address="x:1"), "s3://b/l", choices)
    actors.check_reach(Machine(address="x:1", shared=True), "s3://b/l", choices)


def test_where_a_token_is_and_what_to_do_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_source() is None
    assert "set RAY_AUTH_TOKEN" in about_token()
    (tmp_path / "mine").write_text("0" * 64)
    (tmp_path / "mine").chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "mine"))
    assert token_source() == str(tmp_path / "mine")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "unset RAY_AUTH_MODE=disabled" in about_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    assert "is the token in RAY_AUTH_TOKEN the one" in about_token()
