"""The backward pass of the first block: nobody wants its dx.

A window's gradient goes to its winner, and nowhere if ReLU closed it. One row of windows at a time,
for 4 filters, it is spread over four rows ``dz``, one for each position of the window, with zeros
where another position won: dz[4 filters, 4 positions, Q, L]. From there everything is multiply and
add. The gradient of a filter's tap is summed lane by lane, and over the lanes at the end.

With 32 registers, the most frequent cases, kernels of 3x3 and those with 5 columns, go without dz.
The later blocks follow in `winner.pxi`.
"""


cdef inline void close(const floating* winner, floating* d, floating* total) noexcept nogil:
    """d[L] = 0 where the window is closed; total[L] += what is left."""
    cdef floating open[MAX_LANES]
    cdef floating place[MAX_LANES]
    cdef floating value
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        place[l] = winner[l]
        open[l] = d[l]
    for l in range(L):
        value = open[l]
        open[l] = value if place[l] >= 0 else 0
    for l in range(L):
        d[l] = open[l]
        total[l] += open[l]


cdef void close_and_sum(
    const floating* winner, Py_ssize_t n, floating* d, floating* dbias
) noexcept nogil:
    """d[n, L] = 0 where the window is closed; dbias[L] += what is left.

    Even and odd windows have sums of their own: one chain of additions would wait for itself.
    """
    cdef floating even[MAX_LANES]
    cdef floating odd[MAX_LANES]
    cdef Py_ssize_t i, l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        even[l] = 0
    for l in range(L):
        odd[l] = 0
    for i in range(n // 2):
        close(winner, d, even)
        close(winner + L, d + L, odd)
        d += 2 * L
        winner += 2 * L
    if n % 2:
        close(winner, d, even)
    for l in range(L):
        dbias[l] += even[l] + odd[l]


cdef void spread_row(
    const floating* winner, Py_ssize_t Q, floating* dz, floating* dbias
) noexcept nogil:
    """dz[0, Q, L], a row of pooled gradients -> dz[4, Q, L]: each at its winner, 0 elsewhere.

    dbias[L] += what is not closed. Each position has a loop of its own over the lanes: of one loop
    for all four, gcc makes branches.
    """
    cdef floating total[MAX_LANES]
    cdef floating value[MAX_LANES]
    cdef floating place[MAX_LANES]
    cdef floating open
    cdef Py_ssize_t i, l, L = VECTOR_BYTES // sizeof(floating), step = Q * L
    for l in range(L):
        total[l] = 0
    for i in range(Q):
        for l in range(L):
            value[l] = dz[l]
            place[l] = winner[l]
        for l in range(L):
            open = value[l] if place[l] >= 0 else 0
            total[l] += open
        for l in range(L):
            dz[l] = value[l] if place[l] == 0 else 0
        for l in range(L):
            dz[l + step] = value[l] if place[l] == 1 else 0
        for l in range(L):
            dz[l + 2 * step] = value[l] if place[l] == 2 else 0
        for l in range(L):
            dz[l + 3 * step] = value[l] if place[l] == 3 else 0
        dz += L
        winner += L
    for l in range(L):
        dbias[l] += total[l]


cdef inline void add_row(
    const floating* upper, const floating* lower, const floating* place, const floating* column,
    const floating* d, floating* acc
) noexcept nogil:
    """acc[3, L] += d * the 3 values that the winners saw in one of upper[4, L] and lower[4, L]."""
    cdef floating y[4 * MAX_LANES]
    cdef floating z[3 * MAX_LANES]
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        y[l] = choose(place[l] > 1.5, lower[l], upper[l])
    for l in range(L):
        y[l + L] = choose(place[l] > 1.5, lower[l + L], upper[l + L])
    for l in range(L):
        y[l + 2 * L] = choose(place[l] > 1.5, lower[l + 2 * L], upper[l + 2 * L])
    for l in range(L):
        y[l + 3 * L] = choose(place[l] > 1.5, lower[l + 3 * L], upper[l + 3 * L])
    for l in range(L):
        z[l] = choose(column[l] > 0.5, y[l + L], y[l])
    for l in range(L):
        z[l + L] = choose(column[l] > 0.5, y[l + 2 * L], y[l + L])
    for l in range(L):
        z[l + 2 * L] = choose(column[l] > 0.5, y[l + 3 * L], y[l + 2 * L])
    for l in range(L):
        acc[l] += d[l] * z[l]
        acc[l + L] += d[l] * z[l + L]
        acc[l + 2 * L] += d[l] * z[l + 2 * L]


cdef inline void dweight3x3(
    const floating* x, Py_ssize_t W, const floating* d, const floating* winner, Py_ssize_t Q,
    floating* dw
) noexcept nogil:
    """dw[3, 3, L] of one filter and channel += d * x at the winners of one row of windows.

    Instead of spreading d over the four positions it picks the 3x3 values that the winner saw out
    of the window's 4x4, first by its row, then by its column: 21 selections and 9 multiplications
    where there would be 36. d is 0 where the window is closed.
    """
    cdef floating acc[9 * MAX_LANES]
    cdef floating place[MAX_LANES]
    cdef floating column[MAX_LANES]
    cdef floating value[MAX_LANES]
    cdef floating a
    cdef Py_ssize_t l, q = 0, L = VECTOR_BYTES // sizeof(floating), down = W * L
    copy3(dw, acc)
    copy3(dw + 3 * L, acc + 3 * L)
    copy3(dw + 6 * L, acc + 6 * L)
    while True:
        for l in range(L):
            value[l] = d[l]
            place[l] = winner[l]
        for l in range(L):
            a = place[l]
            column[l] = a - 2 if a > 1.5 else a
        add_row(x, x + down, place, column, value, acc)
        add_row(x + down, x + 2 * down, place, column, value, acc + 3 * L)
        add_row(x + 2 * down, x + 3 * down, place, column, value, acc + 6 * L)
        x += 2 * L
        d += L
        winner += L
        q += 1
        if q == Q:
            break
    copy3(acc, dw)
    copy3(acc + 3 * L, dw + 3 * L)
    copy3(acc + 6 * L, dw + 6 * L)


cdef inline void dweight_row5(
    const floating* x, Py_ssize_t W, const floating* d, const floating* winner, Py_ssize_t Q,
    floating* dw
) noexcept nogil:
    """The same for dw[5, L], one row of taps of a kernel with 5 columns.

    11 selections and 5 multiplications instead of 20.
    """
    cdef floating acc[5 * MAX_LANES]
    cdef floating place[MAX_LANES]
    cdef floating column[MAX_LANES]
    cdef floating value[MAX_LANES]
    cdef const floating* lower
    cdef floating y[6 * MAX_LANES]
    cdef floating z[5 * MAX_LANES]
    cdef floating a
    cdef Py_ssize_t l, q = 0, L = VECTOR_BYTES // sizeof(floating), down = W * L
    copy5(dw, acc)
    while True:
        for l in range(L):
            value[l] = d[l]
            place[l] = winner[l]
        for l in range(L):
            a = place[l]
            column[l] = a - 2 if a > 1.5 else a
        lower = x + down
        for l in range(L):
            y[l] = choose(place[l] > 1.5, lower[l], x[l])
        for l in range(L):
            y[l + L] = choose(place[l] > 1.5, lower[l + L], x[l + L])
        for l in range(L):
            y[l + 2 * L] = choose(place[l] > 1.5, lower[l + 2 * L], x[l + 2 * L])
        for l in range(L):
            y[l + 3 * L] = choose(place[l] > 1.5, lower[l + 3 * L], x[l + 3 * L])
        for l in range(L):
            y[l + 4 * L] = choose(place[l] > 1.5, lower[l + 4 * L], x[l + 4 * L])
        for l in range(L):
            y[l + 5 * L] = choose(place[l] > 1.5, lower[l + 5 * L], x[l + 5 * L])
        for l in range(L):
            z[l] = choose(column[l] > 0.5, y[l + L], y[l])
        for l in range(L):
            z[l + L] = choose(column[l] > 0.5, y[l + 2 * L], y[l + L])
        for l in range(L):
            z[l + 2 * L] = choose(column[l] > 0.5, y[l + 3 * L], y[l + 2 * L])
        for l in range(L):
            z[l + 3 * L] = choose(column[l] > 0.5, y[l + 4 * L], y[l + 3 * L])
        for l in range(L):
            z[l + 4 * L] = choose(column[l] > 0.5, y[l + 5 * L], y[l + 4 * L])
        for l in range(L):
            acc[l] += value[l] * z[l]
            acc[l + L] += value[l] * z[l + L]
            acc[l + 2 * L] += value[l] * z[l + 2 * L]
            acc[l + 3 * L] += value[l] * z[l + 3 * L]
            acc[l + 4 * L] += value[l] * z[l + 4 * L]
        x += 2 * L
        d += L
        winner += L
        q += 1
        if q == Q:
            break
    copy5(acc, dw)


cdef inline void dweight_tile(
    const floating* x, const int64_t* tap, Py_ssize_t W, const floating* dz, Py_ssize_t Q,
    Py_ssize_t row, floating* dw
) noexcept nogil:
    """dw[4 filters, 3 taps, L] += dz * x over one row of windows; filters of dw are row apart."""
    cdef floating acc[12 * MAX_LANES]
    cdef floating x0, x1, x2, g
    cdef const floating* y0
    cdef const floating* y1
    cdef const floating* y2
    cdef const floating* d
    cdef Py_ssize_t l, q, a, o, L = VECTOR_BYTES // sizeof(floating), step = 4 * Q * L
    copy3(dw, acc)
    copy3(dw + row, acc + 3 * L)
    copy3(dw + 2 * row, acc + 6 * L)
    copy3(dw + 3 * row, acc + 9 * L)
    for a in range(4):
        o = (a // 2 * W + a % 2) * L
        y0 = x + o + tap[0]
        y1 = x + o + tap[1]
        y2 = x + o + tap[2]
        d = dz + a * Q * L
        q = 0
        while True:
            for l in range(L):
                x0 = y0[l]
                x1 = y1[l]
                x2 = y2[l]
                g = d[l]
                acc[l] += g * x0
                acc[l + L] += g * x1
                acc[l + 2 * L] += g * x2
                g = d[l + step]
                acc[l + 3 * L] += g * x0
                acc[l + 4 * L] += g * x1
                acc[l + 5 * L] += g * x2
                g = d[l + 2 * step]
                acc[l + 6 * L] += g * x0
                acc[l + 7 * L] += g * x1
                acc[l + 8 * L] += g * x2
                g = d[l + 3 * step]
                acc[l + 9 * L] += g * x0
                acc[l + 10 * L] += g * x1
                acc[l + 11 * L] += g * x2
            d += L
            y0 += 2 * L
            y1 += 2 * L
            y2 += 2 * L
            q += 1
            if q == Q:
                break
    copy3(acc, dw)
    copy3(acc + 3 * L, dw + row)
    copy3(acc + 6 * L, dw + 2 * row)
    copy3(acc + 9 * L, dw + 3 * row)


cdef inline void dweight_tile2(
    const floating* x, const int64_t* tap, Py_ssize_t W, const floating* dz, Py_ssize_t Q,
    Py_ssize_t row, floating* dw
) noexcept nogil:
    """The same for 2 of the 4 filters, where there are no others."""
    cdef floating acc[6 * MAX_LANES]
    cdef floating x0, x1, x2, g
    cdef const floating* y0
    cdef const floating* y1
    cdef const floating* y2
    cdef const floating* d
    cdef Py_ssize_t l, q, a, o, L = VECTOR_BYTES // sizeof(floating), step = 4 * Q * L
    copy3(dw, acc)
    copy3(dw + row, acc + 3 * L)
    for a in range(4):
        o = (a // 2 * W + a % 2) * L
        y0 = x + o + tap[0]
        y1 = x + o + tap[1]
        y2 = x + o + tap[2]
        d = dz + a * Q * L
        q = 0
        while True:
            for l in range(L):
                x0 = y0[l]
                x1 = y1[l]
                x2 = y2[l]
                g = d[l]
                acc[l] += g * x0
                acc[l + L] += g * x1
                acc[l + 2 * L] += g * x2
                g = d[l + step]
                acc[l + 3 * L] += g * x0
                acc[l + 4 * L] += g * x1
                acc[l + 5 * L] += g * x2
            d += L
            y0 += 2 * L
            y1 += 2 * L
            y2 += 2 * L
            q += 1
            if q == Q:
                break
    copy3(acc, dw)
    copy3(acc + 3 * L, dw + row)


cdef inline void dweight_selecting(
    const Prepared* block, const floating* x, const floating* d, const floating* winner,
    floating* dw
) noexcept nogil:
    """dw[R, S, L] of one filter and channel += d * x at the winners of one row of windows."""
    cdef Py_ssize_t r, L = VECTOR_BYTES // sizeof(floating), W = block.op.W, Q = block.op.Q
    if block.op.S == 3:
        dweight3x3(x, W, d, winner, Q, dw)
    else:
        for r in range(block.op.R):
            dweight_row5(x + r * W * L, W, d, winner, Q, dw + 5 * r * L)


cdef void spread_by_selecting(
    const Prepared* block, const floating* flat, const Slot* slot, const floating* x,
    const floating* winner
) noexcept nogil:
    """The same for kernels of 3x3, or with 5 columns.

    It holds the sums and two rows of a window: more than 16 registers.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t P = block.op.P, Q = block.op.Q, W = block.op.W, taps = padded_taps(block)
    cdef Py_ssize_t c, k, p, first, last, row
    cdef floating* d = <floating*> slot.dz
    cdef floating* dw = <floating*> slot.dw[0]
    cdef floating* dbias = <floating*> slot.dbias[0]
    for p in range(P):
        first = 0
        while first < block.op.K:
            last = min(first + 4 * FILTER_TILE, block.op.K)
            # All their rows first: while the weights and winners of one come from the second-level
            # cache, those of the next are asked for.
            for k in range(first, last):
                row = (k * P + p) * Q
                read_gradient(&slot.dout, flat, row, Q, d + (k - first) * Q * L)
            for k in range(first, last):
                row = (k * P + p) * Q
                close_and_sum(winner + row * L, Q, d + (k - first) * Q * L, dbias + k * L)
            for k in range(first, last):
                row = (k * P + p) * Q
                for c in range(block.op.C):
                    dweight_selecting(
                        block, x + (c * block.op.H + 2 * p) * W * L, d + (k - first) * Q * L,
                        winner + row * L, dw + (k * taps + block.op.R * block.op.S * c) * L
                    )
            first = last


cdef void spread(
    const Prepared* block, const floating* flat, const Slot* slot, const floating* x,
    const floating* winner
) noexcept nogil:
    """The slot's dw (K, T, L) and dbias (K, L) += the gradients of one lane block.

    K and T are rounded up to whole tiles there.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t K = block.op.K, P = block.op.P, Q = block.op.Q, W = block.op.W
    cdef Py_ssize_t taps = padded_taps(block)
    cdef Py_ssize_t p, k, i, t, tile, row
    cdef floating* dz = <floating*> slot.dz
    cdef floating* dw = <floating*> slot.dw[0]
    cdef floating* dbias = <floating*> slot.dbias[0]
    for p in range(P):
        for tile in range((K + FILTER_TILE - 1) // FILTER_TILE):
            k = tile * FILTER_TILE
            for i in range(min(<Py_ssize_t> FILTER_TILE, K - k)):
                row = ((k + i) * P + p) * Q
                read_gradient(&slot.dout, flat, row, Q, dz + i * 4 * Q * L)
                spread_row(winner + row * L, Q, dz + i * 4 * Q * L, dbias + (k + i) * L)
            for t in range(taps // TAP_TILE):
                if K - k > 2:
                    dweight_tile(
                        x + 2 * p * W * L, block.tap + TAP_TILE * t, W, dz, Q, taps * L,
                        dw + (k * taps + TAP_TILE * t) * L
                    )
                else:
                    dweight_tile2(
                        x + 2 * p * W * L, block.tap + TAP_TILE * t, W, dz, Q, taps * L,
                        dw + (k * taps + TAP_TILE * t) * L
                    )


cdef void first_block_backward(
    const Prepared* block, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation BLOCK backward, where it is the first one: its dx has no use."""
    cdef const floating* x = <const floating*> input_of(slot, 0, b)
    cdef const floating* winner = <const floating*> winner_of(slot, 0, b)
    if MANY_REGISTERS and (block.op.S == 5 or (block.op.S == 3 and block.op.R == 3)):
        spread_by_selecting(block, flat, slot, x, winner)
    else:
        spread(block, flat, slot, x, winner)


cdef void sum_lanes(const floating* lanes, Py_ssize_t n, floating* out) noexcept nogil:
    """out[i] = sum of lanes[i, L]."""
    cdef Py_ssize_t i, l, L = VECTOR_BYTES // sizeof(floating)
    cdef floating total
    for i in range(n):
        total = 0
        for l in range(L):
            total += lanes[i * L + l]
        out[i] = total


cdef void add_up_taps(
    const Prepared* block, const floating* dw, floating* dweight
) noexcept nogil:
    """dweight (K, T) = the sums over the lanes of dw (K, T, L), whose T is rounded up."""
    cdef Py_ssize_t k, row = padded_taps(block) * (VECTOR_BYTES // sizeof(floating))
    for k in range(block.op.K):
        sum_lanes(dw + k * row, block.T, dweight + k * block.T)
