"""The thread governor on simulated machines, whose speeds were measured (docs/results.md)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ondevice.engines.threads import FIRST_PAUSE, ThreadGovernor

Cost = tuple[float, float]
"""Seconds a token, and the share of the wanted CPU time that the threads got."""
Machine = Callable[[int], Cost]

QUIET = {1: (1 / 88, 1.0), 2: (1 / 151, 1.0)}.__getitem__
ONE_BUSY = {1: (1 / 90, 1.0), 2: (1 / 47, 0.67)}.__getitem__
SEVERAL_BUSY = {1: (1 / 45, 0.5), 2: (1 / 7, 0.4)}.__getitem__
A_THIRD_BUSY = {1: (1 / 88, 1.0), 2: (1 / 110, 0.83)}.__getitem__
"""Somebody takes a little: one thread fewer is no help."""


def eight_cores(busy: int) -> Machine:
    """Decoding waits for its slowest thread, which shares its core when there are too few."""

    def cost(threads: int) -> Cost:
        alone = 0.1 / threads**0.8
        if threads + busy <= 8:
            return alone, 1.0
        return alone * 2.2, 8 / (threads + busy)

    return cost


@dataclass
class Run:
    """What happened to a governor on a machine."""

    governor: ThreadGovernor
    seconds: float = 0.0
    changes: int = 0
    settled: list[int] = field(default_factory=list)

    def tokens(self, machine: Machine, count: int, noise: random.Random | None = None) -> Run:
        for _ in range(count):
            wall, share = machine(self.governor.threads)
            cpu = wall * share * self.governor.threads
            wall *= noise.uniform(0.85, 1.15) if noise else 1.0
            self.seconds += wall
            self.changes += self.governor.observe(wall, cpu) is not None
            self.settled.append(self.governor.settled)
        return self

    @property
    def settlements(self) -> int:
        return sum(one != other for one, other in zip(self.settled, self.settled[1:], strict=False))


@pytest.mark.parametrize(
    ("machine", "most", "ends_at"),
    [
        pytest.param(QUIET, 2, 2, id="quiet"),
        pytest.param(ONE_BUSY, 2, 1, id="one busy process"),
        pytest.param(SEVERAL_BUSY, 2, 1, id="several busy processes"),
        pytest.param(A_THIRD_BUSY, 2, 2, id="a third of a core taken"),
        pytest.param(eight_cores(0), 8, 8, id="eight cores, quiet"),
        pytest.param(eight_cores(1), 8, 7, id="eight cores, one busy"),
        pytest.param(eight_cores(2), 8, 6, id="eight cores, two busy"),
        pytest.param(eight_cores(4), 8, 4, id="eight cores, four busy"),
    ],
)
def test_it_ends_at_the_right_count_and_stays_there(
    machine: Machine, most: int, ends_at: int
) -> None:
    run = Run(ThreadGovernor(most)).tokens(machine, 2000)
    assert run.governor.settled == ends_at
    assert run.settlements <= 1
    assert run.changes <= 20


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_15_percent_on_a_quiet_machine_changes_nothing(seed: int) -> None:
    noisy = Run(ThreadGovernor(2)).tokens(QUIET, 2000, random.Random(seed))
    fixed = Run(ThreadGovernor(2, fixed=True)).tokens(QUIET, 2000, random.Random(seed))
    assert noisy.governor.settled == 2
    assert noisy.changes <= 4
    assert noisy.seconds <= 1.03 * fixed.seconds


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_bring_a_busy_machine_back_to_all_cores(seed: int) -> None:
    run = Run(ThreadGovernor(2)).tokens(ONE_BUSY, 2000, random.Random(seed))
    assert set(run.settled[50:]) == {1}


def test_it_costs_nothing_on_a_quiet_machine() -> None:
    fixed = Run(ThreadGovernor(2, fixed=True)).tokens(QUIET, 256)
    assert Run(ThreadGovernor(2)).tokens(QUIET, 256).seconds <= 1.03 * fixed.seconds


@pytest.mark.parametrize(
    "machine", [pytest.param(ONE_BUSY, id="one"), pytest.param(SEVERAL_BUSY, id="several")]
)
def test_it_beats_all_cores_on_a_busy_machine_with_the_time_to_notice(machine: Machine) -> None:
    fixed = Run(ThreadGovernor(2, fixed=True)).tokens(machine, 256)
    assert fixed.seconds >= 1.6 * Run(ThreadGovernor(2)).tokens(machine, 256).seconds


def test_trying_a_core_that_helps_little_costs_little() -> None:
    fixed = Run(ThreadGovernor(2, fixed=True)).tokens(A_THIRD_BUSY, 2000)
    assert Run(ThreadGovernor(2)).tokens(A_THIRD_BUSY, 2000).seconds <= 1.03 * fixed.seconds


def test_it_follows_a_machine_that_becomes_busy_and_free_again() -> None:
    run = Run(ThreadGovernor(2))
    assert run.tokens(QUIET, 400).governor.settled == 2
    assert run.tokens(ONE_BUSY, 30).governor.settled == 1
    run.tokens(ONE_BUSY, 470)
    assert run.governor.settled == 1
    assert run.tokens(QUIET, 500).governor.settled == 2
    assert run.settlements == 2
    assert run.changes <= 20


def test_a_long_quiet_helps_nobody_forget_how_to_notice() -> None:
    run = Run(ThreadGovernor(2)).tokens(A_THIRD_BUSY, 1000)
    assert run.tokens(ONE_BUSY, 30).governor.settled == 1


def test_all_eight_cores_are_found_again_one_by_one() -> None:
    run = Run(ThreadGovernor(8)).tokens(eight_cores(4), 100)
    assert run.governor.settled == 4
    assert run.tokens(eight_cores(0), 400).governor.settled == 8


def test_a_large_model_is_noticed_in_half_a_second() -> None:
    slow = {1: (0.17, 1.0), 2: (0.25, 0.67)}.__getitem__
    run = Run(ThreadGovernor(2))
    while run.governor.threads == 2:
        run.tokens(slow, 1)
    assert len(run.settled) <= 3


def test_a_new_generation_forgets_the_pace_of_another_depth() -> None:
    governor = ThreadGovernor(2)
    run = Run(governor).tokens(ONE_BUSY, 30)
    while governor.threads == governor.settled:
        run.tokens(ONE_BUSY, 1)
    assert governor.begin() == governor.threads == 1
    assert run.tokens(QUIET, 2 * FIRST_PAUSE).governor.settled == 2


@pytest.mark.parametrize(
    ("machine", "most", "expected"),
    [
        pytest.param(QUIET, 2, 2, id="quiet"),
        pytest.param(ONE_BUSY, 2, 1, id="one busy process"),
        pytest.param(SEVERAL_BUSY, 2, 1, id="several busy processes"),
        pytest.param(A_THIRD_BUSY, 2, 2, id="a third of a core taken"),
        pytest.param(eight_cores(2), 8, 6, id="eight cores, two busy"),
    ],
)
def test_one_batch_of_a_prompt_tells_how_many_cores_are_free(
    machine: Machine, most: int, expected: int
) -> None:
    governor = ThreadGovernor(most)
    _, share = machine(most)
    governor.observe_prompt(1.0, share * most)
    assert governor.threads == governor.settled == expected


def test_a_batch_too_short_to_measure_changes_nothing() -> None:
    assert ThreadGovernor(2).observe_prompt(0.001, 0.0) is None


def test_after_a_rest_all_cores_are_used_again() -> None:
    governor = Run(ThreadGovernor(2)).tokens(ONE_BUSY, 100).governor
    assert governor.begin(idle_s=1.0) == 1
    assert governor.begin(idle_s=60.0) == 2


@pytest.mark.parametrize(
    "governor",
    [ThreadGovernor(4, fixed=True), ThreadGovernor(1)],
    ids=["a fixed count", "one core"],
)
def test_nothing_changes_where_there_is_no_choice(governor: ThreadGovernor) -> None:
    assert Run(governor).tokens(lambda threads: (1.0, 0.1), 200).changes == 0
