"""The fused block forward: convolution, bias, ReLU and 2x2 max pool in one pass.

The conv output is never written. What is kept is the pooled value and its *winner*: which of the
window's four positions it came from, 0 to 3 in row-major order, or -1 where ReLU closed the window
(as a float, so that it travels in the same kind of register as the values).
"""


cdef inline void pool_relu(const floating* a, floating* pooled, floating* winner) noexcept nogil:
    """a[4, L], a window -> its pooled values and winners; NaN is not looked after."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating value[MAX_LANES]
    cdef floating place[MAX_LANES]
    cdef floating top, low, best, other, a0, a1, a2, a3
    cdef Py_ssize_t l
    for l in range(L):
        a0 = a[l]
        a1 = a[l + L]
        a2 = a[l + 2 * L]
        a3 = a[l + 3 * L]
        top = a1 if a1 > a0 else a0
        best = 1 if a1 > a0 else 0
        low = a3 if a3 > a2 else a2
        other = 3 if a3 > a2 else 2
        best = other if low > top else best
        top = low if low > top else top
        best = best if top > 0 else -1
        top = top if top > 0 else 0
        value[l] = top
        place[l] = best
    for l in range(L):
        pooled[l] = value[l]
    for l in range(L):
        winner[l] = place[l]


cdef void restore_nan(
    const floating* a, Py_ssize_t n, Py_ssize_t step, floating* pooled, floating* winner
) noexcept nogil:
    """a[n, 4, L]: where one of the four is NaN, so is the pooled value; the window is closed."""
    cdef Py_ssize_t i, j, l, L = VECTOR_BYTES // sizeof(floating)
    cdef floating value
    for i in range(n):
        for j in range(4):
            for l in range(L):
                value = a[(4 * i + j) * L + l]
                if value != value:
                    pooled[i * step + l] = value
                    winner[i * step + l] = -1


cdef inline void conv4(
    const floating* x, Py_ssize_t right, Py_ssize_t down, const int64_t* tap, Py_ssize_t T,
    const floating* w, const floating* bias, floating* acc
) noexcept nogil:
    """acc[4 filters, 4 positions, L] = the convolution at the positions of one window."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating x0, x1, x2, x3, w0, w1, w2, w3
    cdef const floating* y1 = x + right
    cdef const floating* y2 = x + down
    cdef const floating* y3 = x + down + right
    cdef Py_ssize_t i, l, t, o
    for i in range(4):
        for l in range(4 * L):
            acc[4 * i * L + l] = bias[i]
    for t in range(T):
        o = tap[t]
        w0 = w[4 * t]
        w1 = w[4 * t + 1]
        w2 = w[4 * t + 2]
        w3 = w[4 * t + 3]
        for l in range(L):
            x0 = x[o + l]
            x1 = y1[o + l]
            x2 = y2[o + l]
            x3 = y3[o + l]
            acc[l] += w0 * x0
            acc[l + L] += w0 * x1
            acc[l + 2 * L] += w0 * x2
            acc[l + 3 * L] += w0 * x3
            acc[l + 4 * L] += w1 * x0
            acc[l + 5 * L] += w1 * x1
            acc[l + 6 * L] += w1 * x2
            acc[l + 7 * L] += w1 * x3
            acc[l + 8 * L] += w2 * x0
            acc[l + 9 * L] += w2 * x1
            acc[l + 10 * L] += w2 * x2
            acc[l + 11 * L] += w2 * x3
            acc[l + 12 * L] += w3 * x0
            acc[l + 13 * L] += w3 * x1
            acc[l + 14 * L] += w3 * x2
            acc[l + 15 * L] += w3 * x3


