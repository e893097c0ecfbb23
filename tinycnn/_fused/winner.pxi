"""The backward pass of a block after the first: window by window, and only its winner.

Three of a window's four positions have no gradient, and a window that ReLU closed has none at all.
With images as lanes one would have to go through all of them, because each image has other winners.
So here images come one by one, channels last: (H, W, C). What row r of a filter sees from position
(i, j) is then one stretch of S * C values, from x[i + r, j] on, and its part of dx is, too. A
stretch is worked on in *runs* of L values, as many as a vector register holds. The last run of a
row may go beyond it: there the weights are 0, and what is summed is never read.

For 8 channels and more this takes half the time that all positions did; for 4 it is equal, and
below that up to half more, of very little (measured on a CPU with AVX-512).
"""


cdef inline Py_ssize_t runs_of_row(const Block* block, Py_ssize_t L) noexcept nogil:
    return (block.S * block.C + L - 1) // L


cdef Py_ssize_t padded_runs(const Block* block, Py_ssize_t L) noexcept nogil:
    return round_up(block.R * runs_of_row(block, L), RUN_TILE)


cdef Py_ssize_t padded_image(const Block* block, Py_ssize_t L) noexcept nogil:
    """Values from one image to the next: runs, and groups of 8 values, may go beyond an image."""
    return round_up(block.H * block.W * block.C, L) + max(L, <Py_ssize_t> 8)


cdef inline Py_ssize_t place_in_runs(const Block* block, Py_ssize_t t, Py_ssize_t L) noexcept nogil:
    """Where tap t of a filter (C, R, S) stands among its runs."""
    cdef Py_ssize_t c = t // (block.R * block.S), r = t // block.S % block.R, s = t % block.S
    return r * runs_of_row(block, L) * L + s * block.C + c


cdef void fill_runs(Block* block, Py_ssize_t L) noexcept nogil:
    """Compute the offset of each run in an image; the last one again up to a whole tile."""
    cdef Py_ssize_t i, n = runs_of_row(block, L), last = block.R * n - 1
    for i in range(padded_runs(block, L)):
        block.run[i] = min(i, last) // n * block.W * block.C + min(i, last) % n * L


cdef void fill_filter_runs(Block* block, const floating* weight) noexcept nogil:
    """Copy the filters (K, C, R, S) into runs."""
    cdef Py_ssize_t k, t, at, L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t size = padded_runs(block, L) * L
    cdef floating* runs = <floating*> block.filter_runs
    fill_zero(runs, block.K * size)
    for t in range(block.T):
        at = place_in_runs(block, t, L)
        for k in range(block.K):
            runs[k * size + at] = weight[k * block.T + t]


cdef void read_runs(const Block* block, const floating* dw, floating* dweight) noexcept nogil:
    """dw (K, runs, L) -> dweight (K, C, R, S)."""
    cdef Py_ssize_t k, t, at, L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t size = padded_runs(block, L) * L
    for t in range(block.T):
        at = place_in_runs(block, t, L)
        for k in range(block.K):
            dweight[k * block.T + t] = dw[k * size + at]


cdef inline Py_ssize_t next_value(Py_ssize_t at, Py_ssize_t size, Py_ssize_t n) noexcept nogil:
    """From one of n values (C, size) to the next one in the order of (size, C); the last stays."""
    at += size
    return at if at < n else min(at - n + 1, n - 1)


