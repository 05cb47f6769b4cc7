"""Images side by side, each with what is said of it."""

import htpy as h
import numpy as np

from failpred_jax.report import figures_images


def picture_cards(images: np.ndarray, cards: list[tuple[tuple[str, str], str]]) -> h.Element:
    """Return images [R, H, W, channels] as cards, each with two lines below it and the name of its unit on hover."""
    return h.figure('.images')[
        h.ul('.cards')[
            [
                h.li[
                    h.img(
                        src=figures_images.data_uri(image, max_side=160, lossy=not figures_images.is_small(image)),
                        alt=f'{unit}: {first}, {second}',
                        class_={'pixelated': figures_images.is_small(image)},
                        loading='lazy',
                    ),
                    h.div('.classes', title=unit)[first],
                    h.div('.small')[second],
                ]
                for image, ((first, second), unit) in zip(images, cards, strict=False)
            ]
        ]
    ]
