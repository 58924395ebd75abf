"""What a tenant's answer means (CONTRACT §6 "Answer", RELIABILITY B75, B76)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.reporter.answer import Answer, Pace, Sent, Standing, Verdict, judge

NOW = 1_800_000_000.0
PACE = Pace()
CALL = (Sent(1, "a"), Sent(2, "b"), Sent(3, "a"), Sent(4, "c"))
ALL = (1, 2, 3, 4)
FRESH = Standing()


def verdict_on(
    said: Any = None,
    *,
    status: int | None = 200,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    sent: tuple[Sent, ...] = CALL,
    standing: Standing = FRESH,
    strict: bool = False,
    chance: float = 0.5,
    truncated: bool = False,
) -> Verdict:
    content = json.dumps(said).encode() if body is None else body
    answer = Answer(status, headers or {}, content, truncated)
    return judge(answer, sent, standing, strict=strict, now=NOW, chance=chance, pace=PACE)


def held(verdict: Verdict) -> dict[int, float]:
    return {one.event_id: one.wait for one in verdict.held}


def test_a_plain_ok_acknowledges_every_event_and_forgets_failures():
    verdict = verdict_on({"ok": True}, standing=Standing(fails=7, gone=2))
    assert verdict.acknowledged == ALL
    assert verdict.standing.fails == verdict.standing.gone == 0
    assert verdict.next_in is None
    assert verdict.failure is None


def test_all_events_of_a_message_named_in_error_stay_unacknowledged():
    verdict = verdict_on({"ok": True, "error": ["a", "never sent"]})
    assert verdict.acknowledged == (2, 4)
    assert held(verdict) == {1: 5.0, 3: 5.0}
    assert verdict.standing.fails == 0
    assert verdict.next_in is None


def test_an_event_that_is_refused_again_and_again_waits_longer_each_time_and_holds_up_no_other():
    waits = []
    for tries in (0, 1, 2, 5, 9, 10, 1000):
        verdict = verdict_on({"error": ["a"]}, sent=(Sent(1, "a", tries), Sent(2, "b")))
        assert verdict.acknowledged == (2,)
        assert verdict.next_in is None
        waits.append(verdict.held[0].wait)
    assert waits == [5, 10, 20, 160, 2560, 3600, 3600]


def test_a_call_of_nothing_but_known_refusals_leaves_the_tenants_pace_as_it_is():
    again = (Sent(1, "a", 3), Sent(2, "b", 7))
    verdict = verdict_on({"error": ["a", "b"]}, sent=again, standing=Standing(fails=2))
    assert verdict.standing.fails == 2
    assert verdict.next_in is None
    assert held(verdict) == {1: 40.0, 2: 640.0}


def test_a_call_that_gets_nothing_acknowledged_backs_off_longer_each_time():
    verdict = verdict_on({"error": ["a", "b", "c"]}, standing=Standing(fails=2))
    assert verdict.acknowledged == ()
    assert verdict.standing.fails == 3
    assert verdict.next_in == 20.0


def test_not_found_acknowledges_and_is_named():
    verdict = verdict_on({"ok": True, "not_found": ["a", "stranger", 5, None]})
    assert verdict.acknowledged == ALL
    assert verdict.not_found == ("a",)


def test_error_outweighs_not_found():
    verdict = verdict_on({"error": ["a"], "not_found": ["a", "b"]})
    assert set(held(verdict)) == {1, 3}
    assert verdict.not_found == ("b",)


@pytest.mark.parametrize("strict", [False, True])
def test_ok_false_acknowledges_nothing_and_backs_off(strict: bool):
    verdict = verdict_on({"ok": False, "queued": 3}, strict=strict)
    assert verdict.acknowledged == ()
    assert verdict.failure is not None
    assert verdict.next_in == 5.0


NO_JSON_OBJECT = [
    b"",
    b"<html>thanks</html>",
    b"[]",
    b"null",
    b'"ok"',
    b'{"ok": true',
    '{"ok": "sì"}'.encode("latin-1"),
    b"\xff\xfe\x00",
    b"[" * 10_000,
    b"[" * 10_000 + b"]" * 10_000,
    b'{"error":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"queued": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("body", NO_JSON_OBJECT)
def test_no_json_object_acknowledges_in_compatibility_mode_only(body: bytes):
    assert verdict_on(body=body).acknowledged == ALL
    refused = verdict_on(body=body, strict=True)
    assert refused.acknowledged == ()
    assert refused.next_in == 5.0


def test_a_body_longer_than_what_is_read_is_no_json():
    body = json.dumps({"ok": True, "pad": "x" * (1 << 20)}).encode()[: 1 << 20]
    assert verdict_on(body=body, truncated=True).acknowledged == ALL
    assert verdict_on(body=b'{"ok":true}', truncated=True, strict=True).acknowledged == ()


@pytest.mark.parametrize(
    "said",
    [
        {"ok": "yes"},
        {"ok": 0},
        {"ok": None},
        {"error": "a"},
        {"error": {"a": 1}},
        {"error": None},
        {"error": [1, None, ["a"], {"a": "a"}, True]},
        {"not_found": "a"},
        {"not_found": 7},
        {"queued": "many"},
        {"queued": None},
        {"queued": -1},
        {"queued": True},
        {"queued": [3]},
        {"queued": float("nan")},
        {"queued": float("-inf")},
        {"next_sync_after": "soon"},
        {"next_sync_after": "9999-12-31T23:59:59-23:59x"},
        {"next_sync_after": "2036-01-01T00:00:00"},
        {"next_sync_after": True},
        {"next_sync_after": float("nan")},
        {"next_sync_after": float("inf")},
        {"next_sync_after": 10**400},
        {"next_sync_after": NOW - 1},
        {"next_sync_after": -1e308},
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_wrong_types_disturb_nothing(said: Any, strict: bool):
    verdict = verdict_on(said, strict=strict)
    assert verdict.acknowledged == ALL
    assert verdict.queued == 0
    assert verdict.muted_until is None
    assert verdict.next_in is None


def test_of_duplicate_keys_the_last_one_counts():
    assert verdict_on(body=b'{"error":["a"],"error":["b"]}').held[0].event_id == 2


def test_after_many_events_the_next_ones_are_gathered_a_moment():
    many = tuple(Sent(n, f"m{n}") for n in range(PACE.many))
    assert verdict_on({"ok": True}, sent=many).next_in == PACE.gather
    assert verdict_on({"ok": True}, sent=many[1:]).next_in is None
    assert verdict_on({"ok": True, "queued": 3}, sent=many).next_in == PACE.floor


def test_queued_asks_for_the_next_call_after_the_floor():
    assert verdict_on({"queued": 1}).next_in == PACE.floor
    assert verdict_on({"queued": 2.0}).queued == 2
    assert verdict_on({"queued": 10**9}).queued == 1_000_000
    assert verdict_on({"queued": 1e308}).queued == 1_000_000


@pytest.mark.parametrize(
    ("said", "until"),
    [
        (NOW + 600, NOW + 600),
        (int(NOW) + 60, int(NOW) + 60),
        (1e308, NOW + 86400),
        (NOW + 10**9, NOW + 86400),
        ("2027-01-15T08:10:00Z", NOW + 600),
        ("2027-01-15T10:10:00+02:00", NOW + 600),
    ],
)
def test_next_sync_after_mutes_until_then_and_for_a_day_at_most(said: Any, until: float):
    assert verdict_on({"next_sync_after": said}).muted_until == until


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 429, 500, 503, 999, 101])
def test_another_status_acknowledges_nothing_and_backs_off(status: int):
    verdict = verdict_on({"ok": True, "queued": 5}, status=status)
    assert verdict.acknowledged == ()
    assert verdict.standing.fails == 1
    assert verdict.next_in == 5.0
    assert verdict.queued == 0


def test_no_answer_backs_off_and_keeps_its_cause():
    answer = Answer(None, failure="ConnectError: refused")
    verdict = judge(answer, CALL, Standing(), strict=False, now=NOW, chance=0.0, pace=PACE)
    assert verdict.failure == "ConnectError: refused"
    assert verdict.next_in == 4.0


def test_the_back_off_doubles_up_to_five_minutes_with_jitter():
    waits = [verdict_on(status=500, standing=Standing(fails=n)).next_in for n in range(9)]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert verdict_on(status=500, standing=Standing(fails=10**6)).next_in == 300
    assert verdict_on(status=500, chance=0.0).next_in == 4.0
    assert verdict_on(status=500, chance=0.999).next_in == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 1.0),
        ("99999", 3600.0),
        ("9" * 500, 3600.0),
        ("Fri, 15 Jan 2027 08:02:00 GMT", 120.0),
        ("Fri, 15 Jan 1999 08:02:00 GMT", 1.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("soon", 5.0),
        ("-5", 5.0),
        ("1e3", 5.0),
        ("²", 5.0),
        ("", 5.0),
        ("Fri, 99 Jan 2027 99:99:99 GMT", 5.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_up_to_an_hour(status: int, header: str, wait: float):
    assert verdict_on(status=status, headers={"retry-after": header}).next_in == wait


def test_413_halves_the_batch_down_to_one_and_then_backs_off():
    verdict = verdict_on(status=413, standing=Standing(fails=0, batch=1000))
    assert verdict.standing.batch == 2
    assert verdict.standing.fails == 0
    assert verdict.next_in == PACE.floor
    alone = verdict_on(status=413, sent=CALL[:1], standing=verdict.standing)
    assert alone.standing.fails == 1
    assert alone.next_in == 5.0
    assert held(alone) == {1: 10.0}


@pytest.mark.parametrize("status", [400, 422, 500])
def test_an_event_that_spoils_every_call_is_found_in_ever_smaller_ones(status: int):
    many = tuple(Sent(n, f"m{n}") for n in range(1000))
    sizes, standing = [], Standing()
    while not sizes or sizes[-1] > 1:
        sizes.append(standing.batch)
        verdict = verdict_on(status=status, sent=many[: standing.batch], standing=standing)
        assert verdict.acknowledged == ()
        standing = verdict.standing
    assert sizes == [1000, 100, 10, 1]
    assert verdict.next_in == 40.0
    assert held(verdict) == {0: 80.0}, "the others come first"


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410, 429, 502, 503])
def test_a_failure_of_the_whole_endpoint_singles_out_nobody(status: int):
    verdict = verdict_on(status=status, sent=CALL[:1], standing=Standing(batch=100))
    assert verdict.held == ()
    assert verdict_on(status=status, standing=Standing(batch=100)).standing.batch == 100


def test_a_batch_grows_again_when_it_is_taken():
    assert verdict_on({"ok": True}, standing=Standing(batch=40)).standing.batch == 80
    assert verdict_on({"ok": True}, standing=Standing(batch=900)).standing.batch == 1000


def test_the_tenth_410_in_a_row_switches_the_endpoint_off():
    standing = Standing()
    for _ in range(9):
        verdict = verdict_on(status=410, standing=standing)
        assert verdict.switch_off is None
        standing = verdict.standing
    assert verdict_on(status=410, standing=standing).switch_off is not None
    recovered = verdict_on(status=500, standing=standing).standing
    assert verdict_on(status=410, standing=recovered).switch_off is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a", "b", "c"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
SAID = st.dictionaries(
    st.sampled_from(["ok", "queued", "error", "not_found", "next_sync_after"]) | st.text(), JSON
)
BODY = st.binary() | JSON.map(lambda x: json.dumps(x).encode()) | SAID.map(lambda x: json.dumps(x).encode())


@given(
    body=BODY,
    status=st.none() | st.integers(100, 999),
    headers=st.dictionaries(st.just("retry-after"), st.text() | st.integers().map(str)),
    fails=st.integers(0, 10**6),
    strict=st.booleans(),
    chance=st.floats(0, 1, exclude_max=True),
    truncated=st.booleans(),
)
def test_any_answer_gets_a_verdict_within_bounds(
    body: bytes,
    status: int | None,
    headers: dict[str, str],
    fails: int,
    strict: bool,
    chance: float,
    truncated: bool,
):
    verdict = verdict_on(
        status=status,
        body=body,
        headers=headers,
        standing=Standing(fails=fails),
        strict=strict,
        chance=chance,
        truncated=truncated,
    )
    done = (*verdict.acknowledged, *held(verdict))
    assert set(done) <= set(ALL)
    assert len(done) == len(set(done))
    assert (sorted(done) == list(ALL)) == (verdict.failure is None and bool(done))
    assert all(0 < one.wait <= 1.2 * PACE.longest_alone for one in verdict.held)
    if status is None or not 200 <= status < 300:
        assert not verdict.acknowledged
    assert 0 <= verdict.queued <= 1_000_000
    assert verdict.next_in is None or PACE.floor <= verdict.next_in <= 3600
    assert verdict.muted_until is None or NOW < verdict.muted_until <= NOW + 86400
    assert 1 <= verdict.standing.batch <= 1000


@given(said=SAID)
def test_an_idle_call_acknowledges_nothing_and_never_raises(said: dict[str, Any]):
    verdict = verdict_on(said, sent=())
    assert verdict.acknowledged == verdict.held == ()
