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


cdef Py_ssize_t filter_runs(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Runs of a filter, rounded up to whole tiles."""
    return round_up(block.op.R * runs_of(block.op.S * block.op.C, L), RUN_TILE)


cdef Py_ssize_t patch_runs(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Runs of a patch, rounded up to whole tiles."""
    return round_up((block.op.R + 1) * runs_of((block.op.S + 1) * block.op.C, L), RUN_TILE)


cdef inline Py_ssize_t copies(const Prepared* block, Py_ssize_t L) noexcept nogil:
    return 2 if block.op.C % L else 1


cdef inline Py_ssize_t frame_row(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Values of a row of a frame, which is as wide as one of a patch."""
    return runs_of((block.op.S + 1) * block.op.C, L) * L


cdef inline Py_ssize_t frame_margin(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Zeros before a frame: a filter moves to the right where one looks at it from there on."""
    return block.op.C if copies(block, L) == 1 else 0


cdef inline Py_ssize_t frame_size(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Values of a frame: its margin, R + 2 rows, and zeros up to a whole tile."""
    return frame_margin(block, L) + (block.op.R + 2) * frame_row(block, L) + (RUN_TILE - 1) * L


cdef Py_ssize_t padded_image(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Values from one image to the next: runs, and groups of 8 values, may go beyond an image."""
    return round_up(block.op.H * block.op.W * block.op.C, L) + max(L, <Py_ssize_t> 8)


cdef Py_ssize_t padded_maps(const Prepared* block) noexcept nogil:
    """Values of the maps (P, Q, K) of an image, up to the next one's."""
    return round_up(block.op.P * block.op.Q * block.op.K, 8)


cdef void fill_run_offsets(
    Py_ssize_t rows, Py_ssize_t width, Py_ssize_t step, Py_ssize_t L, Py_ssize_t padded,
    int64_t* offset
) noexcept nogil:
    """Offsets of the runs of rows that are step apart; the last one again up to a whole tile."""
    cdef Py_ssize_t i, n = runs_of(width, L), last = rows * n - 1
    for i in range(padded):
        offset[i] = min(i, last) // n * step + min(i, last) % n * L


cdef void fill_runs(Prepared* block, Py_ssize_t L) noexcept nogil:
    """Compute where the windows begin in an image, and the runs of a filter and of a patch."""
    cdef Py_ssize_t C = block.op.C, row = block.op.W * C, seen = block.op.S * C, patch = seen + C
    cdef Py_ssize_t n = patch_runs(block, L), p, q
    for p in range(block.op.P):
        for q in range(block.op.Q):
            block.window[p * block.op.Q + q] = 2 * (p * block.op.W + q) * block.op.C
    fill_run_offsets(block.op.R, seen, row, L, filter_runs(block, L), block.run)
    fill_run_offsets(block.op.R + 1, patch, row, L, n, block.patch_run)


cdef void fill_frames(Prepared* block, const floating* weight) noexcept nogil:
    """Copy the filters (K, C, R, S) into frames (K, copies, R + 2, row), from their second row on.

    In the second copy they stand C values to the right.
    """
    cdef Py_ssize_t k, c, r, s, at, L = VECTOR_BYTES // sizeof(floating), n = copies(block, L)
    cdef Py_ssize_t row = frame_row(block, L), size = frame_size(block, L)
    cdef floating* frame = <floating*> block.frames
    fill_zero(frame, block.op.K * n * size)
    for k in range(block.op.K):
        for c in range(block.op.C):
            for r in range(block.op.R):
                for s in range(block.op.S):
                    at = (r + 1) * row + s * block.op.C + c
                    frame[frame_margin(block, L) + at] = weight[0]
                    if n == 2:
                        frame[size + block.op.C + at] = weight[0]
                    weight += 1
        frame += n * size


cdef void read_runs(const Prepared* block, const floating* dw, floating* dweight) noexcept nogil:
    """dw (K, runs, L) -> dweight (K, C, R, S)."""
    cdef Py_ssize_t k, c, r, s, L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t row = runs_of(block.op.S * block.op.C, L) * L
    for k in range(block.op.K):
        for c in range(block.op.C):
            for r in range(block.op.R):
                for s in range(block.op.S):
                    dweight[0] = dw[r * row + s * block.op.C + c]
                    dweight += 1
        dw += filter_runs(block, L) * L


cdef void locate_seen(
    const Prepared* block, const floating* winner, int32_t right, int32_t* at
) noexcept nogil:
    """at (P, Q, K) = where the values begin in an image that the winner saw.

    That of a closed window counts as the first; its gradient is 0.
    """
    cdef Py_ssize_t n, k, K = block.op.K
    cdef int32_t down = block.op.W * block.op.C, window, row, column
    cdef floating place
    for n in range(block.op.P * block.op.Q):
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


# Some images, step values apart, and their maps of windows * K values: `last` is where those of a
# filter end.
cdef struct SeenImages:
    Py_ssize_t n, step, maps, K, last

# Frames of some filters, size values apart, and where the n windows of an image begin.
cdef struct Patches:
    Py_ssize_t size, filters, n, K
    const int64_t* window


cdef void dweight_runs6(
    const SeenImages* images, const floating* x, const int64_t* run, const int32_t* at,
    const floating* d, floating* dw
) noexcept nogil:
    """dw[6 runs, L] += d * what the winners of a filter saw in some images.

    at and d are (images, maps), of which (windows, K) are used, from the filter on.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, j, l, o
    cdef Py_ssize_t step = images.step, maps = images.maps, K = images.K, last = images.last
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
    for j in range(images.n):
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
            if i == last:
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
    const SeenImages* images, const floating* x, const int64_t* run, const int32_t* at,
    const floating* d, floating* dw
) noexcept nogil:
    """The same for the last 3 runs."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, j, l, o
    cdef Py_ssize_t step = images.step, maps = images.maps, K = images.K, last = images.last
    cdef floating acc[3 * MAX_LANES]
    cdef floating value
    cdef const floating* y0
    cdef const floating* y1
    cdef const floating* y2
    fill3(acc, 0)
    y0 = x + run[0]
    y1 = x + run[1]
    y2 = x + run[2]
    for j in range(images.n):
        i = 0
        while True:
            value = d[i]
            o = at[i]
            for l in range(L):
                acc[l] += value * y0[o + l]
                acc[l + L] += value * y1[o + l]
                acc[l + 2 * L] += value * y2[o + l]
            i += K
            if i == last:
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
    const Patches* patches, const floating* frames, const int64_t* run, const int32_t* at,
    const floating* d, floating* dx
) noexcept nogil:
    """9 runs of the patches of n windows, in one image: dx += d * the frames of some filters.

    at and d are (n, K), from the first of the filters on.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, k, l
    cdef Py_ssize_t size = patches.size, filters = patches.filters, K = patches.K
    cdef const int64_t* window = patches.window
    cdef floating acc[9 * MAX_LANES]
    cdef floating value
    cdef const floating* w
    cdef const floating* frame
    for i in range(patches.n):
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
    const Patches* patches, const floating* frames, const int64_t* run, const int32_t* at,
    const floating* d, floating* dx
) noexcept nogil:
    """The same for the last 3 runs."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i, k, l
    cdef Py_ssize_t size = patches.size, filters = patches.filters, K = patches.K
    cdef const int64_t* window = patches.window
    cdef floating acc[3 * MAX_LANES]
    cdef floating value
    cdef const floating* w
    cdef const floating* frame
    for i in range(patches.n):
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
    const Prepared* block, const Slot* slot, const floating* dmaps, Py_ssize_t first, Py_ssize_t n
) noexcept nogil:
    """The slot's dw (K, runs, L) += the gradients of the filters from n images, from the first on.

    While all filters pass over them, they stay in the first-level cache. dmaps are the slot's.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), runs = filter_runs(block, L), k, i
    cdef SeenImages images = SeenImages(
        n=n, step=copies(block, L) * padded_image(block, L), maps=padded_maps(block),
        K=block.op.K, last=block.op.P * block.op.Q * block.op.K
    )
    cdef const floating* x = <const floating*> slot.images + first * images.step
    cdef const int32_t* at = slot.seen_at + first * images.maps
    cdef const floating* d = dmaps + first * images.maps
    cdef floating* dw = <floating*> slot.dw[block.index]
    for k in range(block.op.K):
        i = 0
        while runs - i >= 6:
            dweight_runs6(&images, x, block.run + i, at + k, d + k, dw + i * L)
            i += 6
        if i < runs:
            dweight_runs3(&images, x, block.run + i, at + k, d + k, dw + i * L)
        dw += runs * L


cdef void patches_gradient(
    const Prepared* block, const Slot* slot, const floating* dmaps, Py_ssize_t run, Py_ssize_t k
) noexcept nogil:
    """The images' gradients += what some filters, from k on, bring to a tile of patches' runs.

    All images after each other, while these parts of these filters stay in the cache. dmaps are
    the slot's.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), i
    cdef Patches patches = Patches(
        size=copies(block, L) * frame_size(block, L),
        filters=min(<Py_ssize_t> FILTER_GROUP, block.op.K - k), n=block.op.P * block.op.Q,
        K=block.op.K, window=block.window
    )
    cdef const floating* frames = <const floating*> block.frames + k * patches.size + run * L
    cdef const int32_t* at = slot.framed_at + k
    cdef const int64_t* runs = block.patch_run + run
    cdef const floating* d = dmaps + k
    cdef floating* dx = <floating*> slot.dimages
    for i in range(L):
        if patch_runs(block, L) - run >= 9:
            patch_runs9(&patches, frames, runs, at, d, dx)
        else:
            patch_runs3(&patches, frames, runs, at, d, dx)
        at += padded_maps(block)
        d += padded_maps(block)
        dx += padded_image(block, L)


cdef void spread_images(
    const Prepared* block, const Slot* slot, const floating* x, const floating* winner,
    const floating* d
) noexcept nogil:
    """Put the block's inputs (C, H, W, L), winners and gradients (K, P, Q, L) image by image."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), step = padded_image(block, L), l
    cdef Py_ssize_t size = block.op.H * block.op.W, windows = block.op.P * block.op.Q
    cdef Py_ssize_t n = copies(block, L), maps = padded_maps(block)
    cdef floating* places = <floating*> slot.winners
    split_lanes(x, size, size * block.op.C, n * step, <floating*> slot.images)
    if n == 2:
        copy_images(size * block.op.C, block.op.C, step, <floating*> slot.images)
    split_lanes(d, windows, windows * block.op.K, maps, <floating*> slot.dmaps)
    split_lanes(winner, windows, windows * block.op.K, maps, places)
    for l in range(L):
        locate_seen(
            block, places + l * maps, step if n == 2 else block.op.C, slot.seen_at + l * maps
        )
    locate_framed(
        places, L * maps, frame_row(block, L), frame_margin(block, L),
        frame_size(block, L) if n == 2 else 0, slot.framed_at
    )


cdef void join_inside(
    const Prepared* block, const floating* images, floating* dx
) noexcept nogil:
    """images (L, H, W, C) -> dx (C, inner_H, inner_W, L): nobody learns from a border."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), step = padded_image(block, L), h
    cdef Py_ssize_t C = block.op.C, W = block.op.inner_W
    cdef Maps maps = Maps(size=block.op.inner_H * W, n=block.op.inner_H * W * C)
    if not has_border(&block.op):
        join_lanes(images, step, &maps, 0, maps.n, dx)
        return
    images += (block.op.top * block.op.W + block.op.left) * C
    for h in range(block.op.inner_H):
        join_lanes(images, step, &maps, h * W, W * C, dx)
        images += block.op.W * C


cdef void later_block_backward(
    const Prepared* block, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation BLOCK backward, where another one comes before it.

    The slot's dw (K, runs, L) and dbias (K, L) += the gradients of one lane block.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), step = padded_image(block, L), k
    cdef Py_ssize_t windows = block.op.P * block.op.Q, K = block.op.K, i = block.index
    cdef Py_ssize_t image_bytes = copies(block, L) * step * sizeof(floating), first = 0, run = 0
    cdef Py_ssize_t n = min(max(CACHED_BYTES // image_bytes, <Py_ssize_t> 1), L)
    cdef const floating* winner = <const floating*> winner_of(slot, i, b)
    cdef floating* d = <floating*> slot.lanes
    for k in range(K):
        read_gradient(&slot.dout, flat, k * windows, windows, d + k * windows * L)
        close_and_sum(
            winner + k * windows * L, windows, d + k * windows * L,
            <floating*> slot.dbias[i] + k * L
        )
    spread_images(block, slot, <const floating*> input_of(slot, i, b), winner, d)
    while first < L:
        filters_gradient(block, slot, <floating*> slot.dmaps, first, min(n, L - first))
        first += n
    fill_zero(<floating*> slot.dimages, L * step)
    while run < patch_runs(block, L):
        for k in range((K + FILTER_GROUP - 1) // FILTER_GROUP):
            patches_gradient(block, slot, <floating*> slot.dmaps, run, k * FILTER_GROUP)
        run += 9 if patch_runs(block, L) - run >= 9 else 3
    join_inside(block, <const floating*> slot.dimages, <floating*> gradient_of(slot, i, b))
    slot.dout = Source(values=gradient_of(slot, i, b), linear=NULL, dlinear=NULL)
