"""The linear layers, in lane blocks: values (F, L) -> outputs (M, L).

Weights stand in tiles of 10 outputs, (M / 10, F, 10), for both directions: ten sums forward, ten
gradients backward. An output is the sum of its bias, of the sums over four pieces of the features
(or a multiple of four), and of the sum over what is left: short sums have smaller errors, and for
one image alone, four are computed at once.
"""

cdef enum:
    OUTPUTS = 10  # of a tile
    PIECES = 4
    FEATURE_PIECE = 256  # features that stay in the first-level cache while all tiles pass over


cdef void fill_linear(Prepared* linear, const real* flat) noexcept nogil:
    """Copy the weights (M, F) and the bias into tiles."""
    fill_tiles(
        &linear.op, &linear.filters, OUTPUTS, flat + linear.op.weight_at, bias_of(&linear.op, flat)
    )


cdef inline Py_ssize_t pieces_of(Py_ssize_t F) noexcept nogil:
    """Count the pieces of F features, which are of F // pieces each."""
    return PIECES * tiles_of(PIECES * FEATURE_PIECE, F)


cdef inline void outputs_of_tile(
    int M, const vec* x, Py_ssize_t n, const real* w, vec* sums
) noexcept nogil:
    """sums[M] += the sum of w[n, M of 10] * x[n]."""
    cdef int m
    cdef Py_ssize_t f
    cdef vec value
    for f in range(n):
        value = x[f]
        for m in range(M):
            sums[m] += w[m] * value
        w += OUTPUTS


cdef void linear_outputs(
    const real[:, ::1] x, const real[:, :, ::1] tiles, const real[::1] bias, real[:, ::1] out
) noexcept nogil:
    """x (F, L) -> out (M, L); tiles (M / 10, F, 10)."""
    cdef Py_ssize_t F = x.shape[0], M = out.shape[0], first = 0, n, m, i, tile
    cdef Py_ssize_t length = F // pieces_of(F)
    cdef vec sums[OUTPUTS]
    for m in range(M):
        (<vec*> &out[m, 0])[0] = splat(bias[m])
    while first < F:
        n = length if first < length * pieces_of(F) else F - first
        for tile in range(tiles.shape[0]):
            m = OUTPUTS * tile
            for i in range(OUTPUTS):
                sums[i] = splat(0)
            if M - m > 5:
                outputs_of_tile(10, <const vec*> &x[first, 0], n, &tiles[tile, first, 0], sums)
            else:
                outputs_of_tile(5, <const vec*> &x[first, 0], n, &tiles[tile, first, 0], sums)
            for i in range(min(<Py_ssize_t> OUTPUTS, M - m)):
                (<vec*> &out[m + i, 0])[0] += sums[i]
        first += n


cdef inline void dx_tile(
    int M, bint add, const real* w, const vec* dout, Py_ssize_t n, vec* dx
) noexcept nogil:
    """dx[n] (+)= the sum of w[n, M of 10] * dout[M], even and odd outputs apart."""
    cdef int m
    cdef Py_ssize_t f
    cdef vec d[10]
    cdef vec sums[2]
    for m in range(M):
        d[m] = dout[m]
    for f in range(n):
        sums[0] = dx[f] if add else splat(0)
        sums[1] = splat(0)
        for m in range(M):
            sums[m % 2] += w[m] * d[m]
        dx[f] = sums[0] + sums[1]
        w += OUTPUTS


cdef void linear_dx(
    const Prepared* linear, const vec* dout, Py_ssize_t first, Py_ssize_t n, vec* dx
) noexcept nogil:
    """dx[n] = the gradient of n features, from first on."""
    cdef Py_ssize_t M = linear.op.K, m, i, tile
    cdef const real* w = <const real*> linear.filters.tiles + first * OUTPUTS
    cdef vec d[OUTPUTS]
    for tile in range(tiles_of(OUTPUTS, M)):
        m = OUTPUTS * tile
        for i in range(OUTPUTS):
            d[i] = dout[m + i] if m + i < M else splat(0)
        if M - m > 5:
            dx_tile(10, tile > 0, w, d, n, dx)
        else:
            dx_tile(5, tile > 0, w, d, n, dx)
        w += linear.filters.T * OUTPUTS


cdef void read_gradient(
    const Prepared* op, const Slot* slot, Py_ssize_t b, Py_ssize_t k, Py_ssize_t p,
    Py_ssize_t rows, vec* d
) noexcept nogil:
    """d[rows, Q] = the gradient of an operation's outputs of filter k, from row p on.

    It is read from within the border of what comes next; or, where that is a linear operation,
    computed from the gradient of its outputs.
    """
    cdef const Prepared* next_op = op + 1
    cdef const Operation* maps = &next_op.op
    cdef Py_ssize_t Q = op.op.Q, first = (k * op.op.P + p) * Q, row
    cdef const vec* values
    if is_linear(next_op):
        values = <const vec*> gradient_of(next_op + 1, slot, b)
        linear_dx(next_op, values, first, rows * Q, d)
    else:
        values = <const vec*> gradient_of(next_op, slot, b)
        values += (k * maps.H + maps.top + p) * maps.W + maps.left
        for row in range(rows):
            memcpy(d + row * Q, values + row * maps.W, Q * VECTOR_BYTES)
    if drops(next_op, slot):
        drop(next_op, slot, d, rows * Q, first)


