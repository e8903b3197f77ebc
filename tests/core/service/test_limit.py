"""What is refused before it is sent: the bulkhead, the throttle and the limit that adapts."""

from __future__ import annotations

import random
from dataclasses import replace

import httpx
import pytest

from rpcguard import Adaptive, OverloadPolicy, Throttle
from rpcguard._core.outcomes.exceptions import of_caller
from rpcguard._core.outcomes.verdict import Notice, Safety, Verdict, cancelled, outrun
from rpcguard._core.service.limit import Limiter
from tests.support.stage import GOOD, REFUSED, SICK, Stage

TOO_MANY = Verdict("429", failed=False, safety=Safety.NEVER, blame="none")
BUSY = replace(SICK, outcome="503", notice=Notice("retry-after", "Retry-After", 5.0))


def limiter(now: float = 0.0, **options) -> Limiter:
    return Limiter(OverloadPolicy(**options), now, random.Random(1))


def ask(some: Limiter, now: float, verdict: Verdict, *, in_flight: int = 1) -> bool:
    """Make a call if it is allowed; tell whether it was."""
    if some.refuse(in_flight, now) is not None:
        return False
    some.sent(now)
    some.judge(verdict, in_flight, now, now)
    return True


def fail(some: Limiter, now: float, times: int) -> None:
    """Let attempts fail, as those do that nobody has refused."""
    for _ in range(times):
        some.sent(now)
        some.judge(SICK, 1, now, now)


def test_a_bulkhead_refuses_what_is_beyond():
    """The limit counts calls under way, the newest included, and says what it is."""
    some = limiter(max_in_flight=2)
    assert some.refuse(2, 0.0) is None
    rejection = some.refuse(3, 0.0)
    assert rejection is not None
    assert rejection.limit == "max_in_flight"
    assert rejection.retry_after > 0
    assert some.limit == 2


def test_a_throttle_lets_a_quarter_through_while_everything_fails():
    """All answers are 500 for a minute: 1/K and what keeps probing, no more; then it recovers."""
    some = limiter(throttle=Throttle())
    sent = sum(ask(some, at / 100, SICK) for at in range(6000))
    assert 600 <= sent <= 0.25 * 6000
    later = [ask(some, 60 + at / 100, GOOD) for at in range(1000)]
    assert sum(later[500:]) > 0.95 * 500, "five seconds after it is well, calls go out again"


@pytest.mark.parametrize(
    ("verdict", "seconds", "refused"),
    [
        (cancelled(), 0.1, False),
        (cancelled(), 1.0, True),
        (outrun(), 1.0, False),
        (REFUSED, 0.1, False),
        (replace(REFUSED, outcome="ConnectTimeout"), 0.1, True),
        (of_caller(ValueError("a broken upload")), 1.0, False),
        (replace(TOO_MANY, failed=True, judged=True), 0.1, True),
    ],
)
def test_what_says_nothing_of_the_service_is_taken_back(verdict, seconds, refused):
    """A caller that gives up soon, a hedge that was slower, a port that is closed; no timeout.

    Nor what the caller's own body raises, but an answer that he condemns.
    """
    some = limiter(throttle=Throttle(floor=0))
    for at in range(100):
        some.sent(at / 100)
        good = at % 5 == 0
        took = 0.1 if good else seconds
        some.judge(GOOD if good else verdict, 1, at / 100 - took, at / 100)
    assert (some.probability(1.0) > 0.0) is refused
    assert some.allows_retry(1, 1.0) is not refused


def test_nothing_is_taken_back_below_nothing():
    """A pause lay between the pick and the attempt: the first has left the window already."""
    some = limiter(throttle=Throttle(floor=1))
    some.sent(0.0)
    some.judge(SICK, 1, 0.0, 9.0)
    some.judge(REFUSED, 1, 9.5, 9.5)
    some.judge(REFUSED, 1, 9.5, 9.5)
    assert some.probability(10.5) == 0.0


def test_one_call_a_minute_is_never_throttled():
    """So few say nothing: below the floor everything is sent."""
    some = limiter(throttle=Throttle())
    assert all(ask(some, at * 60.0, SICK) for at in range(100))


