"""Break the rules of the core one at a time, and see that the simulation notices each.

`python -m tests.simulation.mutations` prints a table; a name as the argument shows that one alone.
Each mutant has a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.replaced import Replaced

ROOT = Path(__file__).resolve().parents[2]
MOST_SEEDS = 1500
PATIENCE = 240.0


@dataclass(frozen=True, slots=True)
class Mutation:
    """Say which rule is broken, and how: the text in a module that is replaced, there once."""

    rule: str
    module: str
    text: str
    by: str

    def patched(self) -> bytes:
        """Give the source of the module with the rule broken."""
        source = self.path.read_text()
        found = source.count(self.text)
        if found != 1:
            raise LookupError(f"{self.rule}: its text is {found} times in {self.module}, not once")
        return source.replace(self.text, self.by).encode()

    @property
    def path(self) -> Path:
        return ROOT / "rpcguard" / f"{self.module.replace('.', '/')}.py"


MUTATIONS = [
    Mutation(
        "an unmarked call is in no lane while base is listed",
        "_core.service.paths",
        "for cell in self._pools.cells.values() if cell.key.lane is None]",
        "for cell in self._pools.cells.values()]",
    ),
    Mutation(
        "a marked call is served by no other lane",
        "_core.service.paths",
        "if cell.key.lane == lane)",
        "if cell.key.lane is not None)",
    ),
    Mutation(
        "a share is exact to one call",
        "_core.routing.rotas",
        "        share.due = due - 1.0",
        "        share.due = 0.0",
    ),
    Mutation(
        "a lane that is there for all keeps nobody out",
        "_core.service.paths",
        'if otherwise == "base" and not base.listed:',
        "if False:",
    ),
    Mutation(
        "a retry of a share leaves its nodes",
        "_core.service.paths",
        "outside = again and _is_outside(route)",
        "outside = False",
    ),
    Mutation(
        "a call goes by the list as it is when time has passed",
        "_core.service.picker",
        "self._reactions.tick(now)  # legs are of what is there after it",
        "pass",
    ),
    Mutation(
        "a trial is made by a call that is for that node",
        "_core.service.pools",
        "return leg.whole or (pool.cell in leg.stages[0].cells and not self._beyond(pool))",
        "return True",
    ),
    Mutation(
        "panic stays inside of what a call may use",
        "_core.service.pools",
        "place for place, one in enumerate(leg.last) if pool.cell in one.cells",
        "0 for _ in leg.last",
    ),
    Mutation(
        "a retry goes to an untried node",
        "_core.service.picker",
        "draws.pick_again(leg, now, (*passed, *tried)) if tried else",
        "draws.pick(leg, now, ()) if tried else",
    ),
    Mutation(
        "a node that refuses and only the cap keeps in use is no hope",
        "_core.service.roster",
        "live.held_back not in CONNECTING",
        "True",
    ),
    Mutation(
        "a retry is paid from the budget",
        "_core.service.service",
        "if not free:\n            lease.paid_at = self._budget.withdraw(now)",
        "if not free:\n            lease.paid_at = now",
    ),
    Mutation(
        "a refresh keeps marks",
        "_core.service.reactions",
        "roster.update(live, node)",
        "roster.marks.discard(live), roster.update(live, node)",
    ),
    Mutation(
        "at most half is ejected on judgement",
        "_core.service.blacklist",
        "return len(self) - dead < cap",
        "return True",
    ),
    Mutation(
        "only idempotent calls run again",
        "_core.call.denials",
        "if not repeatable:",
        "if False:",
    ),
    Mutation(
        "a consumed body is not resent",
        "_core.call.denials",
        "if not plan.replayable():",
        "if False:",
    ),
    Mutation(
        "timeouts are cut to the deadline",
        "_core.call.timeouts",
        "return left if timeout is None else min(timeout, left)",
        "return timeout",
    ),
    Mutation(
        "no retry after the deadline",
        "_core.call.denials",
        'return "deadline" if left <= SHORTEST else None',
        "return None",
    ),
    Mutation(
        "a shrunken snapshot is doubted",
        "_core.service.reconcile",
        "doubted = result.emptied or loss > policy.shrink_share * (serving + loss)",
        "doubted = result.emptied",
    ),
    Mutation(
        "an emptied list keeps what was called down",
        "_core.service.reconcile",
        "lost_sight = (result.emptied or since is not None) and old.unseen and key not in gone",
        "lost_sight = False",
    ),
    Mutation(
        "a new generation starts fresh",
        "_core.service.reconcile",
        "return old.generation == new.generation and old.address == new.address",
        "return old.address == new.address",
    ),
    Mutation(
        "in panic a leaving node comes first",
        "_core.service.roster",
        "return 0.0, live.in_flight, live.last_pick",
        "return 2.6, live.in_flight, live.last_pick",
    ),
    Mutation(
        "a half-open node has one trial",
        "_core.service.blacklist",
        "del self.waiting[live.node.id]",
        "pass",
    ),
    Mutation(
        "a cancelled attempt gives its node back",
        "_core.call.call",
        "self.give_up(self._sent, cancelled())",
        "self._settle(self._sent, cancelled())",
    ),
    Mutation(
        "a failed attempt is settled",
        "_core.call.call",
        "self.give_up(self._sent, verdict)",
        "self._service.release(self._sent.lease)",
    ),
    Mutation(
        "a node picked for a cancelled retry is given back",
        "_core.call.call",
        "self._service.conclude(following, cancelled())",
        "self._service.settle(following, cancelled())",
    ),
    Mutation(
        "an ejection that is over leads to a trial",
        "_core.service.standing",
        '    ("ejected", "ended"): ("half_open", ("await_trial",)),\n',
        '    ("ejected", "ended"): ("half_open", ()),\n',
    ),
    Mutation(
        "a good probe ends an ejection",
        "_core.service.standing",
        '    ("unreachable", "listens"): ("half_open", ("await_trial",)),\n',
        "",
    ),
    Mutation(
        "a restart ends a mark",
        "_core.service.standing",
        '    ("down", "reopened"): ("staying", ("end_mark", "start_over")),\n',
        "",
    ),
    Mutation(
        "judging stops when most nodes fail",
        "_core.service.blacklist",
        "self._frozen_until = now + self.policy.window",
        "self._frozen_until = now",
    ),
    Mutation(
        "the last usable node is not marked",
        "_core.service.reactions",
        "return marked < cap and roster.eligible > live.in_pool",
        "return marked < cap",
    ),
    Mutation(
        "at most half is marked",
        "_core.service.reactions",
        "return marked < cap and roster.eligible > live.in_pool",
        "return roster.eligible > live.in_pool",
    ),
    Mutation(
        "a node speaks for itself only",
        "_core.outcomes.responses",
        'return Notice("foreign", "sermant',
        'return Notice("signal", "sermant',
    ),
    Mutation(
        "a mark has a longest time",
        "_core.service.marks",
        "return min(notice.ttl or self.policy.ttl, cap)",
        "return max(notice.ttl or self.policy.ttl, cap)",
    ),
    Mutation(
        "only a stale connection allows the same node",
        "_core.service.service",
        "again = (same_node or (self.same_again and not free)) and not tried[-1].gone",
        "again = not tried[-1].gone",
    ),
    Mutation(
        "a closed service takes no calls",
        "_core.service.service",
        "                if self.closed:  # looked",
        "                if False:  # looked",
    ),
    Mutation(
        "slow start is suspended when half is new",
        "_core.service.pools",
        "return cell.warming * 2 >= cell.units",
        "return False",
    ),
    Mutation(
        "a low priority waits for the high one",
        "_core.service.stages",
        "for priority in sorted({pool.priority for pool in pools}):",
        "for priority in sorted({pool.priority for pool in pools}, reverse=True):",
    ),
    Mutation(
        "attempts are limited",
        "_core.call.call",
        "if self._spent >= self._plan.attempts or final:",
        "if final:",
    ),
    Mutation(
        "the child of a gone node is closed",
        "_core.service.service",
        "if live.gone and not live.in_flight:",
        "if False:",
    ),
    Mutation(
        "a short answer is read before it is handed out",
        "_core.call.steps",
        "return Read(reply, limit) if length <= limit else None",
        "return None",
    ),
    Mutation(
        "a refused connection is safe to retry",
        "_core.outcomes.exceptions",
        '"ConnectError": (Safety.UNCONNECTED, "connect")',
        '"ConnectError": (Safety.MAYBE, "connect")',
    ),
    Mutation(
        "a lack of descriptors is no node's fault",
        "_core.outcomes.exceptions",
        'return replace(verdict, blame="none")\n    return verdict\n\n\ndef _is_local',
        "pass\n    return verdict\n\n\ndef _is_local",
    ),
    Mutation(
        "a retry prefers another zone",
        "_core.service.draws",
        "(zone is None or node.zone != zone)",
        "(zone is None or node.zone == zone)",
    ),
    Mutation(
        "only the trial of a half-open node counts as its trial",
        "_core.service.reactions",
        "trial = lease.on_trial and not body",
        "trial = lease.proof and not body",
    ),
    Mutation(
        "an answer is drained only where a retry can wait",
        "_core.call.call",
        "drain = self.left - delay > DRAIN_TIME + SHORTEST",
        "drain = True",
    ),
    Mutation(
        "a failure rate is enough",
        "_core.policies.ejection",
        "if share < self.failure_rate:",
        "if True:",
    ),
    Mutation(
        "few failures are not",
        "_core.policies.ejection",
        "if blame != STALE and live.streak >= self.consecutive:",
        "if True:",
    ),
    Mutation(
        "a mark that has run out needs a probe",
        "_core.service.standing",
        '("leaving", "lapsed"): ("overdue", ()),',
        '("leaving", "lapsed"): ("staying", ("end_mark",)),',
    ),
    Mutation(
        "proven health is forgiven",
        "_core.service.blacklist",
        "        live.level -= 1\n",
        "",
    ),
    Mutation(
        "a node that is back starts slowly",
        "_core.service.standing",
        "if warm:\n                self._roster.warm(live, now)",
        "pass",
    ),
    Mutation(
        "a node that is gone is not judged",
        "_core.service.reactions",
        "if live.gone:  # for",
        "if False:  # for",
    ),
    Mutation(
        "the clock of the service judges dates",
        "_core.call.call",
        "judge_reply(reply, raw, node, self._service.wall,",
        "judge_reply(reply, raw, node, __import__('time').time,",
    ),
    Mutation(
        "what never left costs no attempt",
        "_core.call.call",
        "if self._unsent.take(self.attempts[-1].duration):\n                return 0.0",
        "pass",
    ),
    Mutation(
        "tries that never left are bounded",
        "_core.call.tries",
        "return self._count <= _MOST and self._left > 0.0",
        "return True",
    ),
    Mutation(
        "what never left is not paid for",
        "_core.call.call",
        "free=not self._spent",
        "free=False",
    ),
    Mutation(
        "a node that cannot be reached ends no call of others",
        "_core.service.budget",
        "self._counts.take_back(paid_at, 0, 1)",
        "pass",
    ),
    Mutation(
        "what a node refuses is its failure",
        "_core.outcomes.exceptions",
        'safety=Safety.UNSENT, blame="failure", dropped=dropped)',
        'safety=Safety.UNSENT, blame="none", dropped=dropped)',
    ),
    Mutation(
        "a dead kept connection counts by its rate",
        "_core.service.reactions",
        "live.outlive(now, policy.window)",
        "pass",
    ),
    Mutation(
        "a handshake that fails is not for probes",
        "_core.policies.ejection",
        'return Trip("handshake", "TLS handshake failed")',
        "return CANNOT_CONNECT",
    ),
    Mutation(
        "what fails at once after a probe is out by length",
        "_core.service.reactions",
        'return trip.code == "connect" and not live.unproven',
        'return trip.code == "connect"',
    ),
    Mutation(
        "what several nodes say is about none of them",
        "_core.service.reactions",
        "        if others:\n            self._discount(",
        "        if not notice:\n            self._discount(",
    ),
    Mutation(
        "a lifted mark is taken off all",
        "_core.service.reactions",
        "self._discount(notice, [*others, live], now)",
        "self._discount(notice, [live], now)",
    ),
    Mutation(
        "leases that run out one by one are one loss",
        "_core.service.reconcile",
        "loss = _loss((*lately, moves))",
        "loss = _loss((moves,))",
    ),
    Mutation(
        "a replaced node is no loss",
        "_core.service.reconcile",
        "    result.moves = Moves(come=come)\n",
        "    result.moves = Moves()\n",
    ),
    Mutation(
        "an empty list does not end nodes that answer",
        "_core.service.roster",
        "if not self._is_of_empty(since):",
        "if True:",
    ),
    Mutation(
        "a silent node goes with an empty list",
        "_core.service.roster",
        "return min(max(live.heard_at, since) + PROOF_LIFE, longest)",
        "return longest",
    ),
    Mutation(
        "a refused connection ends a doubted node",
        "_core.service.reactions",
        "return trip.code in CONNECTING or self._roster.trusted > 0",
        "return self._roster.trusted > 0",
    ),
    Mutation(
        "a failed probe ends a doubted node",
        "_core.service.reactions",
        "if alive is False and live.doubted_at is not None:",
        "if False:",
    ),
    Mutation(
        "an odd answer ends a doubted node",
        "_core.service.reactions",
        "if live.doubted_at is not None and not live.oddities:",
        "if False:",
    ),
    Mutation(
        "a draining node is the last resort",
        "_core.service.roster",
        "if not live.node.weight or live in tried:",
        'if live.state == "draining" or live in tried:',
    ),
    Mutation(
        "a draining node waits for all others",
        "_core.service.roster",
        "return _DRAINED, live.in_flight, live.last_pick",
        "return 0.5, live.in_flight, live.last_pick",
    ),
    Mutation(
        "a trial is made by a call that can go on",
        "_core.service.picker",
        "if self._blacklist.waiting and not tried:",
        "if self._blacklist.waiting:",
    ),
    Mutation(
        "statuses of the policy are retried",
        "_core.call.call",
        "return listed and self._repeatable and EARLY not in reply.extensions",
        "return False",
    ),
    Mutation(
        "levels end",
        "_core.service.blacklist",
        "if self.policy.duration * 2.0**live.level < self.policy.max_duration:",
        "if True:",
    ),
    Mutation(
        "a mark does not forget failures",
        "_core.service.standing",
        '("leaving", ("tell_offline", "probe"))',
        '("leaving", ("tell_offline", "probe", "start_over"))',
    ),
    Mutation(
        "a quick refusal does not make a node look quick",
        "_core.nodes.load",
        "            self.ghosts_at = now\n        elif self.latency:",
        "            self.ghosts_at = now\n        if self.latency:",
    ),
    Mutation(
        "a node that has too many is spared",
        "_core.service.reactions",
        'too_many = verdict.outcome == "429"',
        "too_many = False",
    ),
    Mutation(
        "a key has its nodes in one order",
        "_core.service.homes",
        "(rank, distance(_seed_of(live), key, live.weight), live.node.id, live)",
        "(rank, live.last_pick, live.node.id, live)",
    ),
    Mutation(
        "a node has no more than its part of a key's calls",
        "_core.service.homes",
        "if live.in_flight < self._policy.least:",
        "if True:",
    ),
    Mutation(
        "a key keeps no call from a node where none has room",
        "_core.service.homes",
        "live = live or self._least_busy(listed, key, excluded)",
        "pass",
    ),
    Mutation(
        "what is known of a key is forgotten as the list changes",
        "_core.service.homes",
        "if self._moves != self._pools.moves:",
        "if False:",
    ),
    Mutation(
        "a node is tried out by a key of its own",
        "_core.service.picker",
        "patient=patient, fit=fit)",
        "patient=patient)",
    ),
    Mutation(
        "a key that has left its home is told to have",
        "_core.service.picker",
        'return "home" if live is ask.home else "moved"',
        'return "home"',
    ),
    Mutation(
        "what one key is answered is no sign of a node",
        "_core.service.reactions",
        "(trial or not lease.keyed) and ",
        "",
    ),
    Mutation(
        "doubted nodes are the last resort",
        "_core.service.pools",
        "PoolKey(cell, (doubted, node.priority), own)",
        "PoolKey(cell, (False, node.priority), own)",
    ),
    Mutation(
        "a call leaves the subset only where none of it is left",
        "_core.balancing.subset",
        "live = self._few.pick(now, excluded)",
        "live = None",
    ),
    Mutation(
        "another node stands in for one of the subset that is out",
        "_core.balancing.subset",
        "            self._take_from_outside(live)\n        self._choose()\n\n    def pick",
        "            self._take_from_outside(live)\n\n    def pick",
    ),
    Mutation(
        "a caller's nodes have one order, whoever comes and goes",
        "_core.balancing.subset",
        "found = chosen(self._order, self._size, self._instance)",
        "found = chosen(self._order[:: len(self._order) % 2 * 2 - 1], self._size, self._instance)",
    ),
]


@dataclass(frozen=True, slots=True)
class Found:
    """Tell what a mutant came to: the seed that noticed it and by what, or none."""

    mutation: Mutation
    seconds: float
    caught: bool
    words: str


def attempt(mutation: Mutation) -> Found:
    """Simulate a mutant in a process of its own: the known cases, then seeds, until one fails."""
    began = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutations", mutation.rule],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if run.returncode not in (0, 1) or not run.stdout:
        raise RuntimeError(f"{mutation.rule}: {run.stderr}")
    return Found(mutation, time.perf_counter() - began, run.returncode == 0, run.stdout.strip())


def attempt_all() -> list[Found]:
    """Simulate all mutants."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(attempt, MUTATIONS))


def show(rule: str) -> int:
    """Be the process of one mutant: 0 when a seed has noticed it."""
    (mutation,) = (one for one in MUTATIONS if one.rule == rule)
    module = f"rpcguard.{mutation.module}"
    sys.meta_path.insert(0, Replaced(module, mutation.path, mutation.patched()))
    from tests.simulation.run import first_failing_case, first_failure

    words = first_failing_case()
    if words is None:
        found = first_failure(range(MOST_SEEDS))
        words = found and f"seed {found.seed}: {found.error}"
    print(words or "not noticed")
    return 0 if words else 1


def main() -> int:
    """Print a table of all mutants, or what one of them comes to."""
    if len(sys.argv) > 1:
        return show(" ".join(sys.argv[1:]))
    found = attempt_all()
    for one in found:
        print(f"{one.mutation.rule:<50} {one.seconds:5.1f} s  {one.words[:110]}")
    print(f"{sum(one.caught for one in found)} of {len(found)} noticed")
    return 0 if all(one.caught for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