cdef inline void dweight_tile(
    int M, int F, const real[:, :, ::1] x, const real[:, :, ::1] dout, Py_ssize_t m, Py_ssize_t f,
    real[:, ::1] dweight
) noexcept nogil:
    """dweight[m : m + M, f : f + F] = the gradient from x (n, F, L) and dout (n, M, L)."""
    cdef const vec* value = <const vec*> &x[0, f, 0]
    cdef const vec* d = <const vec*> &dout[0, m, 0]
    cdef Py_ssize_t next_x = x.strides[0] // VECTOR_BYTES, next_d = dout.strides[0] // VECTOR_BYTES
    cdef Py_ssize_t b = 0
    cdef int i, j
    cdef vec sums[16]
    for i in range(16):
        sums[i] = splat(0)
    while True:
        for i in range(M):
            for j in range(F):
                sums[F * i + j] += d[i] * value[j]
        value += next_x
        d += next_d
        b += 1
        if b == x.shape[0]:
            break
    i = 0
    while i < M * F:
        lane_sums(sums + i)
        i += LANES
    for i in range(M * F):
        dweight[m + i // F, f + i % F] = (<real*> &sums[i // LANES * LANES])[i % LANES]


cdef void linear_dweight(
    const real[:, :, ::1] x, const real[:, :, ::1] dout, real[:, ::1] dweight
) noexcept nogil:
    """dweight (M, F), from x (n, F, L) and dout (n, M, L) of n lane blocks."""
    cdef Py_ssize_t M = dweight.shape[0], F = dweight.shape[1], m, f = 0
    while f < F:
        if F - f >= LINEAR_FEATURES:
            for m in range(M // 2):
                dweight_tile(2, LINEAR_FEATURES, x, dout, 2 * m, f, dweight)
            if M % 2:
                dweight_tile(1, LINEAR_FEATURES, x, dout, M - 1, f, dweight)
            f += LINEAR_FEATURES
        else:
            for m in range(M):
                dweight_tile(1, 1, x, dout, m, f, dweight)
            f += 1


cdef void linear_forward(const Prepared* linear, Slot* slot, Py_ssize_t b) noexcept nogil:
    """The operations LINEAR and LINEAR_RELU, of lane block b."""
    cdef Py_ssize_t M = linear.op.K, F = linear.filters.T, m
    cdef vec* out = <vec*> input_of(linear + 1, slot, b)
    linear_outputs(
        view2(input_of(linear, slot, b), F, LANES),
        view3(linear.filters.tiles, tiles_of(OUTPUTS, M), F, OUTPUTS),
        view1(linear.filters.biases, M), view2(out, M, LANES)
    )
    for m in range(M if linear.op.kind == LINEAR_RELU else 0):  # NaN stays NaN
        out[m] = where_greater(splat(0), out[m], splat(0), out[m])


cdef void linear_backward(const Prepared* linear, Slot* slot, Py_ssize_t b) noexcept nogil:
    """They backward: what comes before computes its gradient from dout as it needs it.

    That of the last operation, dlogits, is there already.
    """
    cdef const vec* out = <const vec*> input_of(linear + 1, slot, b)
    cdef vec* dout = <vec*> gradient_of(linear + 1, slot, b)
    cdef Py_ssize_t M = linear.op.K, m
    if linear[1].op.K > 0:
        read_gradient(linear, slot, b, 0, 0, M, dout)
    for m in range(M if linear.op.kind == LINEAR_RELU else 0):
        dout[m] = where_greater(out[m], splat(0), dout[m], splat(0))


cdef void linear_collect(
    const Prepared* linear, Slot* slot, Py_ssize_t n, real* gradient
) noexcept nogil:
    """Put the gradients of a linear operation's parameters, of n lane blocks, into their places."""
    cdef Py_ssize_t M = linear.op.K, b, m
    cdef real[:, :, ::1] dout = lane_blocks(gradient_of(linear + 1, slot, 0), n, slot.d_step, M)
    cdef real* dbias = gradient + linear.op.bias_at
    cdef vec total
    linear_dweight(
        lane_blocks(input_of(linear, slot, 0), n, slot.linear_step, linear.filters.T), dout,
        view2(gradient + linear.op.weight_at, M, linear.filters.T)
    )
    for m in range(M if linear.op.bias_at >= 0 else 0):
        total = splat(0)
        for b in range(n):
            total += (<const vec*> &dout[b, m, 0])[0]
        sum_rows(&total, 1, dbias + m)
