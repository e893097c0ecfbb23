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


cdef inline Py_ssize_t phase_size(const Prepared* block) noexcept nogil:
    return phase_rows(block) * phase_columns(block)


cdef inline Py_ssize_t window_vectors(const Prepared* block) noexcept nogil:
    """Vectors of windows that a map of a block takes."""
    return tiles_of(LANES, block.op.P * phase_columns(block))


cdef inline Py_ssize_t single_size(const Prepared* op) noexcept nogil:
    """Values that the input of an operation takes: vectors reach beyond the last row."""
    if op.op.kind != BLOCK:
        return round_up(op.T, LANES) + LANES
    return 4 * op.op.C * phase_size(op) + phase_columns(op) + LANES


cdef inline Py_ssize_t window_size(const Prepared* block) noexcept nogil:
    """Values that the windows of all filters of a block take, or a row on its way into maps."""
    return max((block.op.K * window_vectors(block) + 1) * LANES, block.op.inner_W)


cdef void fill_seen(Prepared* block) noexcept nogil:
    """seen[R + 1, S + 1] = where the first window sees the pixels of a channel."""
    cdef Py_ssize_t h, w, S = block.op.S + 1
    for h in range(block.op.R + 1):
        for w in range(S):
            block.seen[h * S + w] = (
                (2 * (h % 2) + w % 2) * phase_size(block) + h // 2 * phase_columns(block) + w // 2
            )


cdef inline void windows_tile(
    int F, const Prepared* block, const real* x, const real* w, vec* sums
) noexcept nogil:
    """sums[F filters, 4 positions] += the convolution at L windows; w is (T, FILTERS)."""
    cdef int f, p
    cdef Py_ssize_t c = 0, r = 0, s = 0, S = block.op.S
    cdef const int64_t* seen = block.seen
    cdef vec pixel
    while True:
        for p in range(4):
            pixel = (<const loose*> (x + seen[p // 2 * (S + 1) + p % 2]))[0]
            for f in range(F):
                sums[4 * f + p] += w[f] * pixel
        w += FILTERS
        seen += 1
        s += 1
        if s == S:  # the next row of taps
            s = 0
            seen += 1
            r += 1
        if r == block.op.R:  # the next channel
            r = 0
            seen = block.seen
            x += 4 * phase_size(block)
            c += 1
            if c == block.op.C:
                break


cdef inline void windows_pool(
    bint careful, const Prepared* block, const real* x, real[:, ::1] pooled
) noexcept nogil:
    """x, in phases -> pooled (K, windows), directly."""
    cdef Py_ssize_t k, w, tile
    cdef int f, i
    cdef vec winner
    cdef vec sums[16]
    for tile in range(tiles_of(FILTERS, pooled.shape[0])):
        k = tile * FILTERS
        for w in range(window_vectors(block)):
            for f in range(FILTERS):
                for i in range(4):
                    sums[4 * f + i] = splat((<const real*> block.filters.biases)[k + f])
            windows_tile(
                FILTERS, block, x + w * LANES, <const real*> block.filters.tiles + k * block.T, sums
            )
            for f in range(<int> min(<Py_ssize_t> FILTERS, pooled.shape[0] - k)):
                pool_tile(careful, sums + 4 * f, <vec*> &pooled[k + f, w * LANES], &winner)


cdef void windows_direct(
    bint careful, const Prepared* block, const real* x, real[:, ::1] pooled
) noexcept nogil:
    if careful:
        windows_pool(True, block, x, pooled)
    else:
        windows_pool(False, block, x, pooled)


cdef void windows_winograd(
    const Prepared* block, const real* x, vec* v, real[:, ::1] pooled
) noexcept nogil:
    """x, in phases -> pooled (K, windows); see `winograd_forward`."""
    cdef Py_ssize_t C = block.op.C, K = pooled.shape[0], n_vectors = window_vectors(block)
    cdef Py_ssize_t w = 0, c, tile
    cdef real[:, :, :, ::1] u = view4(block.filters.u, tiles_of(4, K), PLANES, C, 4)
    cdef const real* seen
    cdef int n, i, f
    cdef vec winner
    cdef vec pixels[16]
    cdef vec m[PLANES * 4 * WINDOWS]
    cdef vec out[4]
    while w < n_vectors:
        n = windows_from(w, n_vectors)
        for i in range(n):
            for c in range(C):
                seen = x + 4 * c * phase_size(block) + (w + i) * LANES
                for f in range(16):
                    pixels[f] = (<const loose*> (seen + block.seen[f]))[0]
                pixels_tile(pixels, 4, v + c * n + i, C * n)
        for tile in range(u.shape[0]):
            products(n, u, tile, <const real*> block.filters.biases + 4 * tile, v, m)
            for f in range(<int> min(<Py_ssize_t> 4, K - 4 * tile)):
                for i in range(n):
                    outputs_tile(m + f * n + i, 4 * n, out)
                    pool_tile(
                        False, out, <vec*> &pooled[4 * tile + f, (w + i) * LANES], &winner
                    )
        w += n


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
    const Prepared* block, const Prepared* next_op, const real[:, ::1] pooled, real* x
) noexcept nogil:
    """Put pooled (K, windows) of a block to where the next operation wants them."""
    cdef Py_ssize_t k, p, i, P = block.op.P, Q = block.op.Q
    cdef const real* row
    for k in range(pooled.shape[0]):
        for p in range(P):
            row = &pooled[k, p * phase_columns(block)]
            if next_op.op.kind == BLOCK:
                put_row(next_op, k, p, row, x)
                continue
            # Whole vectors: what is beyond the end of a row is overwritten by the next one.
            for i in range(tiles_of(LANES, Q)):
                (<loose*> (x + i * LANES))[0] = (<const loose*> (row + i * LANES))[0]
            x += Q


cdef void block_single(const Prepared* block, Slot* slot) noexcept nogil:
    """The operation BLOCK, of one image."""
    cdef const real* x = <const real*> slot.single[block.index]
    cdef real[:, ::1] pooled = view2(slot.pooled, block.op.K, window_vectors(block) * LANES)
    cdef bint careful = may_overflow(&block.filters, &slot.bound)
    if careful or not by_winograd(&block.op):
        windows_direct(careful, block, x, pooled)
    else:
        windows_winograd(block, x, <vec*> slot.planes, pooled)
    put_maps(block, block + 1, pooled, <real*> slot.single[block.index + 1])


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
    """The operation LINEAR, of one image: outputs are the lanes."""
    cdef Py_ssize_t M = linear.op.K, F = linear.T, tile, m, f, length = F // pieces_of(F)
    cdef const real* x = <const real*> slot.single[linear.index]
    cdef const real* w = <const real*> linear.filters.tiles
    cdef real[::1] out = view1(slot.single[linear.index + 1], M)
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


cdef void linear_relu_single(const Prepared* linear, Slot* slot) noexcept nogil:
    """The operation LINEAR_RELU, of one image."""
    cdef real* out = <real*> slot.single[linear.index + 1]
    cdef Py_ssize_t m
    linear_single(linear, slot)
    for m in range(linear.op.K):  # NaN stays NaN
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
