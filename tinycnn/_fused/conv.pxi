"""Convolution, bias, ReLU and 2x2 max pool in one pass; or without the pool.

With a pool, the conv output is never written. What is kept is the pooled value and its *winner*:
which of the window's four positions it came from, 0 to 3 in row-major order, or -1 where ReLU
closed the window (as a float, so that it travels in the same kind of register as the values).
Without one, windows are only how the work is cut; of an odd last row or column of outputs, they
have half beyond the end, for which the input has one more row or column of zeros.
"""


cdef inline void conv_tile(
    int F, bint phases, const real* x, Py_ssize_t W, const Filters* filters, const real* w,
    vec* sums
) noexcept nogil:
    """sums[F filters, 4 positions] += the convolution at a window; w is (T, FILTERS).

    In phases, at L windows of one image.
    """
    cdef int f, p
    cdef Py_ssize_t t = 0, T = filters.T
    cdef const int64_t* tap = filters.tap
    cdef const real* row[2]
    cdef vec pixel
    row[0], row[1] = x, x + W
    while True:
        for p in range(4):
            if phases:
                pixel = (<const loose*> (x + tap[4 * t + p]))[0]
            else:
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


cdef inline void maps_tile(
    const vec* a, double least, Py_ssize_t k, Py_ssize_t p, Py_ssize_t q, real[:, :, :, ::1] out
) noexcept nogil:
    """A window's four values -> out, those that are inside; NaN stays NaN."""
    cdef int i
    cdef Py_ssize_t h, w
    for i in range(4):
        h = 2 * p + i // 2
        w = 2 * q + i % 2
        if h < out.shape[1] and w < out.shape[2]:
            (<vec*> &out[k, h, w, 0])[0] = larger(splat(<real> least), a[i])


cdef inline void conv_windows(
    int F, const Filters* filters, const real[:, :, :, ::1] x, Py_ssize_t k, Py_ssize_t p,
    real[:, :, :, ::1] out, real[:, :, :, ::1] winner
) noexcept nogil:
    """A row of windows of F filters, from k on; of one filter alone, carefully."""
    cdef int f, i
    cdef Py_ssize_t q
    cdef bint pooling = winner.shape[0] > 0
    cdef Py_ssize_t W = x.strides[1] // <Py_ssize_t> sizeof(real)
    cdef const real* seen = &x[0, 2 * p, 0, 0]
    cdef const real* w = (
        <const real*> filters.tiles + k // FILTERS * FILTERS * filters.T + k % FILTERS
    )
    cdef const real* bias = <const real*> filters.biases + k
    cdef vec sums[16]
    for q in range(winner.shape[2] if pooling else tiles_of(2, out.shape[2])):
        for f in range(F):
            for i in range(4):
                sums[4 * f + i] = splat(bias[f])
        if filters.phases:
            conv_tile(F, True, seen + q * LANES, 0, filters, w, sums)
        else:
            conv_tile(F, False, seen + 2 * q * LANES, W, filters, w, sums)
        if pooling:
            for f in range(F):
                pool_tile(
                    F == 1, sums + 4 * f, <vec*> &out[k + f, p, q, 0],
                    <vec*> &winner[k + f, p, q, 0]
                )
        else:
            for f in range(F):
                maps_tile(sums + 4 * f, filters.least, k + f, p, q, out)


cdef void conv_direct(
    const Filters* filters, bint careful, const real[:, :, :, ::1] x, real[:, :, :, ::1] out,
    real[:, :, :, ::1] winner
) noexcept nogil:
    """x (C, H, W, L) -> pooled values and winners (K, P, Q, L); or outputs, without winners.

    Of one image in phases, x is (1, 1, windows, L), and what comes out is (K, 1, windows, L).
    """
    cdef Py_ssize_t K = out.shape[0], k, p, n
    for p in range(out.shape[1] if winner.shape[0] > 0 else tiles_of(2, out.shape[1])):
        k = 0
        while k < K:
            n = 1 if careful else min(<Py_ssize_t> FILTERS, K - k)
            if n == 1:
                conv_windows(1, filters, x, k, p, out, winner)
            elif n == 2 and FILTERS > 2:
                conv_windows(2, filters, x, k, p, out, winner)
            elif n == 3 and FILTERS > 3:
                conv_windows(3, filters, x, k, p, out, winner)
            else:
                conv_windows(FILTERS, filters, x, k, p, out, winner)
            k += n


cdef void fill_taps(const Operation* op, Filters* filters) noexcept nogil:
    """Compute the offset of each tap in a lane block; the last one again up to a whole tile."""
    cdef Py_ssize_t t, c, r, s
    for t in range(padded_taps(op)):
        c = min(t, filters.T - 1)
        s = c % op.S
        r = c // op.S % op.R
        c = c // (op.S * op.R)
        filters.tap[t] = ((c * op.H + r) * op.W + s) * LANES


cdef inline void fill_tiles(
    const Operation* op, Filters* filters, Py_ssize_t size, const real* weight, const real* bias
) noexcept nogil:
    """Copy the weights (K, T) into tiles (T, size), and the bias (K,); 0 where there is none."""
    cdef real* tiles = <real*> filters.tiles
    cdef real* biases = <real*> filters.biases
    cdef Py_ssize_t k, t, T = filters.T, K = op.K
    for k in range(padded_outputs(op)):
        for t in range(T):
            tiles[(k // size * T + t) * size + k % size] = weight[k * T + t] if k < K else 0
        biases[k] = bias[k] if bias != NULL and k < K else 0


cdef inline bint may_overflow(const Filters* filters, double* bound) noexcept nogil:
    """Tell whether outputs may become infinite or NaN for inputs within +-bound.

    The bound becomes that of the outputs. NaN in it, or among the weights, says yes.
    """
    bound[0] = bound[0] * filters.largest_weight * filters.T + filters.largest_bias
    return not bound[0] < (1e30 if sizeof(real) == sizeof(float) else 1e300)
