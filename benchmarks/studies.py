"""What networks are trained how, to see how good they get: the recipes of ``accuracy.py``.

Every setting was chosen on images held out of the training part, never on those of the test.
"""

import dataclasses

import tinycnn


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A network and its training: AdamW with a one-cycle schedule, on standardised input.

    weight_decay is AdamW's: each step also shrinks the parameters by learning rate times this.
    shift and flip are those of ``tinycnn.Augmentation``, padding is that of every Conv.
    """

    channels: tuple[int, ...]
    kernel_size: int
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

    @property
    def augmentation(self) -> tinycnn.Augmentation | None:
        """How images are varied, None if they are not."""
        varied = self.shift or self.flip
        return tinycnn.Augmentation(self.shift, self.flip) if varied else None

    @property
    def title(self) -> str:
        """Name for people."""
        filters = ", ".join(map(str, self.channels))
        epochs = f"{self.epochs} epoch{'s' * (self.epochs > 1)}"
        return f"({filters}) {self.kernel_size}x{self.kernel_size}, {epochs}"


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
