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


cdef inline void conv4(
    const floating* x, Py_ssize_t down, const int64_t* tap, Py_ssize_t T, const floating* w,
    const floating* bias, floating* acc
) noexcept nogil:
    """acc[4 filters, 4 positions, L] = the convolution at the positions of one window."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating x0, x1, x2, x3, w0, w1, w2, w3
    cdef const floating* y1 = x + L
    cdef const floating* y2 = x + down
    cdef const floating* y3 = x + down + L
    cdef Py_ssize_t l, t = 0, o
    fill4(acc, bias[0])
    fill4(acc + 4 * L, bias[1])
    fill4(acc + 8 * L, bias[2])
    fill4(acc + 12 * L, bias[3])
    while True:
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
        t += 1
        if t == T:
            break


cdef inline void conv2(
    const floating* x, Py_ssize_t down, const int64_t* tap, Py_ssize_t T, const floating* w,
    const floating* bias, floating* acc
) noexcept nogil:
    """The same for 2 of the 4 filters, which is what 16 vector registers hold."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating x0, x1, x2, x3, w0, w1
    cdef const floating* y1 = x + L
    cdef const floating* y2 = x + down
    cdef const floating* y3 = x + down + L
    cdef Py_ssize_t l, t = 0, o
    fill4(acc, bias[0])
    fill4(acc + 4 * L, bias[1])
    while True:
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
        t += 1
        if t == T:
            break


cdef inline Py_ssize_t filter_at(const Prepared* block, Py_ssize_t k) noexcept nogil:
    """Where filter k begins: filters stand in tiles of 4, as [tap, filter]."""
    return k // FILTER_TILE * FILTER_TILE * padded_taps(block) + k % FILTER_TILE


cdef inline void window4(
    const Prepared* block, const floating* x, Py_ssize_t k, floating* pooled, floating* winner
) noexcept nogil:
    """One window of 4 filters from k on, of which there are at least 3."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), down = block.op.W * L
    cdef Py_ssize_t step = block.out_H * block.out_W * L, places = block.op.P * block.op.Q * L
    cdef const floating* w = <const floating*> block.filters + filter_at(block, k)
    cdef floating acc[16 * MAX_LANES]
    conv4(x, down, block.tap, block.T, w, <const floating*> block.biases + k, acc)
    # Not a loop: clang would write the sums to memory for it.
    pool_relu(acc, pooled, winner)
    pool_relu(acc + 4 * L, pooled + step, winner + places)
    pool_relu(acc + 8 * L, pooled + 2 * step, winner + 2 * places)
    if block.op.K - k > 3:
        pool_relu(acc + 12 * L, pooled + 3 * step, winner + 3 * places)


cdef inline void window2(
    const Prepared* block, const floating* x, Py_ssize_t k, floating* pooled, floating* winner
) noexcept nogil:
    """One window of 2 filters from k on, or of the last one."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), down = block.op.W * L, i
    cdef Py_ssize_t step = block.out_H * block.out_W * L, places = block.op.P * block.op.Q * L
    cdef const floating* w = <const floating*> block.filters + filter_at(block, k)
    cdef floating acc[8 * MAX_LANES]
    conv2(x, down, block.tap, block.T, w, <const floating*> block.biases + k, acc)
    # A loop: of two calls, gcc would keep constants in the registers that the sums need. It is told
    # that n is small: nothing is read but what has been filled.
    for i in range(min(block.op.K - k, <Py_ssize_t> 2)):
        pool_relu(acc + 4 * i * L, pooled + i * step, winner + i * places)


cdef inline Py_ssize_t out_at(const Prepared* block, Py_ssize_t k, Py_ssize_t p) noexcept nogil:
    """Where row p of filter k's pooled values begins in (K, out_H, out_W)."""
    return (k * block.out_H + block.out_top + p) * block.out_W + block.out_left


cdef void restore_nan(
    const Prepared* block, const floating* x, floating* pooled, floating* winner
) noexcept nogil:
    """Where one of a window's four values is NaN, so is the pooled value; the window is closed.

    The values are computed once more: to keep them would take them out of their registers.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), down = block.op.W * L
    cdef Py_ssize_t Q = block.op.Q, k, p, q, i, j, l
    cdef const floating* w = <const floating*> block.filters
    cdef const floating* bias = <const floating*> block.biases
    cdef floating acc[8 * MAX_LANES]
    cdef floating value
    for k in range(0, block.op.K, 2):
        for p in range(block.op.P):
            for q in range(Q):
                conv2(
                    x + (2 * p * block.op.W + 2 * q) * L, down, block.tap, block.T,
                    w + filter_at(block, k), bias + k, acc
                )
                for i in range(min(<Py_ssize_t> 2, block.op.K - k)):
                    for j in range(4):
                        for l in range(L):
                            value = acc[(4 * i + j) * L + l]
                            if value != value:
                                pooled[(out_at(block, k + i, p) + q) * L + l] = value
                                winner[(((k + i) * block.op.P + p) * Q + q) * L + l] = -1


cdef void pooled_values(
    const Prepared* block, const floating* x, floating* pooled, floating* winner
) noexcept nogil:
    """x (C, H, W, L) -> pooled, inside (K, out_H, out_W, L), and winner (K, P, Q, L)."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t K = block.op.K, P = block.op.P, Q = block.op.Q
    cdef Py_ssize_t k, p, q, n, step_k = 4 if MANY_REGISTERS else 2
    cdef const floating* row
    cdef floating* values
    cdef floating* places
    for p in range(P):
        row = x + 2 * p * block.op.W * L
        k = 0
        while k < K:
            n = min(step_k, K - k)
            values = pooled + out_at(block, k, p) * L
            places = winner + (k * P + p) * Q * L
            for q in range(Q):
                if MANY_REGISTERS and n > 2:
                    window4(block, row + 2 * q * L, k, values + q * L, places + q * L)
                else:
                    window2(block, row + 2 * q * L, k, values + q * L, places + q * L)
            k += n


cdef void block_forward(
    const Prepared* block, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation BLOCK, of lane block b."""
    cdef Py_ssize_t i = block.index
    cdef const floating* x = <const floating*> input_of(slot, i, b)
    cdef floating* pooled = <floating*> input_of(slot, i + 1, b)
    cdef floating* winner = <floating*> winner_of(slot, i, b)
    pooled_values(block, x, pooled, winner)
    # Values may have become infinite or NaN on the way, and are to spread as they should.
    if may_overflow(block, &slot.bound, sizeof(floating)):
        restore_nan(block, x, pooled, winner)
