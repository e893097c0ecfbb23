"""What networks are trained how, to see how good they get: the recipes of ``accuracy.py``.

Every setting was chosen on images held out of the training part, never on those of the test.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

import tinycnn

NS_STEPS = 3  # of Muon: on MNIST 3 are as good as 5


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A network and its training: AdamW with a one-cycle schedule, on standardised input.

    weight_decay is AdamW's: each step also shrinks the parameters by learning rate times this.
    shift and flip are those of ``tinycnn.Augmentation``, padding is that of every Conv. Of each
    edge of an image, crop pixels are cut off. matrix_lr is that of ``tinycnn.Muon``, where it is to
    train all weights but the last one. The initial parameters are multiplied by initial_scale.
    """

    channels: tuple[int, ...]
    kernel_size: int | tuple[int, ...]
    epochs: int
    lr: float
    batch_size: int = 128
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warm_up: float = 0.2
    label_smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    padding: int | str = 0
    crop: int = 0
    matrix_lr: float | None = None
    initial_scale: float = 1.0
    views: tinycnn.Views | None = None

    def cropped(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return images as the network sees them."""
        H, W = images.shape[2:]
        return np.ascontiguousarray(
            images[:, :, self.crop : H - self.crop, self.crop : W - self.crop]
        )

    def make_network(self, image_shape: tuple[int, ...], n_classes: int, seed: int) -> tinycnn.CNN:
        """Build the network with its initial parameters."""
        kernel_size = self.kernel_size
        net = tinycnn.CNN(
            image_shape,
            channels=self.channels,
            kernel_size=list(kernel_size) if isinstance(kernel_size, tuple) else kernel_size,
            padding=self.padding,
            n_classes=n_classes,
            seed=seed,
        )
        net.flat *= self.initial_scale
        return net

    def make_optimizer(self, net: tinycnn.CNN) -> tinycnn.Optimizer:
        """Make the optimiser of a network."""
        if self.matrix_lr is None:
            return tinycnn.AdamW(self.lr, self.betas, weight_decay=self.weight_decay)
        return tinycnn.Muon(
            net.architecture.parameter_shapes,
            self.matrix_lr,
            lr=self.lr,
            betas=self.betas,
            weight_decay=self.weight_decay,
            ns_steps=NS_STEPS,
        )

    @property
    def augmentation(self) -> tinycnn.Augmentation | None:
        """How images are varied, None if they are not."""
        varied = self.shift or self.flip
        return tinycnn.Augmentation(self.shift, self.flip) if varied else None

    @property
    def title(self) -> str:
        """Name for people."""
        filters = ", ".join(map(str, self.channels))
        sizes = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,)
        kernels = ", ".join(f"{size}x{size}" for size in sizes)
        epochs = f"{self.epochs} epoch{'s' * (self.epochs > 1)}"
        more = [*(["Muon"] if self.matrix_lr else []), *(["views"] if self.views else [])]
        return ", ".join([f"({filters}) {kernels}", epochs, *more])


@dataclasses.dataclass(frozen=True)
class Study:
    """Recipes that are compared on one set of images.

    Attributes
    ----------
    title : str
    recipes : tuple of Recipe
    n_seeds : int
        Each recipe is trained so often, from other initial weights and in another order.
    test_images : int or None
        The last so many of the training images are held out as the test; None: the data have a
        test part of their own.
    """

    title: str
    recipes: tuple[Recipe, ...]
    n_seeds: int
    test_images: int | None = None


# Centre crops of 24x24, moved by a pixel in training, and looked at five times where in doubt.
_SHORT = {
    "betas": (0.7, 0.9),
    "label_smoothing": 0.05,
    "shift": 1,
    "crop": 2,
    "views": tinycnn.Views(margin=1.0),
}
_MUON = {"lr": 0.015, "initial_scale": 0.3, **_SHORT}
RECORD = (
    Recipe((8, 32), (5, 3), 2, 0.015, **_SHORT),
    Recipe((6, 32), (5, 3), 1, matrix_lr=0.045, **_MUON),
    Recipe((6, 40), (5, 3), 1, matrix_lr=0.045, **_MUON),
    Recipe((8, 32), (5, 3), 2, matrix_lr=0.03, **_MUON),
    Recipe((8, 40), (5, 3), 3, matrix_lr=0.04, batch_size=256, **_MUON),
)

STUDIES = {
    "mnist": Study(
        "MNIST: the way to 99% on two cores",
        (
            Recipe((8, 16), 5, 1, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 16), 5, 2, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 32), 5, 1, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 16), 5, 3, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 24), 5, 2, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 32), 5, 2, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 24), 5, 3, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
            Recipe((8, 32), 5, 4, 0.015, betas=(0.7, 0.9), label_smoothing=0.05),
        ),
        n_seeds=10,
        test_images=10_000,
    ),
    "mnist-record": Study(
        "MNIST: 99% in a third of a second, on two cores",
        RECORD,
        n_seeds=10,
        test_images=10_000,
    ),
    "fashion-views": Study(
        "Fashion-MNIST: what views bring",
        (
            Recipe(
                (16, 32),
                3,
                6,
                0.01,
                weight_decay=0.01,
                label_smoothing=0.05,
                shift=1,
                flip=True,
                padding="same",
                views=tinycnn.Views(flip=True, margin=1.5),
            ),
        ),
        n_seeds=3,
    ),
    "fashion-small": Study(
        "Fashion-MNIST: one block of 8 filters, trained for longer",
        (Recipe((8,), 3, 60, 0.01, weight_decay=0.15),),
        n_seeds=5,
    ),
    "fashion": Study(
        "Fashion-MNIST: one block, and three",
        (
            Recipe((8,), 3, 40, 0.005, weight_decay=0.2),
            Recipe((64,), 3, 20, 0.005, weight_decay=0.3, padding="same"),
            Recipe(
                (32, 64, 128), 3, 15, 0.004, weight_decay=0.05, shift=1, flip=True, padding="same"
            ),
        ),
        n_seeds=3,
    ),
}
