"""The control surface below /_aci: exactly what design §7 lists, checked before it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import PROVIDER, SUBSCRIPTION, Server, body

FAULTS = "/_aci/faults"
LISTED = ["create", "get", "list", "logs", "delete", "start", "stop", "restart", "exec", "attach", "operation", "any"]


@pytest.mark.parametrize("kind", LISTED)
def test_a_fault_can_be_ordered_on_each_kind_of_request(simulated: Server, kind: str) -> None:
    shown = simulated.control("POST", "faults", {"on": kind, "times": 2, "do": {"status": 500}}).json
    assert shown["faults"] == [{"on": kind, "times": 2, "after": 0, "group": None, "do": {"status": 500}}]
    assert simulated.control("DELETE", "faults").json == {"faults": []}


@pytest.mark.parametrize(
    "order",
    [
        {"on": "logs", "times": 0, "do": {"status": 500}},
        {"on": "logs", "times": -1, "do": {"status": 500}},
        {"on": "logs", "times": True, "do": {"status": 500}},
        {"on": "logs", "times": 1.5, "do": {"status": 500}},
        {"on": "logs", "after": -1, "do": {"status": 500}},
        {"on": ["logs"], "do": {"status": 500}},
        {"on": {}, "do": {"status": 500}},
        {"on": "logs", "group": "", "do": {"status": 500}},
        {"on": "logs", "do": {}},
        {"on": "logs", "do": {"status": 200}},
        {"on": "logs", "do": {"status": 99}},
        {"on": "logs", "do": {"status": 600}},
        {"on": "logs", "do": {"status": True}},
        {"on": "logs", "do": {"status": 429, "retry_after": -1}},
        {"on": "logs", "do": {"status": 429, "retry_after": True}},
        {"on": "logs", "do": {"status": 500, "code": ""}},
        {"on": "logs", "do": {"code": "Lonely"}},
        {"on": "logs", "do": {"retry_after": 3}},
        {"on": "logs", "do": {"drop": 1}},
        {"on": "logs", "do": {"drop": False}},
        {"on": "logs", "do": {"drop": []}},
        {"on": "logs", "do": {"drop": True, "status": 500}},
        {"on": "logs", "do": {"delay_s": -1}},
        {"on": "logs", "do": {"delay_s": 1e999}},
        {"on": "logs", "do": {"delay_s": True}},
        {"on": "logs", "do": {"null_content": False}},
        {"on": "get", "do": {"null_content": True}},
        {"on": "logs", "do": {"null_content": True, "status": 500}},
        {"on": "logs", "do": {"explode": True}},
        [],
        "logs",
    ],
)
def test_a_fault_that_could_not_happen_is_refused(simulated: Server, order: Any) -> None:
    import json

    answer = simulated.raw("POST", FAULTS, json.dumps(order).replace("Infinity", "1e999").encode())
    assert (answer.status, answer.code) == (400, "InvalidRequestContent")
    assert simulated.control("GET", "faults").json == {"faults": []}


def test_a_delay_goes_with_another_effect(simulated: Server, name: str) -> None:
    simulated.control("POST", "faults", {"on": "get", "do": {"delay_s": 0.01, "status": 503, "code": "ServerTimeout"}})
    answer = simulated.call("GET", simulated.group(name))
    assert (answer.status, answer.code) == (503, "ServerTimeout")


@pytest.mark.parametrize(
    ("call", "content"),
    [
        ("limits", b'{"cores": 1e999}'),
        ("limits", b'{"page_size": 123456789012345678901234567890}'),
        ("time", b'{"mode": "reads", "n": 1, "m": 2}'),
        ("time", b'{"mode": "reads"}'),
        ("time", b'{"advance_s": 1, "flow": "backwards"}'),
        ("time", b'{"mode": []}'),
        ("scripts", b'{"runs": "exit"}'),
        ("scripts", b'{"runs": [{"exit": 0}]}'),
        ("scripts", b'{"runs": [[{"exit": "0"}]]}'),
        ("scripts", b'{"runs": [[{"prnt": "x"}]]}'),
        ("scripts", b'{"pull_failures": "many"}'),
    ],
)
def test_orders_with_nonsense_in_them_are_refused(simulated: Server, call: str, content: bytes) -> None:
    assert simulated.raw("POST", f"/_aci/{call}", content).status == 400
    assert simulated.call("GET", simulated.location("westeurope", "usages")).status == 200


def test_statistics_name_every_kind_of_request(simulated: Server) -> None:
    stats = simulated.control("GET", "stats").json
    assert set(LISTED) - {"any"} <= set(stats["requests"])
    assert set(stats) == {"requests", "created", "deleted"}


def test_statistics_of_groups_survive_a_hard_kill(serve: Any, name: str) -> None:
    server = serve("--runtime", "simulated")
    for n in range(3):
        assert server.put(f"{name}-{n}", body()).status == 201
    assert server.call("DELETE", server.group(f"{name}-0")).status == 200
    server.kill()
    again = serve("--runtime", "simulated")
    stats = again.control("GET", "stats").json
    assert (stats["created"], stats["deleted"]) == (3, 1)
    assert again.call("DELETE", again.group(f"{name}-1")).status == 200
    again.kill()
    stats = serve("--runtime", "simulated").control("GET", "stats").json
    assert (stats["created"], stats["deleted"]) == (3, 2)


def test_a_kill_between_a_group_and_its_count_is_made_good(serve: Any, name: str) -> None:
    """The counts are written after the group: a server killed in between finds one group more than counted."""
    server = serve("--runtime", "simulated")
    before = (server.state_dir / "counts.json").read_bytes() if (server.state_dir / "counts.json").exists() else None
    assert server.put(name, body()).status == 201
    server.kill()
    counts = server.state_dir / "counts.json"
    counts.unlink() if before is None else counts.write_bytes(before)
    stats = serve("--runtime", "simulated").control("GET", "stats").json
    assert (stats["created"], stats["deleted"]) == (1, 0)


def test_what_is_not_listed_is_not_there(simulated: Server) -> None:
    for method, path in (("GET", ""), ("PUT", "faults"), ("GET", "token"), ("POST", "groups/x"), ("GET", "groups/x/happen")):
        assert simulated.raw(method, f"/_aci/{path}").status == 404
    assert simulated.raw("GET", "/_aci", None).status == 404
    assert simulated.call("GET", f"/subscriptions/{SUBSCRIPTION}/{PROVIDER}/_aci/stats").status == 404
