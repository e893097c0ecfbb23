"""The backward pass of a block after the first: window by window, and only its winner.

Three of a window's four positions have no gradient. With images as lanes one would have to go
through all of them, because each image has other winners. So here images come one by one, channels
last: (H, W, C). What row r of a filter sees from position (i, j) is then one stretch of S * C
values, from x[i + r, j] on. A stretch is worked on in *runs* of L values, as many as a vector
register holds. The last run of a row may go beyond it: there a filter is 0, and what is summed is
never read.

A filter's gradient is summed over all windows: for each, d times what its winner saw. The gradient
of the input is summed the other way round, over all filters of one window: their winners lie in the
same 2x2 positions, so what they see lies in one *patch* of R + 1 by S + 1 positions. Filters stand
in *frames* of zeros: seen from the right place on, a frame is a patch with the filter where its
winner is.

Loads are fast from whole registers. Positions begin at such where C is a multiple of L. Where it is
not, there are two *copies* of images and frames, one for winners in a window's left column and one
for those in the right: at least with L / 2 channels, runs then begin at whole registers, too.
"""


cdef inline Py_ssize_t runs_of(Py_ssize_t n, Py_ssize_t L) noexcept nogil:
    """How many runs n values take."""
    return (n + L - 1) // L


cdef Py_ssize_t filter_runs(const Block* block, Py_ssize_t L) noexcept nogil:
    """Runs of a filter, rounded up to whole tiles."""
    return round_up(block.R * runs_of(block.S * block.C, L), RUN_TILE)


cdef Py_ssize_t patch_runs(const Block* block, Py_ssize_t L) noexcept nogil:
    """Runs of a patch, rounded up to whole tiles."""
    return round_up((block.R + 1) * runs_of((block.S + 1) * block.C, L), RUN_TILE)


cdef inline Py_ssize_t copies(const Block* block, Py_ssize_t L) noexcept nogil:
    return 2 if block.C % L else 1


cdef inline Py_ssize_t frame_row(const Block* block, Py_ssize_t L) noexcept nogil:
    """Values of a row of a frame, which is as wide as one of a patch."""
    return runs_of((block.S + 1) * block.C, L) * L


cdef inline Py_ssize_t frame_margin(const Block* block, Py_ssize_t L) noexcept nogil:
    """Zeros before a frame: a filter moves to the right where one looks at it from there on."""
    return block.C if copies(block, L) == 1 else 0


cdef inline Py_ssize_t frame_size(const Block* block, Py_ssize_t L) noexcept nogil:
    """Values of a frame: its margin, R + 2 rows, and zeros up to a whole tile."""
    return frame_margin(block, L) + (block.R + 2) * frame_row(block, L) + (RUN_TILE - 1) * L


cdef Py_ssize_t padded_image(const Block* block, Py_ssize_t L) noexcept nogil:
    """Values from one image to the next: runs, and groups of 8 values, may go beyond an image."""
    return round_up(block.H * block.W * block.C, L) + max(L, <Py_ssize_t> 8)


cdef Py_ssize_t padded_maps(const Block* block) noexcept nogil:
    """Values of the maps (P, Q, K) of an image, up to the next one's."""
    return round_up(block.P * block.Q * block.K, 8)


cdef void fill_run_offsets(
    Py_ssize_t rows, Py_ssize_t width, Py_ssize_t step, Py_ssize_t L, Py_ssize_t padded,
    int64_t* offset
) noexcept nogil:
    """Offsets of the runs of rows that are step apart; the last one again up to a whole tile."""
    cdef Py_ssize_t i, n = runs_of(width, L), last = rows * n - 1
    for i in range(padded):
        offset[i] = min(i, last) // n * step + min(i, last) % n * L


cdef void fill_runs(Block* block, Py_ssize_t L) noexcept nogil:
    """Compute where the windows begin in an image, and the runs of a filter and of a patch."""
    cdef Py_ssize_t seen = block.S * block.C, patch = seen + block.C, row = block.W * block.C
    cdef Py_ssize_t n = patch_runs(block, L), p, q
    for p in range(block.P):
        for q in range(block.Q):
            block.window[p * block.Q + q] = 2 * (p * block.W + q) * block.C
    fill_run_offsets(block.R, seen, row, L, filter_runs(block, L), block.run)
    fill_run_offsets(block.R + 1, patch, row, L, n, block.patch_run)


