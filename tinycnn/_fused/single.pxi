"""One image, or a few of them, forward: *windows* are the lanes, since there are too few images.

Maps stand in four *phases*: even and odd rows, even and odd columns apart, (C, 4, rows, columns).
What the windows of a row see of a tap are then neighbours, and the row below goes on where a row
ends, so that a vector may reach across. Every lane is computed as a lane of images is, sum for
sum: an image's outputs are the same, bit for bit, alone and among others.

What lies between the last window of a row and the first of the next is computed, and ignored.
"""


cdef inline Py_ssize_t phase_rows(const Prepared* block) noexcept nogil:
    return tiles_of(2, block.op.H)


cdef inline Py_ssize_t phase_columns(const Prepared* block) noexcept nogil:
    return tiles_of(2, block.op.W)


cdef inline Py_ssize_t window_vectors(const Prepared* block) noexcept nogil:
    """Vectors of windows that a map of a block takes."""
    return tiles_of(LANES, block.op.P * phase_columns(block))


cdef inline Py_ssize_t single_size(const Prepared* op) noexcept nogil:
    """Values that the input of an operation takes: vectors reach beyond the last row."""
    if op.op.kind != BLOCK:
        return round_up(input_size(op), LANES) + LANES
    return 4 * op.op.C * phase_rows(op) * phase_columns(op) + phase_columns(op) + LANES


cdef inline Py_ssize_t window_size(const Prepared* block) noexcept nogil:
    """Values that the windows of all filters of a block take, or a row on its way into maps."""
    return max((block.op.K * window_vectors(block) + 1) * LANES, block.op.inner_W)


cdef void fill_phases(Prepared* block) noexcept nogil:
    """The same filters; tap[T, 4] = where the first window's positions see each tap in phases."""
    cdef Py_ssize_t R = block.op.R, S = block.op.S, t, h, w
    cdef int64_t* tap = block.alone.tap
    cdef int p
    block.alone = block.filters
    block.alone.tap, block.alone.phases = tap, True
    for t in range(block.filters.T):
        for p in range(4):
            h, w = t // S % R + p // 2, t % S + p % 2
            tap[4 * t + p] = (
                ((4 * (t // (R * S)) + 2 * (h % 2) + w % 2) * phase_rows(block) + h // 2)
                * phase_columns(block) + w // 2
            )


cdef void put_row(
    const Prepared* block, Py_ssize_t c, Py_ssize_t h, const real* row, real* x
) noexcept nogil:
    """Put row h of map c of a block's input into its phases, within the border."""
    cdef Py_ssize_t y = h + block.op.top, left = block.op.left, odd, first, phase, i
    cdef real[:, :, ::1] maps = view3(x, 4 * block.op.C, phase_rows(block), phase_columns(block))
    for odd in range(2):
        first = (odd + left) % 2
        phase = 4 * c + y % 2 * 2 + odd
        for i in range(tiles_of(2, block.op.inner_W - first)):
            maps[phase, y // 2, (first + left) // 2 + i] = row[2 * i + first]


cdef void put_maps(
    const Prepared* block, const real[:, :, :, ::1] pooled, real* x
) noexcept nogil:
    """Put pooled (K, 1, windows, L) of a block to where the next operation wants them."""
    cdef Py_ssize_t k, p, i, P = block.op.P, Q = block.op.Q
    cdef const real* row
    for k in range(pooled.shape[0]):
        for p in range(P):
            row = &pooled[k, 0, 0, 0] + p * phase_columns(block)
            if block[1].op.kind == BLOCK:
                put_row(block + 1, k, p, row, x)
                continue
            # Whole vectors: what is beyond the end of a row is overwritten by the next one.
            for i in range(tiles_of(LANES, Q)):
                (<loose*> (x + i * LANES))[0] = (<const loose*> (row + i * LANES))[0]
            x += Q


cdef void block_single(const Prepared* block, Slot* slot) noexcept nogil:
    """The operation BLOCK, of one image."""
    cdef Py_ssize_t n = window_vectors(block)
    cdef real[:, :, :, ::1] pooled = view4(slot.pooled, block.op.K, 1, n, LANES)
    convolve(
        &block.alone, may_overflow(&block.filters, &slot.bound),
        view4(slot.single + block.single_at, 1, 1, n, LANES), <vec*> slot.planes, pooled,
        view4(slot.ignored, block.op.K, 1, n, LANES)
    )
    put_maps(block, pooled, <real*> (slot.single + block[1].single_at))


cdef inline void pieces_tile(
    int n, const real* x, Py_ssize_t length, const real* w, vec* total
) noexcept nogil:
    """total[10 outputs as lanes] += the sums of w[n, length, 10] * x[n, length], one by one."""
    cdef int p, i, vectors = <int> tiles_of(LANES, OUTPUTS)
    cdef Py_ssize_t f
    cdef vec value
    cdef vec sums[PIECES * OUTPUTS]
    for i in range(n * vectors):
        sums[i] = splat(0)
    for f in range(length):
        for p in range(n):
            value = splat(x[p * length + f])
            for i in range(vectors):
                sums[p * vectors + i] += (
                    (<const loose*> (w + (p * length + f) * OUTPUTS + i * LANES))[0] * value
                )
    for p in range(n):
        for i in range(vectors):
            total[i] += sums[p * vectors + i]


cdef void linear_single(const Prepared* linear, Slot* slot) noexcept nogil:
    """The operations LINEAR and LINEAR_RELU, of one image: outputs are the lanes."""
    cdef Py_ssize_t M = linear.op.K, F = linear.filters.T, tile, m, f, length = F // pieces_of(F)
    cdef const real* x = <const real*> (slot.single + linear.single_at)
    cdef const real* w = <const real*> linear.filters.tiles
    cdef real[::1] out = view1(slot.single + linear[1].single_at, M)
    cdef vec total[OUTPUTS]
    for tile in range(tiles_of(OUTPUTS, M)):
        m = tile * OUTPUTS
        memcpy(total, <const real*> linear.filters.biases + m, OUTPUTS * sizeof(real))
        f = 0
        while f < length * pieces_of(F):
            pieces_tile(PIECES, x + f, length, w + f * OUTPUTS, total)
            f += PIECES * length
        pieces_tile(1, x + f, F - f, w + f * OUTPUTS, total)
        memcpy(&out[m], total, min(<Py_ssize_t> OUTPUTS, M - m) * sizeof(real))
        w += F * OUTPUTS
    for m in range(M if linear.op.kind == LINEAR_RELU else 0):  # NaN stays NaN
        out[m] = 0 if out[m] < 0 else out[m]


cdef void pack_single(
    const pixel* image, const Images* images, const Prepared* first, real* row, real* x
) noexcept nogil:
    """Put the pixels of an image, scaled, into the phases of a block, or the values of a layer."""
    cdef Py_ssize_t c, h, w, W = first.op.inner_W
    cdef real scale, shift
    for c in range(first.op.C):
        scale, shift = <real> images.scale[c], <real> images.shift[c]
        for h in range(first.op.inner_H):
            for w in range(W):
                row[w] = <real> image[w] * scale + shift
            if first.op.kind == BLOCK:
                put_row(first, c, h, row, x)
            else:
                memcpy(x, row, W * sizeof(real))
                x += W
            image += W
