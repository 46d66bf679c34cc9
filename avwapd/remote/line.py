"""One service as seen from here: its budget, its breaker, its right to be asked, and what became of the calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from avwapd.ports import Clock
from avwapd.remote.budget import Breaker, Budget
from avwapd.remote.calls import Calls, NoAnswer, Rejected, Shut, shortened

T = TypeVar("T")


class Line:
    """`sort` says what a client's exception means; `limit_s`: of a whole call; counts: what became of calls."""

    def __init__(
        self,
        calls: Calls,
        budget: Budget,
        breaker: Breaker,
        clock: Clock,
        *,
        sort: Callable[[Exception], NoAnswer | Shut | Rejected],
        limit_s: float,
    ) -> None:
        self.budget = budget
        self.breaker = breaker
        self.counts: Counter[str] = Counter()
        self.why = ""  # the newest trouble, empty after a call that worked
        self.since_ms = clock.now_ms()  # of the state
        self._calls = calls
        self._clock = clock
        self._sort = sort
        self._limit_s = limit_s
        self._no_right_until = 0.0
        self._state = "up"

    @property
    def state(self) -> str:
        """up | degraded (failing) | shut (nothing but questions goes out)."""
        now = self._clock.monotonic()
        if self.breaker.open or now < self._no_right_until or now < self.budget.banned_until:
            return "shut"
        return "degraded" if self.why else "up"

    def admit(self, kind: str) -> float:
        """Seconds until a call of this kind (entry | exit | question) may go out; at 0.0 the budget has given it."""
        wait_s = 0.0 if kind == "question" else max(0.0, self._no_right_until - self._clock.monotonic())
        return wait_s or self.budget.wait(kind) or self.breaker.wait(kind) or self.budget.take(kind)

    async def question(self, call: Callable[[], T]) -> T:
        """Ask within the budget of questions. Raises NoAnswer, Shut or Rejected."""
        wait_s = self.admit("question")
        if wait_s:
            self.counts["over_budget"] += 1
            raise Shut("no call is left for questions this minute", wait_s)
        return await self.ask(call)

    async def ask(self, call: Callable[[], T]) -> T:
        """Make a call that was admitted. Raises NoAnswer, Shut or Rejected."""
        try:
            answer = await self._calls.run(call, self._limit_s)
        except (NoAnswer, Shut) as error:
            failure: NoAnswer | Shut | Rejected = error
        except Exception as error:  # noqa: BLE001 - whatever a foreign client throws is sorted here
            failure = self._sort(error)
            failure.__cause__ = error
        else:
            self._worked()
            return answer
        if isinstance(failure, NoAnswer):
            self.breaker.failed()
            self._failed("no_answer", failure)
        elif isinstance(failure, Shut):
            self._obey(failure)
            self._failed("shut", failure)
        else:
            self.counts["rejected"] += 1
            self._worked()
        raise failure

    def _obey(self, shut: Shut) -> None:
        if shut.reason.startswith("rate limit"):
            self.budget.ban(shut.retry_s)
        elif shut.reason.startswith(("unauthorized", "account_blocked")):
            self.no_right(shut.retry_s)

    def no_right(self, seconds: float) -> None:
        """The keys or the account are not taken: nothing but questions for so long, or until one works."""
        self._no_right_until = self._clock.monotonic() + seconds

    def _worked(self) -> None:
        self.breaker.worked()
        self._no_right_until = 0.0
        self.why = ""
        self._note()

    def _failed(self, name: str, error: Exception) -> None:
        self.counts[name] += 1
        self.why = str(error)
        self._note()

    def _note(self) -> None:
        if self.state != self._state:
            self._state = self.state
            self.since_ms = self._clock.now_ms()

    def facts(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "since_ms": self.since_ms,
            "why": shortened(self.why),
            "budget": self.budget.facts(),
            "breaker": "open" if self.breaker.open else "closed",
        }
