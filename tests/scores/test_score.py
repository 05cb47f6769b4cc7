"""Registration, and what the room promises about it."""

import pytest

from failpred_jax.registry import SCORES
from failpred_jax.scores.score import score


def test_unknown_needs_are_an_error():
    with pytest.raises(ValueError, match=r"needs 'featuers'; did you mean 'features'\? \(allowed: logits, features, "):
        score('misspelled', needs=['featuers'], description='x', reference='x')
    assert 'misspelled' not in SCORES


def test_a_taken_name_is_an_error():
    with pytest.raises(ValueError, match="'mcp' is registered twice"):
        score('mcp', needs=['logits'], description='x', reference='x')(lambda inputs: inputs.logits)


def test_all_the_scores_of_the_issue_are_here():
    assert set(SCORES) >= {
        'mcp', 'margin', 'entropy', 'max_logit', 'energy', 'max_logit_pnorm', 'doctor_alpha', 'doctor_beta', 'rel_u',
        'temperature_mcp', 'mc_dropout', 'mc_dropout_entropy', 'mc_dropout_mutual_information', 'mc_dropout_variance',
        'trust_score', 'knn_distance', 'mahalanobis', 'relative_mahalanobis', 'confidnet', 'confidnet_finetuned',
        'learned_from_features', 'fusion', 'ensemble', 'ensemble_entropy', 'ensemble_mutual_information', 'tcp',
    }  # fmt: skip