def test_a_throttle_counts_what_is_sent_before_it_is_answered():
    """A service that hangs is spared before the second call of many has timed out."""
    some = limiter(throttle=Throttle())
    fail(some, 0.0, 10)
    sent = 0
    for at in range(1000):
        if some.refuse(1, at / 1000) is None:
            some.sent(at / 1000)
            sent += 1
    assert sent < 300


def test_a_burst_to_a_service_that_is_well_is_not_throttled():
    """A thousand calls at once are sent and not answered yet: that tells of no trouble."""
    some = limiter(throttle=Throttle())
    assert all(ask(some, at / 10, GOOD) for at in range(20))
    for _ in range(1000):
        assert some.refuse(1, 2.0) is None
        some.sent(2.0)


def test_one_failure_in_a_burst_refuses_few():
    """A call is not refused more often than calls have failed, whatever is still under way."""
    some = limiter(throttle=Throttle())
    assert all(ask(some, 0.0, GOOD) for _ in range(19))
    fail(some, 0.0, 1)
    refused = 0
    for _ in range(1000):
        refused += some.refuse(1, 0.0) is not None
        some.sent(0.0)
    assert 20 <= refused <= 80


def test_refusals_of_the_service_are_not_accepted_calls():
    """429 is an answer, and none that the service could give."""
    some = limiter(throttle=Throttle())
    sent = sum(ask(some, at / 100, TOO_MANY) for at in range(3000))
    assert sent <= 0.25 * 3000


def test_a_calm_service_is_not_throttled():
    """One error in five is below the ratio: every call goes out."""
    some = limiter(throttle=Throttle())
    assert all(ask(some, at / 100, SICK if at % 5 == 0 else GOOD) for at in range(3000))


def test_retries_are_throttled_first():
    """Where one in four fails, all calls are sent and none twice; of one in ten, all are."""
    some = limiter(throttle=Throttle())
    assert some.allows_retry(1, 0.0)
    for at in range(40):
        assert ask(some, 1.0, SICK if at % 4 == 0 else GOOD)
    assert not some.allows_retry(1, 1.0)
    assert some.allows_retry(1, 30.0)
    for at in range(40):
        assert ask(some, 31.0, SICK if at % 10 == 0 else GOOD)
    assert some.allows_retry(1, 31.0)


def test_few_failures_stop_no_retries():
    """One call that fails may be sent again, though it is all that is known of the service."""
    some = limiter(throttle=Throttle())
    fail(some, 0.0, 9)
    assert some.allows_retry(1, 0.0)
    fail(some, 0.0, 1)
    assert not some.allows_retry(1, 0.0)


def test_nothing_is_sent_twice_while_half_of_what_is_borne_is_used():
    """A retry would take the place of a call; a limit that was never met stops none."""
    some = limiter(adaptive=True)
    assert some.allows_retry(128, 0.0)
    assert not some.allows_retry(129, 0.0)


@pytest.mark.parametrize("verdict", [TOO_MANY, BUSY, replace(SICK, outcome="ReadTimeout")])
def test_an_adaptive_limit_falls_with_each_refusal(verdict):
    """429, 503 with Retry-After and timeouts take a tenth of it, down to the least."""
    some = limiter(adaptive=True)
    assert some.limit == 256
    some.judge(verdict, 256, 0.0, 0.0)
    assert some.limit == 230
    for _ in range(100):
        some.judge(verdict, 1, 0.0, 0.0)
    assert some.limit == 4
    assert some.refuse(4, 0.0) is None
    rejection = some.refuse(5, 0.0)
    assert rejection is not None
    assert rejection.limit == "adaptive"


def test_a_timeout_of_the_callers_own_cuts_nothing():
    """The body of an upload may come from another call, which was too slow."""
    some = limiter(adaptive=Adaptive(most=64))
    before = some.limit
    assert ask(some, 1.0, of_caller(httpx.ReadTimeout("source")), in_flight=10)
    assert some.limit == before


def test_the_first_cut_is_of_what_was_in_use():
    """A limit of 256 that twenty calls have never met is cut to 18, and by one refusal only."""
    some = limiter(adaptive=True)
    some.judge(GOOD, 20, 0.0, 0.0)
    some.judge(TOO_MANY, 1, 0.0, 0.0)
    assert some.limit == 18


