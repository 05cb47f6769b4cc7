"""Work on several cores: the same as one thing after another, in the same order."""

import threading
import time

import pytest

from failpred_jax.threads import in_stages


@pytest.mark.parametrize('most', [1, 2, 5])
@pytest.mark.parametrize('count', [0, 1, 7])
def test_stages_are_the_functions_one_after_another(most, count):
    stages = (lambda x: x + 1, lambda x: [x], lambda x: (x, -1))
    assert list(in_stages(range(count), stages, most)) == [([x + 1], -1) for x in range(count)]


def test_no_stage_is_called_twice_at_once_and_no_more_are_under_way_than_may_be():
    under_way, most_seen, in_stage = set(), [], [0, 0, 0]

    def stage(at):
        def run(item):
            in_stage[at] += 1
            assert in_stage[at] == 1
            under_way.add(item)
            most_seen.append(len(under_way))
            time.sleep(0.001)
            in_stage[at] -= 1
            return item

        return run

    for item in in_stages(range(20), [stage(at) for at in range(3)], most=3):
        under_way.discard(item)
    assert max(most_seen) <= 3


@pytest.mark.parametrize('at', [0, 1, 2])
def test_an_error_of_any_stage_is_raised_at_its_item_and_ends_all_threads(at):
    before = threading.active_count()
    begun = []

    def stage(number):
        def run(item):
            if number == 0:
                begun.append(item)
            if number == at and item == 3:
                raise ValueError('three')
            return item

        return run

    found = []
    with pytest.raises(ValueError, match='three'):
        for item in in_stages(range(100), [stage(number) for number in range(3)]):
            found.append(item)
    assert found == [0, 1, 2]
    assert len(begun) <= 6
    assert threading.active_count() == before
