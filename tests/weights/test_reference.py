"""The reference's weights give the reference's outputs: networks in PyTorch, written from the facts, against ours."""

import jax
import numpy as np
import pytest
from weights.twins import in_ours, in_torch, random_images, randomize

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models import convolution, layers
from failpred_jax.models.heads import ConvHead
from failpred_jax.models.mlp import MlpOptions
from failpred_jax.models.network import make_network
from failpred_jax.types import DatasetInfo
from failpred_jax.weights.reference import read_torch_checkpoint

torch = pytest.importorskip('torch')
nn = torch.nn
F = nn.functional

# Not square, and odd where pooling allows: rows and columns cannot be mistaken for one another.
SHAPES = {
    'mlp': (5, 7, 3),
    'small_convnet_mnist': (12, 9, 1),
    'small_convnet_svhn': (18, 27, 3),
    'vgg16': (32, 67, 3),
    'segnet': (45, 61, 3),
}
POOL = 'pool'
VGG = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512, POOL)


class DenseReference(nn.Module):
    """What the four classifiers share; evaluation mode only, so without dropout."""

    def __init__(self, features, hidden, classes, with_head, head_only=False):
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, 1 if head_only else classes)
        widths = [hidden, 400, 400, 400, 400, 1]
        for i in range(5 if with_head else 0):
            setattr(self, f'uncertainty{i + 1}', nn.Linear(widths[i], widths[i + 1]))

    def outputs(self, x):
        x = F.relu(self.fc1(x.flatten(1)))
        logits, u = self.fc2(x), x
        for i in range(1, 6 if hasattr(self, 'uncertainty1') else 1):
            u = getattr(self, f'uncertainty{i}')(u)
            u = F.relu(u) if i < 5 else u
        return logits, x, u[:, 0]


class Mlp(DenseReference):
    def __init__(self, shape, classes, **kind):
        super().__init__(np.prod(shape), 20, classes, **kind)

    def forward(self, x):
        return self.outputs(x)


class SmallConvnetMnist(DenseReference):
    def __init__(self, shape, classes, **kind):
        super().__init__(64 * ((shape[0] - 4) // 2) * ((shape[1] - 4) // 2), 128, classes, **kind)
        self.conv1 = nn.Conv2d(shape[2], 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)

    def forward(self, x):
        return self.outputs(F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2))


class Padded(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.net = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3))

    def forward(self, x):
        return self.net(x)