def test_timeouts_of_one_trouble_cut_four_times():
    """Calls that went out before a cut tell nothing new, as long as others are answered."""
    some = limiter(adaptive=True)
    late = replace(SICK, outcome="ReadTimeout")
    for at in range(41):  # all went out 2 s before they are given up
        some.judge(late, 100, at / 20 - 2.0, at / 20)
        some.judge(GOOD, 1, at / 20, at / 20)
    assert some.limit == int(100 * 0.9**5)  # the fifth is that of the next two seconds
    for at in range(100):
        some.judge(late, 100, 1.0, 3.0 + at / 1000)
    assert some.limit == 4, "nothing is answered any more"


def test_an_adaptive_limit_grows_only_while_it_is_used():
    """A caller with two calls in flight learns nothing about a limit of twenty."""
    some = limiter(adaptive=Adaptive(most=20))
    for _ in range(40):
        some.judge(TOO_MANY, 1, 0.0, 0.0)
    for _ in range(100):
        some.judge(GOOD, 2, 0.0, 0.0)
    assert some.limit == 4
    for _ in range(400):
        some.judge(GOOD, 20, 0.0, 0.0)
    assert some.limit == 20


def test_a_storm_of_429_settles():
    """A service that takes ten calls at a time ends up with about ten, not with none."""
    some, in_flight = limiter(adaptive=Adaptive(most=100)), 0
    for _ in range(5000):
        in_flight = min(in_flight + 1, some.limit or 0)
        some.judge(TOO_MANY if in_flight > 10 else GOOD, in_flight, 0.0, 0.0)
    assert 8 <= (some.limit or 0) <= 12


def test_a_try_that_never_left_is_not_throttled():
    """A refused connection costs a service nothing, so another node is tried whatever it bears."""
    stage = Stage("a", "b", "c", overload=OverloadPolicy(throttle=Throttle()))
    for _ in range(10):
        stage.end(stage.pick(), SICK)
    first = stage.pick()
    stage.end(first, REFUSED)
    assert stage.service.pick_again((first.live,)) == "throttled"
    following = stage.service.pick_again((first.live,), free=True)
    assert following.live is not first.live


def test_nodes_that_are_full_are_passed_over():
    """A node at its limit gets no call while another has room, and then nobody does."""
    stage = Stage("a", "b", overload=OverloadPolicy(max_per_node=1))
    first, second = stage.service.pick(repeatable=True), stage.service.pick(repeatable=True)
    assert {first.live.node.id, second.live.node.id} == {"a", "b"}
    assert stage.service.pick(repeatable=True) is None
    assert stage.service.full
    stage.service.settle(first, GOOD)
    stage.service.release(first)
    again = stage.service.pick(repeatable=True)
    assert again.live is first.live


def test_without_limits_nothing_is_kept():
    """The default costs nothing: there is no limiter."""
    assert not OverloadPolicy()
    assert Stage("a").service.limiter is None
    assert Stage("a", overload=OverloadPolicy(max_in_flight=1)).service.limiter is not None


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: OverloadPolicy(max_in_flight=0), "max_in_flight"),
        (lambda: OverloadPolicy(max_per_node=True), "max_per_node"),
        (lambda: OverloadPolicy(throttle=2.0), "throttle"),
        (lambda: OverloadPolicy(adaptive=1), "adaptive"),
        (lambda: Throttle(ratio=0.5), "ratio"),
        (lambda: Throttle(retries=0.9), "retries"),
        (lambda: Throttle(most=1.0), "most"),
        (lambda: Adaptive(least=0), "least"),
        (lambda: Adaptive(least=5, most=4), "most"),
        (lambda: Adaptive(backoff=1.0), "backoff"),
    ],
)
def test_a_bad_value_is_named(make, named):
    """Told when the policy is made, with the value that was given."""
    with pytest.raises(ValueError, match=f"^{named} must be"):
        make()


def test_a_call_that_finds_no_node_is_not_counted_as_sent():
    """Else calls were refused for seconds after the nodes are back, and none had failed."""
    stage = Stage("a", overload=OverloadPolicy(throttle=Throttle(), max_per_node=1))
    for _ in range(10):
        stage.end(stage.pick(), GOOD)
    held = stage.pick()
    for _ in range(100):
        assert stage.service.pick(repeatable=True) is None
    assert held.live.in_flight == 1
    assert stage.service.limiter is not None
    assert stage.service.limiter.allows_retry(1, stage.clock())