cdef void fill_frames(Block* block, const floating* weight) noexcept nogil:
    """Copy the filters (K, C, R, S) into frames (K, copies, R + 2, row), from their second row on.

    In the second copy they stand C values to the right.
    """
    cdef Py_ssize_t k, c, r, s, at, L = VECTOR_BYTES // sizeof(floating), n = copies(block, L)
    cdef Py_ssize_t row = frame_row(block, L), size = frame_size(block, L)
    cdef floating* frame = <floating*> block.frames
    fill_zero(frame, block.K * n * size)
    for k in range(block.K):
        for c in range(block.C):
            for r in range(block.R):
                for s in range(block.S):
                    at = (r + 1) * row + s * block.C + c
                    frame[frame_margin(block, L) + at] = weight[0]
                    if n == 2:
                        frame[size + block.C + at] = weight[0]
                    weight += 1
        frame += n * size


cdef void read_runs(const Block* block, const floating* dw, floating* dweight) noexcept nogil:
    """dw (K, runs, L) -> dweight (K, C, R, S)."""
    cdef Py_ssize_t k, c, r, s, L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t row = runs_of(block.S * block.C, L) * L
    for k in range(block.K):
        for c in range(block.C):
            for r in range(block.R):
                for s in range(block.S):
                    dweight[0] = dw[r * row + s * block.C + c]
                    dweight += 1
        dw += filter_runs(block, L) * L


cdef void locate_seen(
    const Block* block, const floating* winner, int32_t right, int32_t* at
) noexcept nogil:
    """at (P, Q, K) = where the values begin in an image that the winner saw.

    That of a closed window counts as the first; its gradient is 0.
    """
    cdef Py_ssize_t n, k, K = block.K
    cdef int32_t down = block.W * block.C, window, row, column
    cdef floating place
    for n in range(block.P * block.Q):
        window = block.window[n]
        for k in range(K):
            place = winner[k]
            row = down if place > 1.5 else 0
            column = right if (place == 1) | (place == 3) else 0
            at[k] = window + row + column
        at += K
        winner += K


cdef void locate_framed(
    const floating* winner, Py_ssize_t n, int32_t upper, int32_t left, int32_t right, int32_t* at
) noexcept nogil:
    """at[n] = where its patch begins in a filter's frames: the winner's row and column add up."""
    cdef Py_ssize_t i
    cdef int32_t row, column
    cdef floating place
    for i in range(n):
        place = winner[i]
        row = 0 if place > 1.5 else upper
        column = right if (place == 1) | (place == 3) else left
        at[i] = row + column


cdef void dweight_runs6(
    const floating* x, Py_ssize_t images, Py_ssize_t step, const int64_t* run, const int32_t* at,
    const floating* d, Py_ssize_t maps, Py_ssize_t windows, Py_ssize_t K, floating* dw
) noexcept nogil:
    """dw[6 runs, L] += d * what the winners of a filter saw in some images, step apart.

    at and d are (images, maps), of which (windows, K) are used, from the filter on.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, j, l, o
    cdef floating acc[6 * MAX_LANES]
    cdef floating value
    cdef const floating* y0
    cdef const floating* y1
    cdef const floating* y2
    cdef const floating* y3
    cdef const floating* y4
    cdef const floating* y5
    fill3(acc, 0)
    fill3(acc + 3 * L, 0)
    # Moved on from image to image: computed anew for each, they would not stay in registers.
    y0 = x + run[0]
    y1 = x + run[1]
    y2 = x + run[2]
    y3 = x + run[3]
    y4 = x + run[4]
    y5 = x + run[5]
    for j in range(images):
        i = 0
        while True:
            value = d[i]
            o = at[i]
            for l in range(L):
                acc[l] += value * y0[o + l]
                acc[l + L] += value * y1[o + l]
                acc[l + 2 * L] += value * y2[o + l]
                acc[l + 3 * L] += value * y3[o + l]
                acc[l + 4 * L] += value * y4[o + l]
                acc[l + 5 * L] += value * y5[o + l]
            i += K
            if i == windows * K:
                break
        y0 += step
        y1 += step
        y2 += step
        y3 += step
        y4 += step
        y5 += step
        at += maps
        d += maps
    add3(acc, dw)
    add3(acc + 3 * L, dw + 3 * L)


cdef void dweight_runs3(
    const floating* x, Py_ssize_t images, Py_ssize_t step, const int64_t* run, const int32_t* at,
    const floating* d, Py_ssize_t maps, Py_ssize_t windows, Py_ssize_t K, floating* dw
) noexcept nogil:
    """The same for the last 3 runs."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, j, l, o
    cdef floating acc[3 * MAX_LANES]
    cdef floating value
    cdef const floating* y0
    cdef const floating* y1
    cdef const floating* y2
    fill3(acc, 0)
    y0 = x + run[0]
    y1 = x + run[1]
    y2 = x + run[2]
    for j in range(images):
        i = 0
        while True:
            value = d[i]
            o = at[i]
            for l in range(L):
                acc[l] += value * y0[o + l]
                acc[l + L] += value * y1[o + l]
                acc[l + 2 * L] += value * y2[o + l]
            i += K
            if i == windows * K:
                break
        y0 += step
        y1 += step
        y2 += step
        at += maps
        d += maps
    add3(acc, dw)


