"""The confidence losses against numbers of the paper's code, and against formulas written out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.losses.confidence import FocalOptions
from failpred_jax.registry import LOSSES
from failpred_jax.types import Outputs

# Values of the paper's code, on the inputs of `parity_inputs`.
PARITY = {
    'tcp_mse': (0.20484670996665955, 0.5034570097923279),
    'tcp_ratio_mse': (0.23362232744693756, 0.5222015380859375),
    'correctness_bce': (0.7264621257781982, 1.6392924785614014),
    'focal': (0.015418357215821743, 0.015418357215821743),
}
LOGITS = np.array(
    [
        [-2.25168, -2.30472, -0.5011572, -0.8677576, 1.697421, 1.384018, -0.6320255, -4.230439, 0.6445498, -2.52667],
        [0.6999664, 0.6162679, 0.239683, 2.475316, 2.233554, -0.4945563, -2.705307, -3.391862, 1.133301, 1.587017],
        [1.197679, -3.11019, -0.6827208, 3.706012, 1.500379, -1.170995, -0.3467935, 0.3669559, 2.778732, 3.172668],
        [1.892597, -1.687353, -1.227166, 0.06318548, -0.9853539, 0.4968295, 0.8793917, 0.2248224, 1.281585, 0.8823125],
        [-0.2046193, 1.584888, -0.5793354, 0.105015, 1.045721, 4.604411, -2.937788, -3.173378, -1.34618, 1.745662],
        [2.110715, 0.3556874, -0.4606709, -0.7835088, 1.086589, -0.7903151, -0.8924344, 1.488041, 3.041959, 6.821005],
        [-3.062369, -2.46827, 3.639451, -1.103057, -1.138496, 1.839943, 2.221632, 2.579748, -2.956348, 5.134466],
        [
            -0.9462396,
            0.6711015,
            -3.258652,
            -1.099487,
            -0.9596685,
            -0.9993631,
            -2.133961,
            2.229879,
            -0.2813429,
            1.611507,
        ],
        [-0.1866965, 1.3741, -1.676631, 0.001783643, 1.683788, -0.8000683, 2.078924, 0.7163062, -0.4920019, 4.605033],
        [-3.763378, -0.09945405, -2.089957, -1.913002, 0.06706372, 1.420173, 3.291734, -2.720338, 0.6891308, 1.039735],
        [-5.226645, -3.392949, -0.4564836, 0.55991, 0.4938528, 0.153774, 0.6760116, 0.9088035, 0.9138803, -1.730743],
        [
            1.562616,
            -1.853579,
            -0.4376674,
            -4.870131,
            -0.1458295,
            -0.06797282,
            1.925037,
            0.6983365,
            -1.842924,
            -0.1123896,
        ],
        [-1.245397, -0.9274443, 3.843565, -0.8050911, 0.247805, 2.329567, 1.846747, 2.77459, -1.766752, -0.837827],
        [-1.609653, 1.131219, 1.220729, 0.9337671, 3.901314, -2.126197, -0.1546515, 0.2327973, -1.187982, -2.487856],
        [
            -0.2041853,
            -2.067097,
            -0.6252776,
            0.4915709,
            -0.5192831,
            0.2366741,
            0.4879185,
            2.329201,
            0.5771523,
            0.7731955,
        ],
        [-0.4021278, -0.235854, 0.3843981, -1.544314, -3.800691, 0.2613549, -1.408588, 0.6294419, 0.3147858, 0.7707254],
    ],
    np.float32,
)
CONFIDENCE = np.array(
    [
        0.9671457,
        -0.9910827,
        0.3016054,
        -0.1073169,
        0.9984566,
        -0.4987148,
        0.7611109,
        0.6183009,
        0.3140486,
        0.213333,
        -0.1200508,
        0.3604597,
        -0.314035,
        -1.078708,
        0.2408105,
        -1.396227,
    ],
    np.float32,
)
LABELS = np.array([1, 2, 8, 0, 3, 8, 9, 2, 7, 0, 8, 8, 6, 8, 5, 8], np.int32)


def mean_loss(name, error_weight=1.0, temperature=1.0, logits=LOGITS, confidence=CONFIDENCE, options=None):
    outputs = Outputs(jnp.asarray(logits), None, jnp.asarray(confidence))
    labels = jnp.asarray(LABELS)
    own = {'options': options or LOSSES.options()[name]()} if name in LOSSES.options() else {}
    loss = LOSSES[name](
        outputs, labels, jnp.ones(labels.shape, bool), error_weight=error_weight, temperature=temperature, **own
    )
    return jnp.mean(loss)


@pytest.mark.parametrize('name', PARITY)
@pytest.mark.parametrize(('which', 'error_weight'), [(0, 1.0), (1, 2.5)])
def test_values_of_the_papers_code(name, which, error_weight):
    np.testing.assert_allclose(mean_loss(name, error_weight), PARITY[name][which], rtol=1e-6)


def test_temperature_softens_the_targets():
    probs = np.asarray(jax.nn.softmax(LOGITS / 3.0))
    tcp = probs[np.arange(len(LABELS)), LABELS]
    sigmoid = 1 / (1 + np.exp(-CONFIDENCE))
    np.testing.assert_allclose(mean_loss('tcp_mse', temperature=3.0), np.mean((sigmoid - tcp) ** 2), rtol=1e-5)
    ratio = tcp / probs.max(1)
    np.testing.assert_allclose(mean_loss('tcp_ratio_mse', temperature=3.0), np.mean((sigmoid - ratio) ** 2), rtol=1e-5)
    for name in ('correctness_bce', 'focal', 'ranking'):
        assert mean_loss(name, temperature=3.0) == mean_loss(name)


def test_extreme_confidence_has_finite_losses_and_gradients():
    extreme = np.where(np.arange(16) % 2, 200.0, -200.0).astype(np.float32)
    for name in LOSSES:
        value, gradient = jax.value_and_grad(lambda u, name=name: mean_loss(name, confidence=u))(jnp.asarray(extreme))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_gradients_agree_with_pytorch():
    torch = pytest.importorskip('torch')
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS).long()
    correct = (logits.argmax(1) == labels).float()
    weight = torch.where(correct == 1, 1.0, 2.5)
    probs = logits.softmax(1)
    tcp = probs.gather(1, labels[:, None])[:, 0]
    bce = partial(torch.nn.functional.binary_cross_entropy_with_logits, reduction='none')
    theirs = {
        'tcp_mse': lambda u: weight * (u.sigmoid() - tcp) ** 2,
        'tcp_ratio_mse': lambda u: weight * (u.sigmoid() - tcp / probs.max(1).values) ** 2,
        'tcp_bce': lambda u: weight * bce(u, tcp),
        'correctness_bce': lambda u: weight * bce(u, correct),
        'focal': lambda u: 0.25 * (1 - torch.exp(-bce(u, correct))) ** 5 * bce(u, correct),
    }
    for name, loss in theirs.items():
        u = torch.from_numpy(CONFIDENCE.copy()).requires_grad_()
        loss(u).mean().backward()
        ours = jax.grad(lambda u, name=name: mean_loss(name, 2.5, confidence=u))(jnp.asarray(CONFIDENCE))
        np.testing.assert_allclose(ours, u.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_the_cross_entropy_to_the_true_class_probability_is_least_there_and_never_flat():
    probs = np.asarray(jax.nn.softmax(LOGITS.astype(np.float64)))
    tcp = probs[np.arange(len(LABELS)), LABELS]
    at_target = np.log(tcp / (1 - tcp)).astype(np.float32)
    entropy = -(tcp * np.log(tcp) + (1 - tcp) * np.log1p(-tcp)).mean()
    np.testing.assert_allclose(mean_loss('tcp_bce', confidence=at_target), entropy, rtol=1e-5)
    gradient = jax.grad(lambda u: mean_loss('tcp_bce', confidence=u))
    np.testing.assert_allclose(gradient(at_target), 0, atol=1e-7)
    # A confidence of 1 or 0, rounded, goes on learning at full speed.
    for far in (-60.0, 60.0):
        off = (1 / (1 + np.exp(-far)) - tcp) / len(tcp)
        np.testing.assert_allclose(gradient(np.full_like(at_target, far)), off, rtol=1e-5)


def test_focal_without_focus_is_cross_entropy():
    plain = mean_loss('focal', options=FocalOptions(alpha=1.0, gamma=0.0))
    np.testing.assert_allclose(plain, mean_loss('correctness_bce'), rtol=1e-6)
