"""The supervisor with real processes and real signals (RELIABILITY F5, F9, H15)."""

import os
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from supervisor.child import serve
from tests.supervisor.conftest import Event, Service, Start, until


def _kill(event: Event) -> None:
    os.kill(event["pid"], signal.SIGKILL)


def _is_alive(event: Event) -> bool:
    try:
        os.kill(event["pid"], 0)
    except ProcessLookupError:
        return False
    return True


def _stop(service: Service) -> None:
    service.signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert service.members() == []


def _answer(service: Service) -> str:
    port = service.await_log("listening")["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        return answer.read().decode()


def test_every_role_runs_once_and_a_stop_leaves_nothing(start: Start) -> None:
    service = start()
    for role in ("scout", "reporter", "maintenance"):
        service.await_log("ready", role=role)
    _stop(service)
    assert [len(service.events("born", role)) for role in ("scout", "reporter", "maintenance")] == [1, 1, 1]
    assert len(service.events("done")) == 3


def test_an_account_with_work_gets_a_sender_and_a_hint_when_it_has_one(start: Start) -> None:
    service = start()
    service.want(7)
    assert service.await_event("born", "sender")["assigned"] == [[7, 0]]
    service.want(7, 8)
    assert service.await_event("woken")["accounts"] == [[7, 0]]
    assert service.await_event("born", "sender", 2)["assigned"] == [[8, 0]]


def test_a_killed_sender_is_replaced_at_once_by_one_that_knows_its_predecessor(start: Start) -> None:
    service = start()
    service.want(7)
    first = service.await_event("born", "sender")
    service.await_log("ready", role="sender")
    service.want()
    _kill(first)
    second = service.await_event("born", "sender", 2)
    assert second["succeeds"] == [first["owner"]]
    assert second["assigned"] == first["assigned"]
    assert second["number"] == first["number"]
    assert second["owner"] != first["owner"]
    assert service.logged("ended", role="sender")[0]["again_in"] == 0


def test_a_killed_scout_is_replaced_at_once(start: Start) -> None:
    service = start()
    first = service.await_event("born", "scout")
    service.await_log("ready", role="scout")
    _kill(first)
    assert service.await_event("born", "scout", 2)["succeeds"] == [first["owner"]]


def test_deaths_at_birth_are_answered_later_and_later_and_disturb_nobody(start: Start) -> None:
    service = start()
    service.await_log("ready", role="scout")
    service.tell("fate.sender", "die")
    service.want(7)
    service.await_log("ended", count=3, role="sender")
    waits = [one["again_in"] for one in service.logged("ended", role="sender")[:3]]
    assert [round(wait, 1) for wait in waits] == [0.5, 1.0, 2.0]
    service.untell("fate.sender")
    service.want(7, 8)
    assert until(lambda: [one for one in service.events("born") if one["assigned"] == [[8, 0]]])
    recovered = service.await_event("born", "sender", 5)
    assert recovered["assigned"] == [[7, 0]]
    assert len(recovered["succeeds"]) == 3
    assert len(service.events("born", "maintenance")) == 1


def test_try_again_backs_off_although_the_worker_was_up(start: Start) -> None:
    service = start()
    service.tell("fate.sender", "try-again")
    service.want(7)
    ended = service.await_log("ended", role="sender")
    assert (ended["code"], ended["up"], ended["again_in"]) == (75, True, 0.5)


def test_a_misconfigured_worker_is_not_restarted_before_a_reload(start: Start, tmp_path: Path) -> None:
    (tmp_path / "fate.maintenance").write_text("misconfigured")
    service = start()
    service.await_log("misconfigured", role="maintenance")
    scout = service.await_event("born", "scout")
    service.await_log("ready", role="scout")
    _kill(scout)
    service.await_event("born", "scout", 2)
    assert len(service.events("born", "maintenance")) == 1
    service.untell("fate.maintenance")
    service.signal(signal.SIGHUP)
    service.await_log("ready", role="maintenance")


def test_a_service_with_nobody_left_to_run_ends_misconfigured(start: Start, tmp_path: Path) -> None:
    for role in ("scout", "reporter", "maintenance"):
        (tmp_path / f"fate.{role}").write_text("misconfigured")
    assert start().process.wait(20) == 78


def test_a_misconfigured_api_ends_the_service_in_order(start: Start, tmp_path: Path) -> None:
    (tmp_path / "api-program").write_text("import sys, time; time.sleep(1); sys.exit(78)")
    service = start(api=True)
    assert service.process.wait(20) == 78
    assert len(service.events("done")) == len(service.events("born"))


def test_no_more_than_max_senders_run_and_they_share_what_is_beyond(start: Start) -> None:
    service = start(max_senders=2)
    service.want(1, 2, 3, 4, 5)
    until(lambda: len(service.events("born", "sender")) == 2)
    served = [account for one in service.events("born", "sender") for account, _ in one["assigned"]]
    assert sorted(served) == [1, 2, 3, 4, 5]
    service.want(1, 2, 3, 4, 5, 6)
    assert service.await_event("assigned")["accounts"] == [[6, 0]]
    _kill(service.events("born", "sender")[0])
    service.await_event("born", "sender", 3)
    assert len([one for one in service.events("born", "sender") if _is_alive(one)]) == 2


def test_an_idle_sender_leaves_and_comes_back_only_when_wanted(start: Start) -> None:
    service = start()
    service.want(7)
    first = service.await_event("born", "sender")
    service.want()
    until(lambda: [one for one in service.events("wanted") if one["accounts"] == []])
    service.tell("idle.7")
    service.await_log("ended", role="sender", pid=first["pid"], code=0)
    service.want(8)
    assert service.await_event("born", "sender", 2)["assigned"] == [[8, 0]]
    service.want(8, 7)
    third = service.await_event("born", "sender", 3)
    assert (third["assigned"], third["succeeds"]) == ([[7, 0]], [])


def test_a_stop_tells_senders_last_and_waits_while_they_drain(start: Start) -> None:
    service = start(api=True)
    service.want(7)
    _answer(service)
    service.await_log("ready", role="sender")
    service.tell("hold")
    service.signal(signal.SIGTERM)
    until(lambda: len(service.events("stopping")) == 3)
    api = service.logged("ended", role="api")[0]
    assert api["code"] == 0
    assert service.events("stopping", "sender") == []
    service.untell("hold")
    service.await_event("stopping", "sender")
    assert service.process.wait(20) == 0
    assert len(service.events("done")) == 4
    assert service.members() == []


def test_what_does_not_end_by_the_drain_deadline_is_cut_off(start: Start) -> None:
    service = start(drain_seconds=0.5)
    service.await_log("ready", role="maintenance")
    service.tell("hold")
    service.signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert service.events("done") == []
    assert {one["code"] for one in service.logged("ended")} == {75}


def test_a_worker_that_hears_nothing_is_killed_after_the_drain_deadline(start: Start) -> None:
    service = start(drain_seconds=0.2)
    service.tell("fate.sender", "hang")
    service.want(7)
    service.await_event("born", "sender")
    service.signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert service.logged("ended", role="sender")[0]["code"] == -signal.SIGKILL


def test_a_second_sigterm_makes_the_stop_quicker(start: Start) -> None:
    service = start(drain_seconds=600)
    service.await_log("ready", role="maintenance")
    service.tell("hold")
    service.signal(signal.SIGTERM)
    until(lambda: len(service.events("stopping")) == 3)
    service.signal(signal.SIGTERM)
    assert service.process.wait(20) == 0


def test_an_interrupt_from_the_terminal_drains_like_sigterm(start: Start) -> None:
    service = start()
    for role in ("scout", "reporter", "maintenance"):
        service.await_log("ready", role=role)
    os.killpg(service.process.pid, signal.SIGINT)
    assert service.process.wait(20) == 0
    assert len(service.events("done")) == 3


def test_a_worker_whose_loop_hangs_is_killed_and_replaced(start: Start) -> None:
    service = start(silence=1.5)
    service.tell("fate.sender", "hang")
    service.want(7)
    hanging = service.await_event("born", "sender")
    service.await_log("silent", role="sender")
    service.untell("fate.sender")
    assert service.await_event("born", "sender", 2)["succeeds"] == [hanging["owner"]]
    assert service.logged("ended", role="sender")[0]["code"] == -signal.SIGABRT


def test_a_reload_replaces_every_child_with_one_that_has_the_new_settings(start: Start) -> None:
    service = start(api=True)
    service.want(7)
    old_api = _answer(service)
    service.await_log("ready", role="sender")
    service.await_log("ready", role="maintenance")
    service.configure(node_id="second")
    service.signal(signal.SIGHUP)
    until(lambda: len([one for one in service.events("born") if one["label"] == "second"]) == 4)
    until(lambda: len(service.logged("ended", code=0)) >= 4)
    assert until(lambda: (answer := _answer(service)) != old_api and answer)
    old, new = service.events("born", "reporter")
    assert new["number"] != old["number"], "the new reporter came up beside the old one"
    assert service.events("born", "sender")[1]["assigned"] == [[7, 0]]
    until(lambda: service.logged("ended", role="api"))
    assert service.logged("killed") == []
    _stop(service)


def test_a_reload_keeps_the_old_process_until_its_successor_comes_up(start: Start) -> None:
    service = start()
    old = service.await_event("born", "reporter")
    service.await_log("ready", role="maintenance")
    service.tell("fate.reporter", "die")
    service.signal(signal.SIGHUP)
    waits = [service.await_log("ended", count, role="reporter")["again_in"] for count in (1, 2)]
    assert waits == [0.5, 1.0]
    assert _is_alive(old)
    service.untell("fate.reporter")
    service.await_log("ended", role="reporter", pid=old["pid"], code=0)
    assert len(service.logged("ready", role="reporter")) == 2


def test_an_api_that_finds_a_reload_misconfigured_leaves_the_old_one_serving(start: Start) -> None:
    service = start(api=True)
    old = _answer(service)
    service.tell("api-program", "raise SystemExit(78)")
    service.signal(signal.SIGHUP)
    service.await_log("misconfigured", role="api")
    assert _answer(service) == old
    _stop(service)
    assert len(service.logged("started", role="api")) == 2


def test_a_reload_with_invalid_settings_changes_nothing(start: Start) -> None:
    service = start()
    service.await_log("ready", role="maintenance")
    service.configure(invalid=True)
    service.signal(signal.SIGHUP)
    service.await_log("reload_refused")
    _stop(service)
    assert len(service.events("born")) == 3


def test_a_killed_supervisor_leaves_no_process_behind_for_longer_than_ten_seconds(start: Start) -> None:
    service = start(api=True, drain_seconds=600)
    service.want(7)
    _answer(service)
    service.await_log("ready", role="sender")
    service.await_log("ready", role="maintenance")
    service.tell("hold")
    service.tell("hang.maintenance")
    died_at = time.monotonic()
    service.signal(signal.SIGKILL)
    until(lambda: len(service.events("stopping")) == 4)
    assert all(one["left"] < 10 for one in service.events("stopping"))
    until(lambda: service.members() == [], 15)
    assert time.monotonic() - died_at < 10


def test_workers_with_nothing_to_drain_leave_a_killed_supervisor_at_once(start: Start) -> None:
    service = start()
    service.want(7)
    service.await_log("ready", role="sender")
    service.await_log("ready", role="maintenance")
    service.signal(signal.SIGKILL)
    until(lambda: service.members() == [], 5)
    assert len(service.events("done")) == 4


def test_a_killed_gunicorn_is_replaced_on_the_same_socket(start: Start) -> None:
    service = start(api=True)
    first = int(_answer(service))
    service.await_log("started", role="api", pid=first)
    os.kill(first, signal.SIGKILL)
    service.await_log("started", role="api", count=2)
    assert until(lambda: (answer := int(_answer(service))) != first and answer)


def test_a_port_in_use_means_try_again(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        service = start(api=True, port=other.getsockname()[1])
        assert service.process.wait(20) == 75
    assert service.events("born") == []


def test_a_process_with_threads_refuses_to_fork() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    with socket.socket() as listener, pytest.raises(AssertionError, match="fork"):
        serve(lambda _: 0, listener, [])
    end.set()
    thread.join()