cdef void split_lanes(
    const floating* lanes, Py_ssize_t size, Py_ssize_t n, Py_ssize_t step, floating* images
) noexcept nogil:
    """lanes (C, size, L) -> images (L, size, C) of n values each, step apart.

    They come in groups of 8; what the last group has too many goes where nobody reads.
    """
    cdef Py_ssize_t i, j, l, at = 0, L = VECTOR_BYTES // sizeof(floating)
    cdef floating a[8 * MAX_LANES]
    cdef floating* y
    for i in range((n + 7) // 8):
        for j in range(8):
            for l in range(L):
                a[j * L + l] = lanes[at * L + l]
            at = next_value(at, size, n)
        riffle(a, L)
        riffle(a, L)
        riffle(a, L)
        y = images + 8 * i
        for l in range(L):
            for j in range(8):
                y[j] = a[8 * l + j]
            y += step


cdef void join_lanes(
    const floating* images, Py_ssize_t size, Py_ssize_t n, Py_ssize_t step, floating* lanes
) noexcept nogil:
    """images (L, size, C) -> lanes (C, size, L): the way back."""
    cdef Py_ssize_t i, j, l, at = 0, L = VECTOR_BYTES // sizeof(floating)
    cdef floating a[8 * MAX_LANES]
    cdef const floating* x
    for i in range((n + 7) // 8):
        x = images + 8 * i
        for l in range(L):
            for j in range(8):
                a[8 * l + j] = x[j]
            x += step
        unriffle(a, L)
        unriffle(a, L)
        unriffle(a, L)
        for j in range(min(<Py_ssize_t> 8, n - 8 * i)):
            for l in range(L):
                lanes[at * L + l] = a[j * L + l]
            at = next_value(at, size, n)


cdef Py_ssize_t list_windows(
    const Block* block, const floating* winner, const floating* d, Py_ssize_t step, int64_t* at,
    floating* g
) noexcept nogil:
    """List a filter's windows that have a gradient, in images that alternate; return their number.

    winner and d are (P * Q, L), from the first of the images on; d is 0 where a window is closed.
    at[i] becomes the offset of a winner from the first image on, g[i] its gradient.
    """
    cdef int64_t corner[5]  # of the winners -1 to 3; that of a closed window plays no part
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), p, q, l, n = 0
    cdef int64_t window
    cdef floating value
    corner[0] = corner[1] = 0
    corner[2] = block.C
    corner[3] = block.W * block.C
    corner[4] = corner[3] + block.C
    for p in range(block.P):
        for q in range(block.Q):
            window = 2 * (p * block.W + q) * block.C
            for l in range(ALTERNATING):
                # Written in any case, and counted if it is not 0: a branch would be guesswork.
                value = d[l]
                at[n] = window + corner[<int> winner[l] + 1] + l * step
                g[n] = value
                n += value != 0
            d += L
            winner += L
    return n


cdef inline void run_tile(
    const floating* x, const int64_t* run, const floating* w, const int64_t* at,
    const floating* g, Py_ssize_t n, floating* dw, floating* dx
) noexcept nogil:
    """dw[3 runs, L] += g * x, and dx += g * w[3 runs, L], for n windows with winners at `at`."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, l
    cdef floating acc[3 * MAX_LANES]
    cdef floating weight[3 * MAX_LANES]
    cdef floating value
    cdef int64_t run0 = run[0], run1 = run[1], run2 = run[2]
    cdef const floating* y
    cdef floating* dy
    for l in range(3 * L):
        acc[l] = 0
    for l in range(3 * L):
        weight[l] = w[l]
    for i in range(n):
        value = g[i]
        y = x + at[i]
        dy = dx + at[i]
        for l in range(L):
            acc[l] += value * y[run0 + l]
            acc[l + L] += value * y[run1 + l]
            acc[l + 2 * L] += value * y[run2 + l]
        # Each run has a loop of its own: two of them may be the same place in dx.
        for l in range(L):
            dy[run0 + l] += value * weight[l]
        for l in range(L):
            dy[run1 + l] += value * weight[l + L]
        for l in range(L):
            dy[run2 + l] += value * weight[l + 2 * L]
    for l in range(3 * L):
        dw[l] += acc[l]


cdef void later_block_backward(
    const Block* block, const Slot* slot, const floating* x, const floating* winner,
    const floating* dpooled, const Linear* linear, const floating* dlogits, floating* dw,
    floating* dbias, floating* dx
) noexcept nogil:
    """dw (K, runs, L), dbias (K, L) += the gradients of one lane block; dx (C, H, W, L) = its own.

    dpooled (K, P, Q, L) is NULL after the last block: then the gradient of the pooled values is
    computed map by map from dlogits (M, L) as it is needed.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), runs = padded_runs(block, L)
    cdef Py_ssize_t windows = block.P * block.Q, step = padded_image(block, L)
    cdef Py_ssize_t size = block.H * block.W, k, l, i, n, first
    cdef floating* images = <floating*> slot.images
    cdef floating* dimages = <floating*> slot.dimages
    cdef floating* d = <floating*> slot.dmap
    cdef int64_t* at = <int64_t*> slot.open_winners
    cdef floating* g = <floating*> slot.open_gradients
    cdef const floating* w = <const floating*> block.filter_runs
    split_lanes(x, size, size * block.C, step, images)
    fill_zero(dimages, L * step)
    for k in range(block.K):
        dpooled_row(linear, dlogits, dpooled, k * windows, windows, d)
        close_and_sum(winner, windows, d, dbias + k * L)
        for l in range(L // ALTERNATING):
            first = l * ALTERNATING
            n = list_windows(block, winner + first, d + first, step, at, g)
            for i in range(runs // RUN_TILE):
                run_tile(
                    images + first * step, block.run + RUN_TILE * i, w + RUN_TILE * i * L, at, g,
                    n, dw + RUN_TILE * i * L, dimages + first * step
                )
        winner += windows * L
        w += runs * L
        dw += runs * L
    join_lanes(dimages, size, size * block.C, step, dx)
