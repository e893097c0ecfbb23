"""The kernels of ``_kernels.pyx`` once more in plain NumPy: what they mean, and their oracle.

Same names, same signatures, same letters (N images, C channels, H x W pixels; K filters, R x S
taps; I x J conv outputs; P x Q pool windows). Slow, short, and compared with the fast ones by
the tests.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
WinnerArray = npt.NDArray[np.uint8]


def conv2d_forward(x: FloatArray, weight: FloatArray, bias: FloatArray, out: FloatArray) -> None:
    """Fill out (N,K,I,J) with the cross-correlation of x (N,C,H,W) and weight (K,C,R,S)."""
    _, _, R, S = weight.shape
    _, _, I, J = out.shape
    out[...] = bias[:, None, None]
    for r in range(R):
        for s in range(S):
            out += np.einsum("ncij,kc->nkij", x[:, :, r : r + I, s : s + J], weight[:, :, r, s])


def conv2d_backward_weight(x: FloatArray, dout: FloatArray, dweight: FloatArray) -> None:
    """Fill dweight (K,C,R,S) from x (N,C,H,W) and dout (N,K,I,J)."""
    _, _, R, S = dweight.shape
    _, _, I, J = dout.shape
    for r in range(R):
        for s in range(S):
            dweight[:, :, r, s] = np.einsum("ncij,nkij->kc", x[:, :, r : r + I, s : s + J], dout)


def conv2d_backward_bias(dout: FloatArray, dbias: FloatArray) -> None:
    """Fill dbias (K,) with the sums of dout (N,K,I,J) over images and positions."""
    dbias[...] = dout.sum(axis=(0, 2, 3))


def conv2d_backward_input(weight: FloatArray, dout: FloatArray, dx: FloatArray) -> None:
    """Fill dx (N,C,H,W): every output hands its gradient back to the pixels it has seen."""
    _, _, R, S = weight.shape
    _, _, I, J = dout.shape
    dx[...] = 0
    for r in range(R):
        for s in range(S):
            dx[:, :, r : r + I, s : s + J] += np.einsum("nkij,kc->ncij", dout, weight[:, :, r, s])


def relu_forward(x: FloatArray, out: FloatArray) -> None:
    """Fill out with max(x, 0); NaN stays NaN."""
    np.maximum(x, 0, out=out)


def relu_backward(dout: FloatArray, x: FloatArray, dx: FloatArray) -> None:
    """Fill dx with 0 where x <= 0, else dout."""
    dx[...] = np.where(x <= 0, 0, dout)


def max_pool2d_forward(x: FloatArray, out: FloatArray, winner: WinnerArray) -> None:
    """Fill out (N,K,P,Q) with each window's maximum and winner with its place, 0..3."""
    windows = _windows(x, *out.shape[2:])
    places = windows.argmax(axis=-1)  # the first of equals, and the first NaN
    last_nan = 3 - np.isnan(windows[..., ::-1]).argmax(axis=-1)
    winner[...] = np.where(np.isnan(windows).any(axis=-1), last_nan, places)
    out[...] = windows.max(axis=-1)


def max_pool2d_backward(dout: FloatArray, winner: WinnerArray, dx: FloatArray) -> None:
    """Fill dx (N,K,H,W): dout (N,K,P,Q) at each window's winner, 0 elsewhere."""
    P, Q = dout.shape[2:]
    dx[...] = 0
    for place in range(4):
        row, column = divmod(place, 2)
        dx[:, :, row : 2 * P : 2, column : 2 * Q : 2] = np.where(winner == place, dout, 0)


def _windows(x: FloatArray, P: int, Q: int) -> FloatArray:
    """(N,K,H,W) -> (N,K,P,Q,4): the four values of each window in row-major order."""
    corners = [x[:, :, row : 2 * P : 2, column : 2 * Q : 2] for row in (0, 1) for column in (0, 1)]
    return np.stack(corners, axis=-1)
