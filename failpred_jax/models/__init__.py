"""The architectures; importing this package fills `registry.MODELS`."""

from failpred_jax.models import mlp, segnet, small_convnet_mnist, small_convnet_svhn, vgg16  # noqa: F401
