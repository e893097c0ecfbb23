"""The gradient of filters with images as lanes: of the first block, and wherever there is no pool.

A window's gradient goes to its winner, and nowhere if ReLU closed it. One row of windows at a time,
for 4 filters, it is spread over four rows, one for each position of a window, with zeros where
another position won; without a pool, each output's gradient goes to its place. From there
everything is multiply and add. With 32 registers, for 3x3 kernels and those with five columns, a
first block has it the other way round: what the winner saw is selected from the window's pixels. A
tap's gradient is summed lane by lane, the lanes when a group is through.
"""


cdef inline void winner_row(
    int positions, const vec* winner, Py_ssize_t Q, vec* d, vec* dbias
) noexcept nogil:
    """d[Q] = 0 where the window is closed; dbias += what is left.

    With 4 positions, d[0, Q] is spread over d[4, Q], and stays where the winner is.
    """
    cdef int i
    cdef Py_ssize_t q
    cdef vec total = splat(0), value, place
    for q in range(Q):
        place = winner[q]
        value = where_greater(splat(0), place, splat(0), d[q])
        total += value
        if positions == 1:
            d[q] = value
        else:
            for i in range(positions):
                d[i * Q + q] = where_equal(place, splat(i), value, splat(0))
    dbias[0] += total


cdef inline void dense_row(
    bint relu, const vec* out, vec* d, Py_ssize_t Q, vec* even, vec* odd, vec* dbias
) noexcept nogil:
    """d[Q] = 0 where ReLU stopped the output; even and odd columns apart; dbias += all of it."""
    cdef Py_ssize_t q
    cdef vec total = splat(0)
    for q in range(Q):
        if relu:
            d[q] = where_greater(out[q], splat(0), d[q], splat(0))
        total += d[q]
    dbias[0] += total
    for q in range(Q // 2):
        even[q] = d[2 * q]
        odd[q] = d[2 * q + 1]
    if Q % 2:
        even[Q // 2] = d[Q - 1]
        odd[Q // 2] = splat(0)


cdef inline void spread_tile(
    int F, const vec* x, Py_ssize_t W, const int64_t* tap, const vec* rows, Py_ssize_t Q, vec* sums
) noexcept nogil:
    """sums[F filters, 3 taps] += rows[F, 4 positions, Q] * x over one row of windows."""
    cdef int f, t, i
    cdef Py_ssize_t q
    cdef vec seen[3]
    cdef const vec* y[3]
    cdef const vec* d
    for i in range(4):
        for t in range(3):
            y[t] = <const vec*> (<const real*> x + tap[t]) + i // 2 * W + i % 2
        d = rows + i * Q
        q = 0
        while True:
            for t in range(3):
                seen[t] = y[t][0]
                y[t] += 2
            for f in range(F):
                for t in range(3):
                    sums[3 * f + t] += d[4 * f * Q] * seen[t]
            d += 1
            q += 1
            if q == Q:
                break


cdef inline void select_tile(
    int S, const vec* x, Py_ssize_t W, const vec* winner, const vec* d, Py_ssize_t Q, vec* dw
) noexcept nogil:
    """dw[3, 3] or dw[1, 5] += d[Q] * the values that the winners saw, over one row of windows."""
    cdef int r, s, R = 3 if S == 3 else 1
    cdef Py_ssize_t q = 0
    cdef vec sums[9]
    cdef vec seen[6]
    cdef vec place, column, half = splat(0.5), middle = splat(1.5)
    for r in range(R * S):
        sums[r] = dw[r]
    while True:
        place = winner[0]
        column = where_greater(place, middle, place - splat(2), place)
        for r in range(R):
            for s in range(S + 1):
                seen[s] = where_greater(place, middle, x[(r + 1) * W + s], x[r * W + s])
            for s in range(S):
                sums[r * S + s] += d[0] * where_greater(column, half, seen[s + 1], seen[s])
        x += 2
        d += 1
        winner += 1
        q += 1
        if q == Q:
            break
    for r in range(R * S):
        dw[r] = sums[r]


cdef inline void spread_taps(
    int F, const Prepared* block, const vec* x, const real[:, :, :, ::1] rows,
    real[:, :, ::1] dw, Py_ssize_t k
) noexcept nogil:
    """dw[k : k + F] += the gradients of all taps from one row of windows."""
    cdef const vec* d = <const vec*> &rows[0, 0, 0, 0]
    cdef int f, i
    cdef Py_ssize_t t = 0
    cdef vec sums[12]
    while t < dw.shape[1]:
        for f in range(F):
            for i in range(3):
                sums[3 * f + i] = (<vec*> &dw[k + f, t + i, 0])[0]
        spread_tile(F, x, block.op.W, block.filters.tap + t, d, rows.shape[2], sums)
        for f in range(F):
            for i in range(3):
                (<vec*> &dw[k + f, t + i, 0])[0] = sums[3 * f + i]
        t += 3


cdef inline real[:, :, ::1] dw_of(const Prepared* conv, const Slot* slot) noexcept nogil:
    """(K, T, L), both rounded up."""
    return view3(
        slot.sums + conv.dw_at, padded_outputs(&conv.op), padded_taps(&conv.op), LANES
    )


cdef inline real[:, ::1] dbias_of(const Prepared* conv, const Slot* slot) noexcept nogil:
    """(K, L)"""
    return view2(slot.sums + conv.dbias_at, conv.op.K, LANES)


cdef inline void gradient_rows(
    const Prepared* conv, const Slot* slot, Py_ssize_t b, Py_ssize_t k, Py_ssize_t p,
    real[:, :, :, ::1] d, real[:, :, :, ::1] rows
) noexcept nogil:
    """rows[k % 4, 4 positions, Q] = the gradient of row p of windows of filter k; dbias += it."""
    cdef const Operation* op = &conv.op
    cdef real[:, :, :, ::1] out
    cdef real[:, :, :, ::1] winner
    cdef real[:, ::1] sums = dbias_of(conv, slot)
    cdef vec* dbias = <vec*> &sums[k, 0]
    cdef vec* row = <vec*> &rows[k % 4, 0, 0, 0]
    cdef Py_ssize_t h
    if op.kind == BLOCK:
        winner = winners(conv, slot, b)
        read_gradient(conv, slot, b, k, p, 1, row)
        winner_row(4, <const vec*> &winner[k, p, 0, 0], op.Q, row, dbias)
        return
    out = outputs(conv, slot, b)
    for h in range(2 * p, min(2 * p + 2, op.P)):
        read_gradient(conv, slot, b, k, h, 1, <vec*> &d[k, h, 0, 0])
        dense_row(
            op.kind == CONV_RELU, <const vec*> &out[k, h, 0, 0], <vec*> &d[k, h, 0, 0], op.Q,
            <vec*> &rows[k % 4, h % 2 * 2, 0, 0], <vec*> &rows[k % 4, h % 2 * 2 + 1, 0, 0], dbias
        )
    if 2 * p + 1 == op.P:
        fill_zero(&rows[k % 4, 2, 0, 0], 2 * rows.shape[2] * LANES)


cdef void dweight_by_spreading(
    const Prepared* conv, const Slot* slot, Py_ssize_t b, real[:, :, :, ::1] d
) noexcept nogil:
    """The slot's dw and dbias += the gradients of lane block b.

    Without a pool, d (K, P, Q, L) becomes that of the outputs.
    """
    cdef const Operation* op = &conv.op
    cdef Py_ssize_t windows = 1 if op.kind == BLOCK else 2, p, k, f, tile
    cdef real[:, :, :, ::1] x = maps_of(conv, input_of(conv, slot, b))
    cdef real[:, :, :, ::1] rows = view4(slot.rows, 4, 4, tiles_of(windows, op.Q), LANES)
    cdef real[:, :, ::1] dw = dw_of(conv, slot)
    for p in range(tiles_of(windows, op.P)):
        for tile in range(tiles_of(4, op.K)):
            k = 4 * tile
            for f in range(min(<Py_ssize_t> 4, op.K - k)):
                gradient_rows(conv, slot, b, k + f, p, d, rows)
            if op.K - k > 2:
                spread_taps(4, conv, <const vec*> &x[0, 2 * p, 0, 0], rows, dw, k)
            else:
                spread_taps(2, conv, <const vec*> &x[0, 2 * p, 0, 0], rows, dw, k)


cdef void dweight_by_selecting(
    const Prepared* block, const Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The same for a first block with kernels of 3x3, or with 5 columns, and 32 registers."""
    cdef Py_ssize_t K = block.op.K, Q = block.op.Q, R = block.op.R, p, k, c, r, first
    cdef real[:, :, :, ::1] x = maps_of(block, input_of(block, slot, b))
    cdef real[:, :, :, ::1] winner = winners(block, slot, b)
    cdef real[:, :, :, ::1] rows = view4(slot.rows, 4, 4, Q, LANES)
    cdef real[:, :, ::1] dw = dw_of(block, slot)
    cdef real[:, ::1] dbias = dbias_of(block, slot)
    cdef const vec* places
    cdef vec* row
    for p in range(winner.shape[1]):
        for first in range(tiles_of(16, K)):
            # All their rows first: while the weights and winners of one come from the second-level
            # cache, those of the next are asked for.
            for k in range(16 * first, min(16 * first + 16, K)):
                read_gradient(block, slot, b, k, p, 1, <vec*> &rows[k % 16 // 4, k % 4, 0, 0])
            for k in range(16 * first, min(16 * first + 16, K)):
                row = <vec*> &rows[k % 16 // 4, k % 4, 0, 0]
                places = <const vec*> &winner[k, p, 0, 0]
                winner_row(1, places, Q, row, <vec*> &dbias[k, 0])
                for c in range(x.shape[0]):
                    if block.op.S == 3:
                        select_tile(
                            3, <const vec*> &x[c, 2 * p, 0, 0], x.shape[2], places, row, Q,
                            <vec*> &dw[k, 9 * c, 0]
                        )
                    else:
                        for r in range(R):
                            select_tile(
                                5, <const vec*> &x[c, 2 * p + r, 0, 0], x.shape[2], places, row, Q,
                                <vec*> &dw[k, 5 * (R * c + r), 0]
                            )


cdef void add_up_taps(const Prepared* block, const Slot* slot, real* dweight) noexcept nogil:
    """dweight (K, T) = the sums over the lanes of dw (K, T, L), whose T is rounded up."""
    cdef const vec* dw = <const vec*> (slot.sums + block.dw_at)
    cdef Py_ssize_t k
    for k in range(block.op.K):
        sum_rows(dw + k * padded_taps(&block.op), block.filters.T, dweight + k * block.filters.T)
