"""The fast path: any number of images through a network, forward, or forward and backward.

It has the methods of :class:`tinycnn.layered.LayeredPath` and computes the same, by the fused
kernels of ``_fused/``: several images side by side in vector registers, a block's conv, ReLU and
pool in one pass, groups of images on several threads. Images are read where they stand, bytes as
bytes, in any order. Results are the same, bit for bit, for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, require_memory
from tinycnn.architecture import Architecture
from tinycnn.fast.dispatch import kernels
from tinycnn.fast.plan import make_plan, products_of_an_image
from tinycnn.fast.threads import pool_for, resolve_threads
from tinycnn.inputs import PIXEL_KINDS, Examples, Inputs, private_examples, readable, slabs

# Tasks that a batch is cut into at most; as in _bindings.pyx.
MAX_CHUNKS = 16

# What `forward` keeps until `backward` of a slab of images.
SLAB_BYTES = 3 * 2**20


# Products that a thread sums up in one go, in some tenths of a second: Ctrl-C is seen in between.
PRODUCTS_BETWEEN_LOOKS = 2**32

# Work space of more than this is not kept from one call to the next.
SPARE_BYTES = 16 * 2**20


class FastState(NamedTuple):
    """What :meth:`FastPath.backward` needs of :meth:`FastPath.forward`.

    Attributes
    ----------
    kept : object
        Values, winners and parameters of the forward pass, for the kernels alone.
    n_images : int
    n_threads : int, optional
        As in the forward pass.
    """

    kept: kernels.State
    n_images: int
    n_threads: int | None


class FastPath:
    """A network's forward and backward pass by the fused kernels.

    Parameters
    ----------
    architecture : Architecture
    dtype : float32 or float64

    Attributes
    ----------
    slab_images : int
        How many images to compute at a time where memory is not to grow with their number: what
        :meth:`forward` keeps of them stays in the cache until :meth:`backward`. It depends on the
        architecture and the width of the CPU's vectors alone.

    Raises
    ------
    NoPlan
        If the kernels do not have all that the network is made of.
    MemoryError
        If this machine cannot predict a single image.
    """

    def __init__(self, architecture: Architecture, dtype: np.dtype[Any]) -> None:
        self.architecture = architecture
        self.dtype = dtype
        self.plan = make_plan(architecture, dtype)
        require_memory("the work space", self.plan.work_bytes)
        self._spare: tuple[list[kernels.Work], list[kernels.Work]] = ([], [])
        fitting = SLAB_BYTES // self.plan.kept_bytes * self.plan.lanes
        self.slab_images = self._whole_groups(fitting)
        self._images_between_looks = self._whole_groups(
            PRODUCTS_BETWEEN_LOOKS // products_of_an_image(architecture)
        )

    def forward(
        self,
        flat: FloatArray,
        inputs: Inputs,
        n_threads: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, FastState]:
        """Compute the logits (N, n_classes), and keep what :meth:`backward` needs.

        Parameters
        ----------
        flat : (n_parameters,)
            Copied: the backward pass uses the same.
        inputs : Inputs
            Of N images, at least 1; as many as fit into memory with all that is kept of them.
        n_threads : int, optional
            As many as this process has CPUs by default.
        rng : numpy.random.Generator, optional
            Given in training: what is dropped depends on it.
        """
        n_images = len(inputs.images)
        kept = kernels.State(self.plan, flat, n_images, self.draw_dropouts(rng))
        # Class by class: NumPy takes a tenth of the time for their maximum and their sum.
        logits = np.empty((self.plan.n_classes, n_images), self.dtype)
        threads = self._threads(n_threads, n_images)
        work = self._borrow_work(threads, False)
        kernels.forward(pool_for(threads), work, kept, _kernel_images(inputs), logits)
        self._give_back(work)
        return logits.T, FastState(kept, n_images, n_threads)

    def backward(self, dlogits: FloatArray, state: FastState) -> FloatArray:
        """Compute the gradient (n_parameters,), given that of the logits (N, n_classes).

        Raises
        ------
        ValueError
            If dlogits are not as many as the logits, or of another dtype.
        TypeError
            If the state is another path's.
        """
        if not isinstance(state, FastState):
            raise TypeError("state: must be what forward of the same network gave")
        threads = min(self._threads(state.n_threads, state.n_images), MAX_CHUNKS)
        gradient = np.empty(self.plan.n_parameters, self.dtype)
        dlogits = np.ascontiguousarray(dlogits.T)
        work = self._borrow_work(threads, True)
        kernels.backward(pool_for(threads), work, state.kept, dlogits, gradient)
        self._give_back(work)
        return gradient

    def logits(
        self, flat: FloatArray, inputs: Inputs, n_threads: int | None = None
    ) -> tuple[FloatArray, bool]:
        """Compute the logits (N, n_classes), and whether all pixels were finite numbers."""
        return self._outputs(False, flat, inputs, n_threads)

    def features(
        self, flat: FloatArray, inputs: Inputs, n_threads: int | None = None
    ) -> tuple[FloatArray, bool]:
        """Compute what the last layer sees (N, n_features); else as :meth:`logits`."""
        return self._outputs(True, flat, inputs, n_threads)

    def gradients(
        self, flat: FloatArray, n_threads: int | None = None, label_smoothing: float = 0.0
    ) -> FastGradients:
        """Prepare for training: see :class:`FastGradients`."""
        return FastGradients(self, flat, n_threads, label_smoothing)

    def draw_dropouts(self, rng: np.random.Generator | None) -> npt.NDArray[np.uint64] | None:
        """Draw what decides what is dropped; None without rng: nothing is dropped."""
        numbers = self.architecture.draw_dropouts(rng)
        return np.array([*numbers.values()], np.uint64) if numbers else None

    def _outputs(
        self, features: bool, flat: FloatArray, inputs: Inputs, n_threads: int | None
    ) -> tuple[FloatArray, bool]:
        width = self.plan.n_features if features else self.plan.n_classes
        outputs = np.empty((len(inputs.images), width), self.dtype)
        if len(outputs) == 0:
            return outputs, True
        threads, all_finite = self._threads(n_threads, len(outputs)), True
        if len(outputs) > threads * self._images_between_looks:
            for part in slabs(outputs, threads * self._images_between_looks):
                some = inputs._replace(images=inputs.images[part])
                outputs[part], finite = self._outputs(features, flat, some, threads)
                all_finite = all_finite and finite
            return outputs, all_finite
        work = self._borrow_work(threads, False)
        all_finite = kernels.outputs(
            pool_for(threads), work, flat, _kernel_images(inputs), outputs, features
        )
        self._give_back(work)
        return outputs, all_finite

    def _borrow_work(self, n_threads: int, training: bool) -> kernels.Work:
        """Lend work space: that of an earlier call, unless another thread is using it."""
        try:
            work = self._spare[training].pop()
        except IndexError:
            return kernels.Work(self.plan, n_threads, training)
        return work if work.n_threads >= n_threads else kernels.Work(self.plan, n_threads, training)

    def _give_back(self, work: kernels.Work) -> None:
        """Keep work space for a later call, if it is not much."""
        spare = self._spare[work.training]
        if (len(spare) + 1) * work.nbytes <= SPARE_BYTES:
            spare.append(work)

    def _whole_groups(self, n_images: int) -> int:
        """Return about so many images, as whole groups, at least one."""
        return max(n_images // self.plan.group_images, 1) * self.plan.group_images

    def _threads(self, n_threads: int | None, n_images: int) -> int:
        """Return how many threads have something to do."""
        if n_threads is None and n_images <= self.plan.group_images:
            return 1
        return min(resolve_threads(n_threads), math.ceil(n_images / self.plan.group_images))


class FastGradients:
    """Computes the loss and its gradient on one batch after the other.

    It holds all work space, so that a step of training allocates nothing; so at any time only one
    thread may use it.

    Parameters
    ----------
    path : FastPath
    flat : (n_parameters,)
        The network's parameters, read anew for each batch.
    n_threads : int, optional
        As many as this process has CPUs by default.
    label_smoothing : float
        Share of each target that is spread evenly over all classes.
    """

    def __init__(
        self, path: FastPath, flat: FloatArray, n_threads: int | None, label_smoothing: float
    ) -> None:
        self._path = path
        self._flat = flat
        self._label_smoothing = label_smoothing
        threads = min(resolve_threads(n_threads), MAX_CHUNKS)
        self._work = kernels.Work(path.plan, threads, True)

    def over(self, examples: Examples, rng: np.random.Generator | None = None) -> kernels.Batches:
        """Prepare for batches of images in an order, one after the other.

        ``batches.differentiate(first, last)`` gives the mean cross-entropy of the images
        ``order[first:last]``, its gradient (n_parameters,), which the next call overwrites, and
        what these images weigh; without arguments, those of all images in the order.

        The mean is weighted if the images are; where the weights add up to 0, or next to it, loss
        and gradient are 0. Each image weighs 1 by default.
        """
        inputs, labels, order, weights, moves = private_examples(
            examples, self._path.plan.n_classes
        )
        taken = (_kernel_images(inputs), labels, order, weights, moves)
        pool = pool_for(self._work.n_threads)
        dropouts = self._path.draw_dropouts(rng)
        return kernels.Batches(pool, self._work, self._flat, taken, self._label_smoothing, dropouts)


def _kernel_images(inputs: Inputs) -> kernels.Images:
    """Hand images over to the kernels: copied only if those cannot read them as they are."""
    images = np.ascontiguousarray(readable(inputs.images))
    return kernels.Images(images, PIXEL_KINDS[images.dtype], inputs.scale, inputs.shift)
