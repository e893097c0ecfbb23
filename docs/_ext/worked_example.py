"""The worked example of "The network on one page": its numbers, for its pictures."""

from typing import NamedTuple

import numpy as np

from tinycnn.lesson import conv2d, conv2d_dweight, max_pool, max_pool_dx, softmax_cross_entropy

IMAGES = np.array(
    [
        [[[0, 2, 0, 0], [0, 3, 1, 0], [0, 3, 0, 1], [1, 2, 0, 0]]],
        [[[0, 0, 1, 0], [2, 2, 2, 1], [0, 1, 0, 0], [2, 2, 3, 3]]],
    ],
    dtype=float,
)
LABELS = np.array([0, 1])
W_CONV = np.array(
    [
        [[[-1, 1, 0], [-1, 1, -1], [0, 1, -1]]],
        [[[-1, 0, -1], [1, 1, 1], [0, -1, -1]]],
    ],
    dtype=float,
)
W_FC = np.array([[0.2, -0.1], [-0.1, 0.2]])


class Pass(NamedTuple):
    """All that one pass forward and backward computes, under the names of the lesson."""

    conv: np.ndarray
    relu: np.ndarray
    pool: np.ndarray
    winner: np.ndarray
    logits: np.ndarray
    probs: np.ndarray
    dlogits: np.ndarray
    dpool: np.ndarray
    dconv: np.ndarray
    dw_conv: np.ndarray


def compute() -> Pass:
    """Go forward and backward once, with the functions of the lesson."""
    conv = conv2d(IMAGES, W_CONV)
    relu = np.maximum(conv, 0)
    pool, winner = max_pool(relu)
    logits = pool.reshape(2, -1) @ W_FC
    _, dlogits = softmax_cross_entropy(logits, LABELS)
    dpool = (dlogits @ W_FC.T).reshape(pool.shape)
    dconv = max_pool_dx(dpool, winner, relu.shape) * (conv > 0)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dw_conv = conv2d_dweight(IMAGES, dconv)
    return Pass(conv, relu, pool, winner, logits, probs, dlogits, dpool, dconv, dw_conv)
