"""Convolution, bias, ReLU and 2x2 max pool in one pass.

The conv output is never written. What is kept is the pooled value and its *winner*: which of the
window's four positions it came from, 0 to 3 in row-major order, or -1 where ReLU closed the window
(as a float, so that it travels in the same kind of register as the values).
"""


cdef inline void conv_tile(
    int F, const vec* x, Py_ssize_t W, const int64_t* tap, Py_ssize_t T, const real* w, vec* sums
) noexcept nogil:
    """sums[F filters, 4 positions] += the convolution at a window; w is (T, FILTERS)."""
    cdef int f, p
    cdef Py_ssize_t t = 0
    cdef const real* row[2]
    cdef vec pixel
    row[0] = <const real*> x
    row[1] = <const real*> (x + W)
    while True:
        for p in range(4):
            pixel = (<const vec*> (row[p // 2] + tap[t]))[p % 2]
            for f in range(F):
                sums[4 * f + p] += w[f] * pixel
        w += FILTERS
        t += 1
        if t == T:
            break


cdef inline void pool_tile(
    bint careful, const vec* a, vec* pooled, vec* winner
) noexcept nogil:
    """A window's four values -> the pooled one and its winner. careful: NaN closes a window."""
    cdef vec upper = larger(a[1], a[0])
    cdef vec lower = larger(a[3], a[2])
    cdef vec above = where_greater(a[1], a[0], splat(1), splat(0))
    cdef vec below = where_greater(a[3], a[2], splat(3), splat(2))
    cdef vec place = where_greater(lower, upper, below, above)
    cdef vec top = larger(lower, upper)
    cdef vec total
    place = where_greater(top, splat(0), place, splat(-1))
    top = larger(top, splat(0))
    if careful:
        total = a[0] + a[1] + a[2] + a[3]
        top = where_nan(a[0], a[1], total, where_nan(a[2], a[3], total, top))
        place = where_nan(top, top, splat(-1), place)
    pooled[0] = top
    winner[0] = place


cdef inline void conv_pool_windows(
    int F, const Prepared* block, const real[:, :, :, ::1] x, Py_ssize_t k, Py_ssize_t p,
    real[:, :, :, ::1] pooled, real[:, :, :, ::1] winner
) noexcept nogil:
    """A row of windows of F filters, from k on; of one filter alone, carefully."""
    cdef int f, i
    cdef Py_ssize_t q
    cdef const real* w = <const real*> block.filters + k // FILTERS * FILTERS * block.T
    cdef const real* bias = <const real*> block.biases + k
    cdef vec sums[16]
    for q in range(winner.shape[2]):
        for f in range(F):
            for i in range(4):
                sums[4 * f + i] = splat(bias[f])
        conv_tile(
            F, <const vec*> &x[0, 2 * p, 2 * q, 0], x.shape[2], block.tap, block.T,
            w + k % FILTERS, sums
        )
        for f in range(F):
            pool_tile(
                F == 1, sums + 4 * f, <vec*> &pooled[k + f, p, q, 0], <vec*> &winner[k + f, p, q, 0]
            )


cdef void conv_pool(
    const Prepared* block, bint careful, const real[:, :, :, ::1] x, real[:, :, :, ::1] pooled,
    real[:, :, :, ::1] winner
) noexcept nogil:
    """x (C, H, W, L) -> pooled and winner (K, P, Q, L), directly."""
    cdef Py_ssize_t K = winner.shape[0], k, p, n
    for p in range(winner.shape[1]):
        k = 0
        while k < K:
            n = 1 if careful else min(<Py_ssize_t> FILTERS, K - k)
            if n == 1:
                conv_pool_windows(1, block, x, k, p, pooled, winner)
            elif n == 2 and FILTERS > 2:
                conv_pool_windows(2, block, x, k, p, pooled, winner)
            elif n == 3 and FILTERS > 3:
                conv_pool_windows(3, block, x, k, p, pooled, winner)
            else:
                conv_pool_windows(FILTERS, block, x, k, p, pooled, winner)
            k += n


cdef void fill_taps(Prepared* block) noexcept nogil:
    """Compute the offset of each tap in a lane block; the last one again up to a whole tile."""
    cdef Py_ssize_t t, c, r, s
    for t in range(padded_taps(block)):
        c = min(t, block.T - 1)
        s = c % block.op.S
        r = c // block.op.S % block.op.R
        c = c // (block.op.S * block.op.R)
        block.tap[t] = ((c * block.op.H + r) * block.op.W + s) * LANES


cdef inline double larger_size(double largest, double value) noexcept nogil:
    """Return the larger absolute value; NaN counts as larger than anything."""
    return fabs(value) if fabs(value) > largest or value != value else largest


cdef void fill_filters(Prepared* block, const real* flat) noexcept nogil:
    """Copy the filters into tiles (T, FILTERS), 0 behind the last, and note the largest values."""
    cdef real* filters = <real*> block.filters
    cdef real* biases = <real*> block.biases
    cdef const real* weight = flat + block.op.weight_at
    cdef Py_ssize_t k, t
    cdef real value
    block.largest_weight = block.largest_bias = 0
    for k in range(padded_filters(block)):
        for t in range(block.T):
            value = weight[k * block.T + t] if k < block.op.K else 0
            filters[(k // FILTERS * block.T + t) * FILTERS + k % FILTERS] = value
            block.largest_weight = larger_size(block.largest_weight, value)
        biases[k] = flat[block.op.bias_at + k] if block.op.bias_at >= 0 and k < block.op.K else 0
        block.largest_bias = larger_size(block.largest_bias, biases[k])


cdef inline bint may_overflow(const Prepared* block, double* bound) noexcept nogil:
    """Tell whether a block's values may become infinite or NaN for inputs within +-bound.

    The bound becomes that of the block's output. NaN in it, or among the weights, says yes.
    """
    bound[0] = bound[0] * block.largest_weight * block.T + block.largest_bias
    return not bound[0] < (1e30 if sizeof(real) == sizeof(float) else 1e300)