class Plain(DenseReference):
    plan: tuple

    def __init__(self, shape, classes, **kind):
        shrink = 2 ** self.plan.count(POOL)
        super().__init__(self.plan[-2] * (shape[0] // shrink) * (shape[1] // shrink), 512, classes, **kind)
        inputs = shape[2]
        for i, width in enumerate((w for w in self.plan if w != POOL), start=1):
            setattr(self, f'conv{i}', Padded(inputs, width))
            setattr(self, f'conv{i}_bn', nn.BatchNorm2d(width))
            inputs = width

    def forward(self, x):
        i = 0
        for item in self.plan:
            if item == POOL:
                x = F.max_pool2d(x, 2)
            else:
                i += 1
                x = getattr(self, f'conv{i}_bn')(F.relu(getattr(self, f'conv{i}')(x)))
        return self.outputs(x)


class SmallConvnetSvhn(Plain):
    plan = (32, 32, POOL, 64, 64, POOL, 128, 128, POOL)


class Vgg16(Plain):
    plan = VGG


class Cbr(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.cbr_unit = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x):
        return self.cbr_unit(x)


class Block(nn.Module):
    def __init__(self, *widths):
        super().__init__()
        for i in range(1, len(widths)):
            setattr(self, f'conv{i}', Cbr(widths[i - 1], widths[i]))

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x


class Segnet(nn.Module):
    def __init__(self, shape, classes, with_head, head_only=False):
        super().__init__()
        self.down1, self.down2 = Block(shape[2], 64, 64), Block(64, 128, 128)
        self.down3, self.down4 = Block(128, 256, 256, 256), Block(256, 512, 512, 512)
        self.down5, self.up5 = Block(512, 512, 512, 512), Block(512, 512, 512, 512)
        self.up4, self.up3 = Block(512, 512, 512, 256), Block(256, 256, 256, 128)
        self.up2, self.up1 = Block(128, 128, 64), Block(64, 64, 1 if head_only else classes)
        widths = [64, 400, 120, 64, 64, 1]
        for i in range(5 if with_head else 0):
            setattr(self, f'uncertainty{i + 1}', nn.Conv2d(widths[i], widths[i + 1], 3, padding=1))

    def forward(self, x):
        kept = []
        for i in range(1, 6):
            x = getattr(self, f'down{i}')(x)
            size = x.shape
            x, places = F.max_pool2d(x, 2, return_indices=True)
            kept.append((places, size))
        for i in (5, 4, 3, 2):
            places, size = kept[i - 1]
            x = getattr(self, f'up{i}')(F.max_unpool2d(x, places, 2, output_size=size[2:]))
        x = F.max_unpool2d(x, kept[0][0], 2, output_size=kept[0][1][2:])
        logits, u = self.up1(x), x
        for i in range(1, 6 if hasattr(self, 'uncertainty1') else 1):
            u = getattr(self, f'uncertainty{i}')(u)
            u = F.relu(u) if i < 5 else u
        return logits.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1), u[:, 0]


REFERENCES = {
    'mlp': Mlp,
    'small_convnet_mnist': SmallConvnetMnist,
    'small_convnet_svhn': SmallConvnetSvhn,
    'vgg16': Vgg16,
    'segnet': Segnet,
}


def setting(name, classes=4):
    task = 'segmentation' if name == 'segnet' else 'classification'
    info = DatasetInfo('made up', task, SHAPES[name], tuple(f'class {i}' for i in range(classes)))
    return ModelConfig(name=name, owned={'mlp': MlpOptions(hidden_units=20)}), info


def reference(name, seed=0, with_head=True, head_only=False, classes=4):
    return randomize(REFERENCES[name](SHAPES[name], classes, with_head=with_head, head_only=head_only), seed)


def save(path, state):
    torch.save({'epoch': 3, 'model_state_dict': state, 'optimizer_state_dict': {'state': {}, 'param_groups': []}}, path)
    return str(path)


def run_both(network, params, stats, predictor, confidence_net, images=None):
    images = random_images(network) if images is None else images
    logits, features, _ = in_torch(predictor, images)
    confidence = in_torch(confidence_net, images)[2] if confidence_net else None
    return in_ours(network, params, stats, images), (logits, features, confidence)


def images_for(network):
    """Return random images and, for a segmenter, flat ones: there many maxima of a pooling window are equal."""
    images = random_images(network)
    if not isinstance(network.architecture.head, ConvHead):
        return images
    height, width, _ = network.image_shape
    sky = np.float32([0.3, 0.6, 0.9])
    constant, two_tones, half_flat = np.empty_like(images[:1]), np.empty_like(images[:1]), images[:1].copy()
    constant[:] = two_tones[:] = half_flat[:, : height // 2] = sky
    two_tones[:, :, width // 3 :] = -sky
    return np.concatenate([images[:1], constant, two_tones, half_flat])


@pytest.mark.parametrize(('name', 'form'), [*((name, '') for name in REFERENCES), ('segnet', 'shifted_products')])
def test_same_weights_give_the_same_outputs(name, form, tmp_path, monkeypatch):
    """Flat regions too: Winograd's form would round equal pixels apart, and move what is unpooled."""
    if form:
        # What a GPU takes where equal pixels must stay equal.
        monkeypatch.setattr(layers, 'conv3x3_keeping_ties', getattr(convolution, form))
        monkeypatch.setattr(layers, 'conv3x3', convolution.native)
    theirs = reference(name)
    model, info = setting(name)
    params, stats = read_torch_checkpoint(save(tmp_path / 'a.ckpt', theirs.state_dict()), model, info)
    network = make_network(model, info)
    ours, expected = run_both(network, params, stats, theirs, theirs, images_for(network))
    off = []
    for a, b in zip(ours, expected, strict=True):
        assert float(b.std()) > 1e-2
        off.append(~np.isclose(np.asarray(a), b.numpy(), rtol=1e-4, atol=1e-4))
    off.append(np.asarray(ours.logits).argmax(-1) != expected[0].numpy().argmax(-1))
    for values in off:
        # Beside the border of a flat part there are near ties, whose order in PyTorch on an AMD EPYC differs from call
        # to call. Without ties kept, 98 % of a flat image is off.
        by_borders = values[2:] if name == 'segnet' else values[:0]
        assert np.count_nonzero(values) == np.count_nonzero(by_borders)
        assert np.count_nonzero(by_borders) <= 0.1 * by_borders.size


def test_baseline_checkpoint_has_no_head(tmp_path):
    theirs = reference('mlp', with_head=False)
    model, info = setting('mlp')
    params, stats = read_torch_checkpoint(save(tmp_path / 'a.ckpt', theirs.state_dict()), model, info)
    assert set(params) == {'backbone', 'classifier'}
    ours, expected = run_both(make_network(model, info), params, stats, theirs, None)
    np.testing.assert_allclose(np.asarray(ours.logits), expected[0].numpy(), atol=1e-5)
    assert ours.confidence_logit is None


@pytest.mark.parametrize('name', ['mlp', 'small_convnet_svhn'])
def test_finetuned_checkpoint_has_its_own_encoder(name, tmp_path):
    predictor, confidence_net = reference(name, 0, with_head=False), reference(name, 1, head_only=True)
    state = {f'module.pred_network.{k}': v for k, v in predictor.state_dict().items()}
    state |= {f'module.uncertainty_network.{k}': v for k, v in confidence_net.state_dict().items()}
    model, info = setting(name)
    params, stats = read_torch_checkpoint(save(tmp_path / 'a.ckpt', state), model, info)
    assert set(params) == {'backbone', 'classifier', 'head', 'encoder'}
    ours, expected = run_both(make_network(model, info), params, stats, predictor, confidence_net)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=1e-4, atol=1e-4)


def test_imported_tree_is_that_of_a_fresh_network(tmp_path):
    model, info = setting('segnet')
    path = save(tmp_path / 'a.ckpt', reference('segnet').state_dict())
    fresh = jax.eval_shape(make_network(model, info).init, jax.random.key(0))
    imported = read_torch_checkpoint(path, model, info)
    assert jax.tree.structure(imported) == jax.tree.structure(fresh)
    assert jax.tree.map(np.shape, imported) == jax.tree.map(np.shape, fresh)


def test_every_wrong_entry_is_named(tmp_path):
    state = reference('mlp').state_dict()
    del state['fc1.bias']
    state['fc3.weight'] = torch.zeros(2, 2)
    model, info = setting('mlp', classes=7)
    with pytest.raises(UserError) as error:
        read_torch_checkpoint(save(tmp_path / 'a.ckpt', state), model, info)
    message = str(error.value)
    assert 'missing: fc1.bias' in message
    assert 'unexpected: fc3.weight' in message
    assert 'wrong shape: fc2.weight is (4, 20), needed is (7, 20)' in message
    assert 'wrong shape: fc2.bias' in message
    assert "model 'mlp' with 7 classes" in message


def test_a_bare_state_dict_is_read_too(tmp_path):
    theirs = reference('mlp')
    torch.save(theirs.state_dict(), tmp_path / 'a.pth')
    params, _ = read_torch_checkpoint(str(tmp_path / 'a.pth'), *setting('mlp'))
    np.testing.assert_array_equal(params['classifier']['bias'], theirs.fc2.bias.detach().numpy())


def test_a_model_that_the_reference_does_not_have_is_refused(tmp_path):
    _, info = setting('mlp')
    with pytest.raises(UserError, match="the reference has no model 'resnet18'"):
        read_torch_checkpoint(str(tmp_path / 'a.ckpt'), ModelConfig(name='resnet18'), info)
