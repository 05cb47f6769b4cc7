"""The models of Corbière et al., NeurIPS 2019, have the parameters of their reference implementation."""

import math

import jax
import pytest

from failpred_jax.config import ModelConfig
from failpred_jax.models.network import make_network
from failpred_jax.registry import MODELS
from failpred_jax.types import DatasetInfo

# As counted in the reference implementation: name -> (image, classes), baseline, with head (head alone), fine-tuning
# (what it trains).
PARAMETER_COUNTS = {
    'mlp': ((28, 28, 1), 10, 795_010, 1_677_011, 882_001, 2_463_012, 1_668_002),
    'small_convnet_mnist': ((28, 28, 1), 10, 1_199_882, 1_733_083, 533_201, 2_931_804, 1_731_922),
    'small_convnet_svhn': ((32, 32, 3), 10, 1_342_122, 2_028_923, 686_801, 3_366_428, 2_024_306),
    'vgg16': ((32, 32, 3), 10, 14_990_922, 15_677_723, 686_801, 30_664_028, 15_673_106),
    'segnet': ((360, 480, 3), 12, 29_449_956, 30_219_565, 769_609, 59_663_152, 30_213_196),
}


def count(*trees):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trees))


def shapes(name, image, num_classes):
    info = DatasetInfo('made up', MODELS.fact(name, 'task'), image, tuple(str(i) for i in range(num_classes)))
    network = make_network(ModelConfig(name=name), info)
    return jax.eval_shape(lambda: network.with_encoder(*network.init(jax.random.key(0)))[0])


@pytest.mark.parametrize('name', PARAMETER_COUNTS)
def test_parameter_counts_are_those_of_the_reference(name):
    image, num_classes, baseline, with_head, head, finetuning, trained = PARAMETER_COUNTS[name]
    params = shapes(name, image, num_classes)
    assert count(params['backbone'], params['classifier']) == baseline
    assert count(params['head']) == head
    assert count(params['backbone'], params['classifier'], params['head']) == with_head
    # The reference's second network keeps a last layer of one class, which nothing reads; ours has none.
    unread = count(shapes(name, image, 1)['classifier'])
    assert count(params['encoder'], params['head']) + unread == trained
    assert count(params) + unread == finetuning


def test_parameter_count_of_vgg16_for_cifar100():
    params = shapes('vgg16', (32, 32, 3), 100)
    assert count(params['backbone'], params['classifier']) == 15_037_092
