"""Draw the cases of ``train_cases.npz``: inputs of ``tinycnn.train`` and what it must return.

The expected weights come from a PyTorch implementation that shares no line with the package:
``conv2d``, ``relu``, ``max_pool2d`` and ``cross_entropy`` of ``torch.nn.functional``, with the
gradients of autograd. Everything expected is computed in float64. A float32 case is computed from
its float32 inputs in float64 and compared at a looser tolerance.

Rounding can decide an argmax that the mathematics leaves open, and then two correct programs
differ. Cases are therefore rejected unless every decision of every epoch (which of four values is
largest, which are positive) is either taken by a clear margin, or exact, or of no consequence:

* exact: the filter and the images are small multiples of a power of two, so that the convolution
  is free of rounding in both dtypes and ties are ties;
* of no consequence: the tied positions see the same patch of the image, so that whichever is
  chosen adds the same to the filter's gradient. All-zero patches likewise.

A case is also rejected unless training the filters visibly matters (see ``is_telling``), so that
the cases tell the contract from the same pipeline with the usual gradient of the mean loss.

Run ``python tests/golden/make_train_cases.py``; it needs PyTorch and rewrites the file beside it.

Letters: N images of H x W; K filters of R x S; pooled P x Q; F = K*P*Q features; C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

SEED = 20240
OUTPUT = Path(__file__).with_name("train_cases.npz")

#: How many cases of each kind; every count is even, so that half of each are float32.
KINDS = {
    "random": 70,
    "levels": 50,
    "constant": 12,
    "zero": 12,
    "dead": 16,
    "one_window": 16,
    "many": 24,
}
#: Batch sizes around the powers of two at which blocks of images are likely to end.
MANY = (16, 17, 31, 32, 33, 64, 65, 100, 128, 129, 256, 257)
#: Decisions must be clear by this much, relative to the largest sum of |x| * |w| of a window.
MARGIN = 1e-5
#: Wrong variants of the pipeline must be this far away: ten times the float32 tolerance.
TELLING = 1e-3
#: The same PyTorch code in float32 must come this close: a tenth of the float32 tolerance.
WELL_CONDITIONED = 1e-5


@dataclass
class Case:
    """The inputs of one call, as whole-number levels over a common divisor per array.

    Parameters
    ----------
    x, w_conv, w_fc : ndarray of int16
        Levels; the value is ``level / divisor`` in float64, then cast to the case's dtype.
    divisors : tuple of int
        Divisors of ``x``, ``w_conv`` and ``w_fc``.
    y : ndarray of uint8
        Labels.
    n_classes : int
        C, also where the last classes do not occur in ``y``.
    lr, n_epochs : float, int
        As in the call.
    dtype : str
        ``"float32"`` or ``"float64"``.
    """

    x: np.ndarray
    w_conv: np.ndarray
    w_fc: np.ndarray
    divisors: tuple[int, int, int]
    y: np.ndarray
    n_classes: int
    lr: float
    n_epochs: int
    dtype: str

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, w_conv and w_fc as the call sees them, in the case's dtype."""
        levels = (self.x, self.w_conv, self.w_fc)
        return tuple(
            (level / divisor).astype(self.dtype)
            for level, divisor in zip(levels, self.divisors, strict=True)
        )


# ------------------------------------------------------------------------- the pipeline in PyTorch


