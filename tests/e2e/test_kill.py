"""SIGKILL at random moments, and the same command again, end with the same bits. benchmarks/kill_many.py does many."""

import numpy as np
import pytest
from e2e.killing import differences, draw_kills, kill_and_resume, run_whole

pytestmark = pytest.mark.long


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    lengths = run_whole(tmp_path / 'whole')
    kills = draw_kills(np.random.default_rng(7), 4, lengths)
    kill_and_resume(tmp_path / 'killed', kills)
    assert differences(tmp_path / 'killed', tmp_path / 'whole') == [], kills
