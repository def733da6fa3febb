"""Which held-out windows are scored."""

import pytest

from cllm.training.validation import chosen_of


def test_runs_that_can_afford_about_the_same_score_the_same_windows() -> None:
    assert chosen_of(74, 34) == chosen_of(74, 40) == list(range(0, 74, 2))
    assert chosen_of(74, 74) == chosen_of(74, 1000) == list(range(74))
    assert chosen_of(74, 18) == list(range(0, 74, 4))


@pytest.mark.parametrize("count", [1, 5, 63, 1000])
@pytest.mark.parametrize("wanted", [0, 1, 7, 300])
def test_they_are_about_as_many_as_wanted(count: int, wanted: int) -> None:
    found = chosen_of(count, wanted)
    assert found[0] == 0 and found[-1] < count
    assert len(found) <= max(2, 1.5 * wanted + 1)
    assert len(found) >= min(count, wanted) / 1.5