def train(
    case: Case,
    *,
    dtype: torch.dtype = torch.float64,
    filter_rate: str = "lr / N",
    last_maximum: bool = False,
    watch=None,
) -> np.ndarray:
    """Run the contract's pipeline and return the final ``w_fc``.

    Parameters
    ----------
    case : Case
        Inputs.
    dtype : torch.dtype
        The dtype computed in; the inputs are those of the case's own dtype.
    filter_rate : {"lr / N", "lr", "0"}
        Step size of the filters: the contract's, that without its second division by N, or none.
    last_maximum : bool
        Pay the last of tied maxima instead of the first.
    watch : callable, optional
        Called in each epoch as ``watch(x, w_conv, conv, dw_conv)``.

    Returns
    -------
    ndarray of float64, shape (F, C)
    """
    x, w_conv, w_fc = (torch.tensor(array).to(dtype) for array in case.arrays())
    y = torch.tensor(case.y).long()
    rate = {"lr / N": case.lr / len(y), "lr": case.lr, "0": 0.0}[filter_rate]
    for _ in range(case.n_epochs):
        w_conv.requires_grad_()
        w_fc.requires_grad_()
        conv = functional.conv2d(x, w_conv)
        flat = pool(functional.relu(conv), last_maximum).flatten(1)
        loss = functional.cross_entropy(flat @ w_fc, y)
        dw_conv, dw_fc = torch.autograd.grad(loss, (w_conv, w_fc))
        w_conv, w_fc = w_conv.detach(), w_fc.detach()
        if watch is not None:
            watch(x, w_conv, conv.detach(), dw_conv)
        w_conv = w_conv - rate * dw_conv
        w_fc = w_fc - case.lr * dw_fc
    return w_fc.double().numpy()


def pool(relu: torch.Tensor, last_maximum: bool) -> torch.Tensor:
    """Take the maximum of each 2x2 window; autograd pays the first or the last of tied ones."""
    if not last_maximum:
        return functional.max_pool2d(relu, 2)
    rows, columns = relu.shape[2] // 2 * 2, relu.shape[3] // 2 * 2
    turned = relu[:, :, :rows, :columns].flip(2, 3)  # row-major order backwards
    return functional.max_pool2d(turned, 2).flip(2, 3)


def check_first_maximum() -> None:
    """Make sure that PyTorch's max pool pays the first of tied maxima in row-major order."""
    for dtype in (torch.float32, torch.float64):
        for window in range(1, 16):  # every set of tied positions
            ties = [float(window >> position & 1) for position in range(4)]
            x = torch.tensor(ties, dtype=dtype).reshape(1, 1, 2, 2).repeat(2, 3, 3, 5)
            x.requires_grad_()
            functional.max_pool2d(x, 2).sum().backward()
            paid = torch.zeros(4, dtype=dtype)
            paid[ties.index(1.0)] = 1
            assert torch.equal(x.grad, paid.reshape(1, 1, 2, 2).repeat(2, 3, 3, 5))


# ------------------------------------------------------------------------------ which cases to keep


class Watch:
    """Look at every epoch of a run: whether its decisions are safe, and the filters learn."""

    def __init__(self) -> None:
        self.safe = True
        self.dw_conv: list[float] = []

    def __call__(
        self, x: torch.Tensor, w_conv: torch.Tensor, conv: torch.Tensor, dw_conv: torch.Tensor
    ) -> None:
        """Record one epoch."""
        self.safe = self.safe and decisions_are_safe(x, w_conv, conv)
        self.dw_conv.append(float(dw_conv.abs().max()))

    @property
    def filters_matter(self) -> bool:
        """Whether a later epoch sees filters that an earlier one has moved."""
        return any(step > 0 for step in self.dw_conv[:-1])


def decisions_are_safe(x: torch.Tensor, w_conv: torch.Tensor, conv: torch.Tensor) -> bool:
    """Tell whether rounding can change no pooled position and no sign, or to no effect."""
    scale = float(functional.conv2d(x.abs(), w_conv.abs()).max())
    rows, columns = conv.shape[2] // 2 * 2, conv.shape[3] // 2 * 2
    patches = functional.unfold(x, w_conv.shape[2:])  # (N, R*S, positions)
    patches = patches.reshape(*patches.shape[:2], *conv.shape[2:])
    patches = split_windows(patches[:, :, :rows, :columns])  # (N, R*S, P, Q, 4)
    for k in range(len(w_conv)):
        if is_exact(x) and is_exact(w_conv[k]):
            continue
        values = split_windows(conv[:, k, :rows, :columns])  # (N, P, Q, 4)
        largest, winner = values.max(-1, keepdim=True)
        close = (values > largest - MARGIN * scale) & (largest > -MARGIN * scale)
        winning = patches.gather(-1, winner[:, None].expand(-1, patches.shape[1], -1, -1, -1))
        same_patch = (patches == winning).all(1)
        if (close & ~same_patch).any():
            return False
        if ((values.abs() < MARGIN * scale) & (patches != 0).any(1)).any():
            return False
    return True