cdef inline void add_run(const floating* a, floating* out) noexcept nogil:
    """out[L] += a[L]."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        out[l] += a[l]


cdef void patch_runs9(
    const floating* frames, Py_ssize_t size, Py_ssize_t filters, const int32_t* at,
    const floating* d, Py_ssize_t n, Py_ssize_t K, const int64_t* window, const int64_t* run,
    floating* dx
) noexcept nogil:
    """9 runs of the patches of n windows, in one image: dx += d * the frames of some filters.

    at and d are (n, K), from the first of the filters on.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, k, l
    cdef floating acc[9 * MAX_LANES]
    cdef floating value
    cdef const floating* w
    cdef const floating* frame
    for i in range(n):
        fill3(acc, 0)
        fill3(acc + 3 * L, 0)
        fill3(acc + 6 * L, 0)
        frame = frames
        k = 0
        while True:
            value = d[k]
            w = frame + at[k]
            for l in range(L):
                acc[l] += value * w[l]
                acc[l + L] += value * w[l + L]
                acc[l + 2 * L] += value * w[l + 2 * L]
                acc[l + 3 * L] += value * w[l + 3 * L]
                acc[l + 4 * L] += value * w[l + 4 * L]
                acc[l + 5 * L] += value * w[l + 5 * L]
                acc[l + 6 * L] += value * w[l + 6 * L]
                acc[l + 7 * L] += value * w[l + 7 * L]
                acc[l + 8 * L] += value * w[l + 8 * L]
            frame += size
            k += 1
            if k == filters:
                break
        # One after the other: two of the runs may be the same place.
        add_run(acc, dx + window[i] + run[0])
        add_run(acc + L, dx + window[i] + run[1])
        add_run(acc + 2 * L, dx + window[i] + run[2])
        add_run(acc + 3 * L, dx + window[i] + run[3])
        add_run(acc + 4 * L, dx + window[i] + run[4])
        add_run(acc + 5 * L, dx + window[i] + run[5])
        add_run(acc + 6 * L, dx + window[i] + run[6])
        add_run(acc + 7 * L, dx + window[i] + run[7])
        add_run(acc + 8 * L, dx + window[i] + run[8])
        at += K
        d += K


cdef void patch_runs3(
    const floating* frames, Py_ssize_t size, Py_ssize_t filters, const int32_t* at,
    const floating* d, Py_ssize_t n, Py_ssize_t K, const int64_t* window, const int64_t* run,
    floating* dx
) noexcept nogil:
    """The same for the last 3 runs."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, k, l
    cdef floating acc[3 * MAX_LANES]
    cdef floating value
    cdef const floating* w
    cdef const floating* frame
    for i in range(n):
        fill3(acc, 0)
        frame = frames
        k = 0
        while True:
            value = d[k]
            w = frame + at[k]
            for l in range(L):
                acc[l] += value * w[l]
                acc[l + L] += value * w[l + L]
                acc[l + 2 * L] += value * w[l + 2 * L]
            frame += size
            k += 1
            if k == filters:
                break
        # One after the other: two of the runs may be the same place.
        add_run(acc, dx + window[i] + run[0])
        add_run(acc + L, dx + window[i] + run[1])
        add_run(acc + 2 * L, dx + window[i] + run[2])
        at += K
        d += K


cdef void filters_gradient(
    const Block* block, const Slot* slot, const floating* d, Py_ssize_t first, Py_ssize_t images,
    floating* dw
) noexcept nogil:
    """dw (K, runs, L) += the gradients of the filters from some images, from the first one on."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), runs = filter_runs(block, L)
    cdef Py_ssize_t n = block.P * block.Q, K = block.K, maps = padded_maps(block), k, i
    cdef Py_ssize_t step = copies(block, L) * padded_image(block, L)
    cdef const floating* x = <const floating*> slot.images + first * step
    cdef const int32_t* at = slot.seen_at + first * maps
    d += first * maps
    for k in range(K):
        i = 0
        while runs - i >= 6:
            dweight_runs6(
                x, images, step, block.run + i, at + k, d + k, maps, n, K, dw + i * L
            )
            i += 6
        if i < runs:
            dweight_runs3(
                x, images, step, block.run + i, at + k, d + k, maps, n, K, dw + i * L
            )
        dw += runs * L


