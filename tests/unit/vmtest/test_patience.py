"""A slow machine is given time, one that stands is given up, and a person hears of both."""

from __future__ import annotations

from vmtest.patience import AT_MOST_SECONDS, Patience


class Watch:
    """A clock, a machine's sign of life, and what was told."""

    def __init__(self) -> None:
        self.now, self.sign = 1000.0, 0
        self.told: list[int] = []

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, lambda: self.sign, self.told.append, clock=lambda: self.now)


def test_a_machine_that_gets_on_is_waited_for() -> None:
    watch = Watch()
    patience = watch.patience(600)
    for _ in range(10):
        watch.now += 500
        watch.sign += 1
        assert not patience.is_over()
    assert patience.left() == 600


def test_a_machine_that_stands_is_given_up() -> None:
    watch = Watch()
    patience = watch.patience(600)
    watch.now += 599
    assert not patience.is_over()
    watch.now += 1
    assert patience.is_over()


def test_a_machine_that_talks_for_ever_is_given_up_at_last() -> None:
    watch = Watch()
    patience = watch.patience(600)
    while not patience.is_over():
        watch.now += 300
        watch.sign += 1
    assert watch.now - 1000 == AT_MOST_SECONDS


def test_a_person_hears_of_it_every_half_minute() -> None:
    watch = Watch()
    patience = watch.patience(600)
    for _ in range(8):
        watch.now += 10
        patience.left()
    assert watch.told == [30, 60]