def split_windows(images: torch.Tensor) -> torch.Tensor:
    """Turn (..., 2P, 2Q) into (..., P, Q, 4), the last axis in row-major order."""
    *lead, rows, columns = images.shape
    windows = images.reshape(*lead, rows // 2, 2, columns // 2, 2)
    return windows.transpose(-3, -2).flatten(-2)


def is_exact(values: torch.Tensor) -> bool:
    """Tell whether products and sums of such values are free of rounding in float32 too."""
    return bool((values * 8 == (values * 8).round()).all() and (values.abs() <= 32).all())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return max|a - b| / max|b|, the norm-wise relative error the tests use."""
    largest = np.abs(b).max()
    return float(np.abs(a - b).max() / largest) if largest > 0 else float(np.abs(a).max())


def is_telling(case: Case, kind: str, expected: np.ndarray, watch: Watch) -> bool:
    """Tell whether wrong variants of the pipeline would be caught by this case."""
    if not watch.filters_matter:
        return kind != "levels"
    wrong = [train(case, filter_rate="0")]
    if len(case.y) > 1:
        wrong.append(train(case, filter_rate="lr"))
    if kind == "levels":
        wrong.append(train(case, last_maximum=True))
    return all(distance(other, expected) > TELLING for other in wrong)


# ------------------------------------------------------------------------------------ drawing cases


def draw(kind: str, index: int, rng: np.random.Generator) -> Case:
    """Draw one case of a kind; see the module's docstring for what makes it stay."""
    n = int(rng.integers(1, 9))
    k = int(rng.integers(2 if kind == "zero" else 1, 4))
    c = int(rng.choice((1, 2, 2, 3, 3, 4, 5, 7))) if kind == "random" else int(rng.integers(2, 5))
    if kind == "many":
        n, k = MANY[index // 2 % len(MANY)], int(rng.integers(1, 3))
    h, w, r, s = draw_sizes(kind, rng)
    f = k * ((h - r + 1) // 2) * ((w - s + 1) // 2)
    x, x_divisor = draw_images(kind, (n, 1, h, w), rng)
    w_conv, w_conv_divisor = draw_filters(kind, (k, 1, r, s), rng)
    n_epochs = int(rng.integers(0, 6)) if kind == "random" else int(rng.integers(2, 5))
    lr = float(np.round(10 ** rng.uniform(-1.0, 1.2 if kind == "many" else 0.7), 3))
    if kind == "random" and rng.random() < 0.05:
        lr = 0.0
    return Case(
        x=x.astype(np.int16),
        w_conv=w_conv.astype(np.int16),
        w_fc=np.rint(rng.normal(size=(f, c)) * 100).astype(np.int16),
        divisors=(x_divisor, w_conv_divisor, 100 if kind != "levels" else 128),
        y=rng.integers(0, c, size=n).astype(np.uint8),
        n_classes=c,
        lr=lr,
        n_epochs=n_epochs,
        dtype=("float64", "float32")[index % 2],
    )


def draw_sizes(kind: str, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw H, W, R and S, such that at least one window is pooled."""
    low, high = (4, 7) if kind == "many" else (3, 10)
    h, w = (int(size) for size in rng.integers(low, high, size=2))
    if kind == "one_window":  # a conv output of 2 or 3 rows and columns
        return h, w, h - int(rng.integers(1, 3)), w - int(rng.integers(1, 3))
    r = int(rng.integers(1, min(5, h - 1) + 1))
    s = int(rng.integers(1, min(5, w - 1) + 1))
    return h, w, r, s


def draw_images(
    kind: str, shape: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw image levels and their divisor."""
    if kind == "levels":
        return rng.integers(0, 4, size=shape), int(rng.choice((1, 2)))
    if kind in ("constant", "zero"):
        grey = rng.integers(1, 9, size=(shape[0], 1, 1, 1))
        return np.broadcast_to(grey, shape), 4
    if kind == "dead":
        return rng.integers(0, 10, size=shape), 9
    if kind == "many":
        return rng.integers(-2, 3, size=shape), 3
    return np.rint(rng.normal(size=shape) * 50), 49


def draw_filters(
    kind: str, shape: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw filter levels and their divisor."""
    if kind == "levels":
        return rng.integers(-2, 3, size=shape), 2
    filters = np.rint(rng.normal(size=shape) * 1000)
    if kind == "dead":
        dead = rng.random(shape[0]) < 0.4
        filters[dead] = -np.abs(filters[dead]) - 1
    if kind == "zero":
        return zero_sum_filters(shape, rng), 2
    return filters, 1024 if kind == "constant" else 999


def zero_sum_filters(shape: tuple[int, int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw filters of sum zero, whose response to a constant image is exactly 0, but the first."""
    filters = rng.integers(-3, 4, size=shape)
    filters[1:, 0, 0, 0] -= filters[1:].sum(axis=(1, 2, 3))
    filters[0] = np.abs(filters[0]) + 1
    return filters


def keep(case: Case, kind: str) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """Return the expected weights, the variant's, and whether filters matter; None to reject."""
    watch = Watch()
    expected = train(case, watch=watch)
    if not watch.safe or not np.isfinite(expected).all():
        return None
    if distance(train(case, dtype=torch.float32), expected) > WELL_CONDITIONED:
        return None
    if not is_telling(case, kind, expected, watch):
        return None
    return expected, train(case, filter_rate="lr"), watch.filters_matter


def find(kind: str, index: int) -> tuple[Case, np.ndarray, np.ndarray, bool, int]:
    """Draw until a case stays; return it with what it expects and the number of draws."""
    for attempt in range(20_000):
        case = draw(kind, index, np.random.default_rng((SEED, index, attempt)))
        kept = keep(case, kind)
        if kept is not None:
            return case, *kept, attempt + 1
    raise RuntimeError(f"no case of kind {kind} found: loosen what is asked of it")


# ------------------------------------------------------------------------------------------ storing


def pack(kinds: list[str], found: list[tuple]) -> dict[str, np.ndarray]:
    """Lay all cases end to end, one array per field."""
    cases = [entry[0] for entry in found]

    def flat(arrays: list[np.ndarray], dtype: str) -> np.ndarray:
        return np.concatenate([array.ravel() for array in arrays]).astype(dtype)

    return {
        "kind": np.array(kinds),
        "dtype": np.array([case.dtype for case in cases]),
        # N, H, W, K, R, S, C
        "sizes": np.array(
            [
                (len(c.y), *c.x.shape[2:], len(c.w_conv), *c.w_conv.shape[2:], c.n_classes)
                for c in cases
            ],
            dtype=np.int16,
        ),
        "lr": np.array([case.lr for case in cases]),
        "n_epochs": np.array([case.n_epochs for case in cases], dtype=np.int16),
        "divisors": np.array([case.divisors for case in cases], dtype=np.int16),
        "x": flat([case.x for case in cases], "int16"),
        "y": flat([case.y for case in cases], "uint8"),
        "w_conv": flat([case.w_conv for case in cases], "int16"),
        "w_fc": flat([case.w_fc for case in cases], "int16"),
        "expected": flat([entry[1] for entry in found], "float64"),
        # rounded to float32: it only has to be recognised as something else
        "without_second_division": flat([entry[2] for entry in found], "float32"),
        "filters_matter": np.array([entry[3] for entry in found]),
    }


def main() -> None:
    """Draw all cases and write the file."""
    torch.set_num_threads(1)
    check_first_maximum()
    kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
    with torch.backends.mkldnn.flags(enabled=False):  # no Winograd: exact stays exact in float32
        found = [find(kind, index) for index, kind in enumerate(kinds)]
    np.savez_compressed(OUTPUT, **pack(kinds, found))
    draws = sum(entry[4] for entry in found)
    print(f"{len(found)} cases of {draws} draws, {OUTPUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
