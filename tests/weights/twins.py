"""What the tests against networks in PyTorch share."""

import jax
import numpy as np
from quick import as_for_users

from failpred_jax.models.network import Network


def randomize(net, seed=0):
    """Give a PyTorch network weights and statistics under which a fault in any of them shows; return it."""
    import torch

    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            # Larger than PyTorch's default, under which the outputs of a deep network hardly vary.
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.5, 0.5)):
                torch.nn.init.uniform_(tensor, low, high)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def random_images(network: Network, count=2):
    return np.random.default_rng(1).normal(size=(count, *network.image_shape)).astype(np.float32)


def in_torch(net, images):
    """Return what a PyTorch network makes of images [B, H, W, channels]."""
    import torch

    with torch.no_grad():
        return net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))


def in_ours(network: Network, params, stats, images):
    """Return the Outputs of ours, with the confidence if there is a head."""

    def run(params, stats, images):
        return network.apply(params, stats, images, with_confidence='head' in params)[0]

    # SegNet unpools to where the maximum was found, so pixels that are equal have to come out equal to the last bit.
    return jax.jit(run, compiler_options=as_for_users())(params, stats, images)