cdef inline void conv2(
    const floating* x, Py_ssize_t right, Py_ssize_t down, const int64_t* tap, Py_ssize_t T,
    const floating* w, const floating* bias, floating* acc
) noexcept nogil:
    """The same for 2 of the 4 filters, which is what 16 vector registers hold."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating x0, x1, x2, x3, w0, w1
    cdef const floating* y1 = x + right
    cdef const floating* y2 = x + down
    cdef const floating* y3 = x + down + right
    cdef Py_ssize_t i, l, t, o
    for i in range(2):
        for l in range(4 * L):
            acc[4 * i * L + l] = bias[i]
    for t in range(T):
        o = tap[t]
        w0 = w[4 * t]
        w1 = w[4 * t + 1]
        for l in range(L):
            x0 = x[o + l]
            x1 = y1[o + l]
            x2 = y2[o + l]
            x3 = y3[o + l]
            acc[l] += w0 * x0
            acc[l + L] += w0 * x1
            acc[l + 2 * L] += w0 * x2
            acc[l + 3 * L] += w0 * x3
            acc[l + 4 * L] += w1 * x0
            acc[l + 5 * L] += w1 * x1
            acc[l + 6 * L] += w1 * x2
            acc[l + 7 * L] += w1 * x3


cdef inline void window4(
    const floating* x, Py_ssize_t right, Py_ssize_t down, const int64_t* tap, Py_ssize_t T,
    const floating* w, const floating* bias, Py_ssize_t n, Py_ssize_t step, bint careful,
    floating* pooled, floating* winner
) noexcept nogil:
    """One window of up to 4 filters; n of them are stored, step apart."""
    cdef Py_ssize_t i, L = VECTOR_BYTES // sizeof(floating)
    cdef floating acc[16 * MAX_LANES]
    conv4(x, right, down, tap, T, w, bias, acc)
    for i in range(n):
        pool_relu(acc + 4 * i * L, pooled + i * step, winner + i * step)
    if careful:
        restore_nan(acc, n, step, pooled, winner)


cdef inline void window2(
    const floating* x, Py_ssize_t right, Py_ssize_t down, const int64_t* tap, Py_ssize_t T,
    const floating* w, const floating* bias, Py_ssize_t n, Py_ssize_t step, bint careful,
    floating* pooled, floating* winner
) noexcept nogil:
    """One window of up to 2 filters."""
    cdef Py_ssize_t i, L = VECTOR_BYTES // sizeof(floating)
    cdef floating acc[8 * MAX_LANES]
    conv2(x, right, down, tap, T, w, bias, acc)
    for i in range(n):
        pool_relu(acc + 4 * i * L, pooled + i * step, winner + i * step)
    if careful:
        restore_nan(acc, n, step, pooled, winner)


cdef void block_forward(
    const Block* block, const floating* x, bint careful, floating* pooled, floating* winner
) noexcept nogil:
    """x (C, H, W, L) -> pooled and winner (K, P, Q, L) of one lane block.

    careful: values may have become infinite or NaN on the way, and are to spread as they should.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), down = block.W * L
    cdef Py_ssize_t K = block.K, T = block.T, Q = block.Q, step = block.P * Q * L
    cdef Py_ssize_t taps = round_up(T, TAP_TILE)
    cdef const floating* w = <const floating*> block.filters
    cdef const floating* bias = <const floating*> block.biases
    cdef const floating* row_w
    cdef const floating* window
    cdef Py_ssize_t k, p, q, n, at, step_k = 4 if MANY_REGISTERS else 2
    for p in range(block.P):
        k = 0
        while k < K:
            n = min(step_k, K - k)
            # Filters stand in tiles of 4, as [tap, filter]; k may begin in the middle of a tile.
            row_w = w + k // FILTER_TILE * FILTER_TILE * taps + k % FILTER_TILE
            for q in range(Q):
                at = k * step + (p * Q + q) * L
                window = x + (2 * p * block.W + 2 * q) * L
                if MANY_REGISTERS and n > 2:
                    window4(
                        window, L, down, block.tap, T, row_w, bias + k, n, step, careful,
                        pooled + at, winner + at
                    )
                else:
                    window2(
                        window, L, down, block.tap, T, row_w, bias + k, n, step, careful,
                        pooled + at, winner + at
                    )
            k += n