cdef void patches_gradient(
    const Block* block, const Slot* slot, const floating* d, Py_ssize_t run, Py_ssize_t k
) noexcept nogil:
    """The images' gradients += what some filters, from k on, bring to a tile of patches' runs.

    All images after each other, while these parts of these filters stay in the cache.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), n = block.P * block.Q, K = block.K, i
    cdef Py_ssize_t size = copies(block, L) * frame_size(block, L)
    cdef Py_ssize_t filters = min(<Py_ssize_t> FILTER_GROUP, K - k)
    cdef const floating* frames = <const floating*> block.frames + k * size + run * L
    cdef const int32_t* at = slot.framed_at + k
    cdef const int64_t* runs = block.patch_run + run
    cdef floating* dx = <floating*> slot.dimages
    d += k
    for i in range(L):
        if patch_runs(block, L) - run >= 9:
            patch_runs9(frames, size, filters, at, d, n, K, block.window, runs, dx)
        else:
            patch_runs3(frames, size, filters, at, d, n, K, block.window, runs, dx)
        at += padded_maps(block)
        d += padded_maps(block)
        dx += padded_image(block, L)


cdef void spread_images(
    const Block* block, const Slot* slot, const floating* x, const floating* winner,
    const floating* d
) noexcept nogil:
    """Put the block's inputs (C, H, W, L), winners and gradients (K, P, Q, L) image by image."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), step = padded_image(block, L), l
    cdef Py_ssize_t size = block.H * block.W, windows = block.P * block.Q
    cdef Py_ssize_t n = copies(block, L), maps = padded_maps(block)
    cdef floating* places = <floating*> slot.winners
    split_lanes(x, size, size * block.C, n * step, <floating*> slot.images)
    if n == 2:
        copy_images(size * block.C, block.C, step, <floating*> slot.images)
    split_lanes(d, windows, windows * block.K, maps, <floating*> slot.dmaps)
    split_lanes(winner, windows, windows * block.K, maps, places)
    for l in range(L):
        locate_seen(
            block, places + l * maps, step if n == 2 else block.C, slot.seen_at + l * maps
        )
    locate_framed(
        places, L * maps, frame_row(block, L), frame_margin(block, L),
        frame_size(block, L) if n == 2 else 0, slot.framed_at
    )


cdef void later_block_backward(
    const Block* block, const Slot* slot, const floating* x, const floating* winner,
    const floating* dpooled, const Linear* linear, const floating* dlogits, floating* dw,
    floating* dbias, floating* dx
) noexcept nogil:
    """dw (K, runs, L), dbias (K, L) += the gradients of one lane block; dx (C, H, W, L) = its own.

    dpooled (K, P, Q, L) is NULL after the last block: then the gradient of the pooled values is
    computed from dlogits (M, L).
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), size = block.H * block.W
    cdef Py_ssize_t windows = block.P * block.Q, step = padded_image(block, L), i = 0, k
    cdef Py_ssize_t image_bytes = copies(block, L) * step * sizeof(floating)
    cdef Py_ssize_t images = min(max(CACHED_BYTES // image_bytes, <Py_ssize_t> 1), L)
    cdef floating* d = <floating*> slot.lanes
    for k in range(block.K):
        dpooled_row(linear, dlogits, dpooled, k * windows, windows, d + k * windows * L)
        close_and_sum(winner + k * windows * L, windows, d + k * windows * L, dbias + k * L)
    spread_images(block, slot, x, winner, d)
    while i < L:
        filters_gradient(block, slot, <floating*> slot.dmaps, i, min(images, L - i), dw)
        i += images
    fill_zero(<floating*> slot.dimages, L * step)
    i = 0
    while i < patch_runs(block, L):
        for k in range((block.K + FILTER_GROUP - 1) // FILTER_GROUP):
            patches_gradient(block, slot, <floating*> slot.dmaps, i, k * FILTER_GROUP)
        i += 9 if patch_runs(block, L) - i >= 9 else 3
    join_lanes(<floating*> slot.dimages, size, size * block.C, step, dx)
