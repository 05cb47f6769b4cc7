"""Residual networks against the same in PyTorch, whose weights come in by renaming, as a user's would."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from weights.twins import in_ours, in_torch, random_images, randomize

from failpred_jax.config import BaselineConfig, Config, ModelConfig
from failpred_jax.models import convolution, layers
from failpred_jax.models.network import Network, make_network
from failpred_jax.models.wide_resnet import WideResnetOptions, make_wide_resnet
from failpred_jax.types import DatasetInfo
from failpred_jax.weights.start import start_from

torch = pytest.importorskip('torch')
nn = torch.nn
F = nn.functional

# Not square, and odd at each halving.
INFO = DatasetInfo('made up', 'classification', (9, 14, 3), ('a', 'b', 'c', 'd'))
CIFAR = DatasetInfo('cifar10', 'classification', (32, 32, 3), tuple('abcdefghij'))


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def stages(block, widths, inputs, num_blocks):
    for i, outputs in enumerate(widths):
        yield nn.Sequential(
            *(block(outputs if j else inputs, outputs, 2 if i and not j else 1) for j in range(num_blocks))
        )
        inputs = outputs


class Resnet(nn.Module):
    def __init__(self, widths, num_blocks):
        super().__init__()
        self.conv1, self.bn1 = conv(3, widths[0], 3), nn.BatchNorm2d(widths[0])
        for i, stage in enumerate(stages(BasicBlock, widths, widths[0], num_blocks), start=1):
            setattr(self, f'layer{i}', stage)
        self.linear = nn.Linear(widths[-1], 4)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for name, stage in self.named_children():
            x = stage(x) if name.startswith('layer') else x
        x = x.mean((2, 3))
        return self.linear(x), x


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x):
        y = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return shortcut + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResnet(nn.Module):
    def __init__(self, widen, num_blocks):
        super().__init__()
        widths = [16 * widen, 32 * widen, 64 * widen]
        self.conv1 = conv(3, 16, 3)
        self.layer1, self.layer2, self.layer3 = stages(WideBlock, widths, 16, num_blocks)
        self.bn1 = nn.BatchNorm2d(widths[-1])
        self.linear = nn.Linear(widths[-1], 4)

    def forward(self, x):
        x = F.relu(self.bn1(self.layer3(self.layer2(self.layer1(self.conv1(x)))))).mean((2, 3))
        return self.linear(x), x


def rules_of_the_page():
    """Return the rules that docs/importing.md shows, for a ResNet-18 as it is usually named in PyTorch."""
    page = Path(__file__).parents[2] / 'docs' / 'importing.md'
    (block,) = re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL)
    config = SimpleNamespace(model=SimpleNamespace(), baseline=SimpleNamespace())
    exec(compile(block, page.name, 'exec'), {'config': config})  # noqa: S102  (our own page)
    assert config.model.name == 'resnet18'
    return config.baseline.init_rename


def small_wide(depth, widen_factor):
    options = WideResnetOptions(depth=depth, widen_factor=widen_factor)
    return Network(make_wide_resnet(ModelConfig(name='wide_resnet'), options, INFO), INFO.image_shape)


THIRD_BLOCK = (r'layer(\d)\.2\.=stage\1_block3.',)
WIDE = (r'shortcut\.weight=shortcut_conv.weight', r'^bn1\.=bn.')
TWINS = {
    'resnet18': (lambda: Resnet((64, 128, 256, 512), 2), lambda: make_network(ModelConfig(name='resnet18'), INFO), ()),
    'resnet20': (
        lambda: Resnet((16, 32, 64), 3),
        lambda: make_network(ModelConfig(name='resnet20'), INFO),
        THIRD_BLOCK,
    ),
    'wide_resnet': (lambda: WideResnet(2, 2), lambda: small_wide(16, 2), WIDE),
}


@pytest.fixture
def native_convolutions(monkeypatch):
    """The other forms have tests of their own, and compile three times as long."""
    for form in ('conv3x3', 'strided3x3'):
        monkeypatch.setattr(layers, form, convolution.native)


@pytest.mark.usefixtures('native_convolutions')
@pytest.mark.parametrize('name', TWINS)
def test_same_weights_give_the_same_outputs(name, tmp_path):
    make_theirs, make_ours, rules = TWINS[name]
    theirs, network = randomize(make_theirs()), make_ours()
    torch.save(theirs.state_dict(), tmp_path / 'a.pth')
    baseline = BaselineConfig(init_from=str(tmp_path / 'a.pth'), init_rename=rules + rules_of_the_page(), epochs=0)
    fresh = network.init(jax.random.key(0))
    params, stats = start_from(Config(model=ModelConfig(name=name), baseline=baseline), INFO, *fresh)
    images = random_images(network)
    logits, features = in_torch(theirs, images)
    ours = in_ours(network, params, stats, images)
    assert float(logits.std()) > 1e-2
    scale = float(features.abs().max())
    np.testing.assert_allclose(ours.features / scale, features.numpy() / scale, atol=1e-5)
    np.testing.assert_allclose(ours.logits, logits.numpy(), atol=1e-4 * max(1, float(logits.abs().max())))


@pytest.mark.parametrize(
    ('name', 'count'), [('resnet18', 11_173_962), ('resnet20', 272_474), ('wide_resnet', 36_479_194)]
)
def test_parameters_are_as_many_as_in_pytorch(name, count):
    params, _ = jax.eval_shape(make_network(ModelConfig(name=name), CIFAR).init, jax.random.key(0))
    leaves = jax.tree.leaves((params['backbone'], params['classifier']))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == count


def test_which_of_them_have_dropout():
    assert not make_network(ModelConfig(name='resnet18'), CIFAR).has_dropout
    assert not make_network(ModelConfig(name='resnet20'), CIFAR).has_dropout
    assert make_network(ModelConfig(name='wide_resnet'), CIFAR).has_dropout
    assert not make_network(ModelConfig(name='wide_resnet', dropout=False), CIFAR).has_dropout
