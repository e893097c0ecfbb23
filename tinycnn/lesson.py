"""A whole convolutional network and its training on one page of plain NumPy.

Every formula of :func:`tinycnn.train`, letter by letter: slow, short and exact. Nothing else of
tinycnn is needed to read or to run it; the tests hold everything else to it.

Letters: N images of C channels and H x W pixels; K filters of R x S taps; conv outputs of I x J
positions, pooled to P x Q windows; M classes. A gradient is named after what it belongs to: ``dx``
is the derivative of the loss with respect to ``x``.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv2d(x, weight):
    """out[n, k, i, j] = sum over c, r, s of x[n, c, i + r, j + s] * weight[k, c, r, s]."""
    patches = sliding_window_view(x, weight.shape[2:], axis=(2, 3))  # (N, C, I, J, R, S)
    return np.einsum("ncijrs,kcrs->nkij", patches, weight, optimize=True)


def conv2d_dweight(x, dout):
    """dweight[k, c, r, s] = sum over n, i, j of x[n, c, i + r, j + s] * dout[n, k, i, j]."""
    patches = sliding_window_view(x, dout.shape[2:], axis=(2, 3))  # (N, C, R, S, I, J)
    return np.einsum("ncrsij,nkij->kcrs", patches, dout, optimize=True)


def max_pool(x):
    """The largest value of each 2x2 window, and its place 0..3: the first one among equals."""
    N, K, I, J = x.shape
    P, Q = I // 2, J // 2  # an odd last row or column takes no part
    windows = x[:, :, : 2 * P, : 2 * Q].reshape(N, K, P, 2, Q, 2).swapaxes(3, 4)
    windows = windows.reshape(N, K, P, Q, 4)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def max_pool_dx(dout, winner, x_shape):
    """Each window's gradient goes to its winner; the other three values get none."""
    N, K, P, Q = dout.shape
    windows = np.where(winner[..., None] == np.arange(4), dout[..., None], 0)
    dx = np.zeros(x_shape, dout.dtype)
    windows = windows.reshape(N, K, P, Q, 2, 2).swapaxes(3, 4)
    dx[:, :, : 2 * P, : 2 * Q] = windows.reshape(N, K, 2 * P, 2 * Q)
    return dx


def softmax_cross_entropy(logits, y):
    """Loss = -mean(log(softmax(logits)[y])); dlogits = (softmax(logits) - one_hot(y)) / N."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # so that no exponential overflows
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    images = np.arange(len(y))
    dlogits = np.exp(log_probs)
    dlogits[images, y] -= 1
    return -log_probs[images, y].mean(), dlogits / len(y)


def loss_and_gradients(x, y, w_conv, w_fc):
    """Forward and backward through the network: the loss, dw_conv and dw_fc."""
    conv = conv2d(x, w_conv)
    relu = np.maximum(conv, 0)
    pool, winner = max_pool(relu)
    flat = pool.reshape(len(x), -1)
    loss, dlogits = softmax_cross_entropy(flat @ w_fc, y)

    dw_fc = flat.T @ dlogits
    dpool = (dlogits @ w_fc.T).reshape(pool.shape)
    drelu = max_pool_dx(dpool, winner, relu.shape)
    dconv = drelu * (conv > 0)
    return loss, conv2d_dweight(x, dconv), dw_fc


def train(x, y, w_conv, w_fc, lr, n_epochs):
    """Full-batch gradient descent, the filters at the rate lr / N; returns the final w_fc."""
    for _ in range(n_epochs):
        _, dw_conv, dw_fc = loss_and_gradients(x, y.astype(int), w_conv, w_fc)
        w_conv = w_conv - lr * dw_conv / len(x)
        w_fc = w_fc - lr * dw_fc
    return w_fc
