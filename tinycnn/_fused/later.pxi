"""The backward pass of a block after the first: image by image, and only what won.

Three of a window's four positions have no gradient, nor has a closed window. With images as lanes
one would go through all of them, because each image has other winners. So here images come one by
one, channels last: (H, W, C). What a row of a filter sees from position (i, j) on is then one
stretch of S * C values, worked on in *runs* of L. The last run of a row may go beyond it: there a
filter is 0, and what is summed is never read.

Both gradients are sums over *winners*: where to look, and how much it counts. That of a filter sums
over the winners of all its windows what these saw. That of the input, where it does not go by
Winograd, sums over the winners of all filters of a window; they see parts of one *patch* of R + 1
by S + 1 positions. Filters stand in *frames* of zeros: seen from the right place on, a frame is a
patch with the filter where its winner is.
"""

cdef enum:
    CACHED_BYTES = 24576  # what stays in the first-level cache while filters pass over it

# Rows of runs: where the first one begins, and how many values it is to the next.
cdef struct Rows:
    real* first
    Py_ssize_t step

# Where n winners look from, and how much they count.
cdef struct Winners:
    real* d
    whole* at
    Py_ssize_t n


cdef inline void runs_tile(
    int R, int N, const Rows* seen, const real* d, const whole* at, Py_ssize_t n, const Rows* out
) noexcept nogil:
    """out[R rows, N runs] += the sum of d * seen[R, N], from where each of n winners looks."""
    cdef int r, i
    cdef Py_ssize_t j = 0, step = seen.step
    cdef vec sums[24]
    cdef const real* x
    for r in range(R * N):
        sums[r] = splat(0)
    while True:
        x = seen.first + at[j]
        for r in range(R):
            for i in range(N):
                sums[r * N + i] += d[j] * (<const loose*> (x + r * step))[i]
        j += 1
        if j == n:
            break
    for r in range(R):  # one after the other: a run's end may be the next row's beginning
        for i in range(N):
            (<loose*> (out.first + r * out.step))[i] += sums[r * N + i]


cdef inline void run_rows(
    int R, int N, Py_ssize_t rows, const Rows* seen, const Winners* winners, const Rows* out
) noexcept nogil:
    """All rows of N runs each, R at a time as long as there are so many."""
    cdef Rows x = seen[0], y = out[0]
    while rows >= R:
        runs_tile(R, N, &x, winners.d, winners.at, winners.n, &y)
        x.first += R * x.step
        y.first += R * y.step
        rows -= R
    if R > 3 and rows == 3:
        runs_tile(3, N, &x, winners.d, winners.at, winners.n, &y)
    elif R > 2 and rows == 2:
        runs_tile(2, N, &x, winners.d, winners.at, winners.n, &y)
    elif R > 1 and rows == 1:
        runs_tile(1, N, &x, winners.d, winners.at, winners.n, &y)


cdef void add_runs(
    Py_ssize_t rows, Py_ssize_t runs, Rows seen, const Winners* winners, Rows out
) noexcept nogil:
    """out[rows, runs] += the sum of d * seen, over some winners."""
    cdef Py_ssize_t width
    while runs > 0:
        width = 12 if runs >= 12 else min(runs, <Py_ssize_t> 6)
        if width == 12:
            run_rows(2 if MANY_REGISTERS else 1, 12, rows, &seen, winners, &out)
        elif width == 6:
            run_rows(4 if MANY_REGISTERS else 2, 6, rows, &seen, winners, &out)
        elif width == 5:
            run_rows(4 if MANY_REGISTERS else 2, 5, rows, &seen, winners, &out)
        elif width == 4:
            run_rows(4 if MANY_REGISTERS else 3, 4, rows, &seen, winners, &out)
        elif width == 3:
            run_rows(4, 3, rows, &seen, winners, &out)
        elif width == 2:
            run_rows(4, 2, rows, &seen, winners, &out)
        else:
            run_rows(4, 1, rows, &seen, winners, &out)
        runs -= width
        seen.first += width * LANES
        out.first += width * LANES


cdef inline Py_ssize_t next_value(Py_ssize_t at, Py_ssize_t size, Py_ssize_t n) noexcept nogil:
    """From one of n values (C, size) to the next one in the order of (size, C); the last stays."""
    at += size
    return at if at < n else min(at - n + 1, n - 1)


cdef void lanes_to_images(
    const real* lanes, Py_ssize_t size, Py_ssize_t n, real[:, ::1] images
) noexcept nogil:
    """lanes (C, size, L) -> images (L, size, C) of n values each, in groups of L.

    What the last group has too many goes where nobody reads.
    """
    cdef Py_ssize_t i, at = 0
    cdef int l
    cdef vec a[LANES]
    for i in range(tiles_of(LANES, n)):
        for l in range(LANES):
            a[l] = (<const vec*> lanes)[at]
            at = next_value(at, size, n)
        transpose(a)
        for l in range(LANES):
            (<loose*> &images[l, i * LANES])[0] = a[l]


cdef void images_to_lanes(
    const real[:, ::1] images, Py_ssize_t size, Py_ssize_t n, real* lanes
) noexcept nogil:
    """images (L, size, C) -> lanes (C, size, L): the way back."""
    cdef Py_ssize_t i, at = 0
    cdef int l
    cdef vec a[LANES]
    for i in range(tiles_of(LANES, n)):
        for l in range(LANES):
            a[l] = (<const loose*> &images[l, i * LANES])[0]
        transpose(a)
        for l in range(min(LANES, n - i * LANES)):
            (<vec*> lanes)[at] = a[l]
            at = next_value(at, size, n)


cdef inline void store_winners(
    vec* lanes, real[:, :, ::1] winners, int kinds, Py_ssize_t n
) noexcept nogil:
    """winners[kinds, L images, n : n + L] = the transpose of lanes[kinds, L winners, L]."""
    cdef int i, l
    for i in range(kinds):
        transpose(lanes + i * LANES)
        for l in range(LANES):
            (<vec*> &winners[i, l, n])[0] = lanes[i * LANES + l]


cdef void spread_winners(
    const Prepared* block, const real[:, :, :, ::1] winner, const real[:, :, :, ::1] d,
    real[:, :, ::1] winners, real[:, ::1] dbias
) noexcept nogil:
    """winners (3, L, K * P * Q) = how much each one counts, and where it looks: in its image, and
    in frames. dbias (K, L) += the former. Closed windows count nothing.
    """
    cdef Py_ssize_t C = block.op.C, row = block.op.W * C, frame = frame_row(block)
    cdef Py_ssize_t k, p, q, n = 0
    cdef int i = 0
    cdef int kinds = 2 if by_winograd(&block.op) else 3
    cdef vec value[3 * LANES]
    cdef wholes* seen = <wholes*> (value + LANES)
    cdef wholes* framed = seen + LANES
    cdef vec place, total
    for k in range(winner.shape[0]):
        total = splat(0)
        for p in range(winner.shape[1]):
            for q in range(winner.shape[2]):
                place = (<const vec*> &winner[k, p, q, 0])[0]
                value[i] = where_greater(
                    splat(0), place, splat(0), (<const vec*> &d[k, p, q, 0])[0]
                )
                total += value[i]
                seen[i] = place_of(place, 2 * (p * row + q * C), C, row)
                framed[i] = place_of(place, k * frame_size(block) + C + frame, -C, -frame)
                i += 1
                if i == LANES:
                    store_winners(value, winners, kinds, n)
                    n += LANES
                    i = 0
        (<vec*> &dbias[k, 0])[0] += total
    if i > 0:
        store_winners(value, winners, kinds, n)


cdef inline void note_winners(
    const real* d, const whole* at, Py_ssize_t step, Py_ssize_t count, whole origin, Winners* to
) noexcept nogil:
    """Append those of `count` winners, step apart, that count anything."""
    cdef Py_ssize_t i, n = to.n
    for i in range(count):
        to.d[n] = d[i * step]
        to.at[n] = at[i * step] + origin
        n += (<const whole*> d)[i * step] != 0
    to.n = n


cdef void later_filters(
    const Prepared* block, real[:, ::1] images, const real[:, :, ::1] winners, real[:, ::1] noted,
    real[:, :, ::1] dw
) noexcept nogil:
    """dw (K, R, runs * L) += the gradients of the filters.

    All filters go over a few images, which stay in the first-level cache.
    """
    cdef Py_ssize_t C = block.op.C, windows = block.op.P * block.op.Q, step = images.shape[1]
    cdef Py_ssize_t image_bytes = step * sizeof(real), first = 0, k, l
    cdef Py_ssize_t together = max(CACHED_BYTES // image_bytes, <Py_ssize_t> 1)
    cdef Rows seen, out
    cdef Winners some
    seen.step = block.op.W * C
    out.step = dw.shape[2]
    while first < LANES:
        seen.first = &images[first, 0]
        for k in range(dw.shape[0]):
            some = Winners(&noted[0, 0], <whole*> &noted[1, 0], 0)
            for l in range(first, min(first + together, <Py_ssize_t> LANES)):
                note_winners(
                    &winners[0, l, k * windows], <const whole*> &winners[1, l, k * windows], 1,
                    windows, (l - first) * step, &some
                )
            out.first = &dw[k, 0, 0]
            if some.n > 0:
                add_runs(block.op.R, dw.shape[2] // LANES, seen, &some, out)
        first += together


cdef void read_filters(const Prepared* block, const Slot* slot, real* dweight) noexcept nogil:
    """dw (K, R, runs * L) -> dweight (K, C, R, S)."""
    cdef Py_ssize_t C = block.op.C, R = block.op.R, S = block.op.S, k, c, r, s
    cdef const real* dw = <const real*> (slot.sums + block.dw_at)
    cdef Py_ssize_t row = round_up(S * C, LANES)
    for k in range(block.op.K):
        for c in range(C):
            for r in range(R):
                for s in range(S):
                    dweight[((k * C + c) * R + r) * S + s] = dw[(k * R + r) * row + s * C + c]


cdef Py_ssize_t frame_row(const Prepared* block) noexcept nogil:
    """Values of a row of a frame, which is as wide as one of a patch."""
    return round_up((block.op.S + 1) * block.op.C, LANES)


cdef Py_ssize_t frame_size(const Prepared* block) noexcept nogil:
    """Values of a frame: C zeros, and R + 2 rows."""
    return block.op.C + (block.op.R + 2) * frame_row(block)


cdef void fill_frames(const Prepared* block, const real* flat) noexcept nogil:
    """Copy the filters (K, C, R, S) into frames, from their second row on."""
    cdef Py_ssize_t C = block.op.C, R = block.op.R, S = block.op.S, k, c, r, s
    cdef const real* weight = flat + block.op.weight_at
    cdef real* frame = <real*> block.frames
    fill_zero(frame, block.op.K * frame_size(block))
    for k in range(block.op.K):
        for c in range(C):
            for r in range(R):
                for s in range(S):
                    frame[C + (r + 1) * frame_row(block) + s * C + c] = weight[0]
                    weight += 1
        frame += frame_size(block)


cdef void later_input(
    const Prepared* block, const real[:, :, ::1] winners, real[:, ::1] noted, real[:, ::1] dimages
) noexcept nogil:
    """dimages (L, H * W * C) += the gradients of the inputs, patch by patch."""
    cdef Py_ssize_t C = block.op.C, Q = block.op.Q, windows = block.op.P * Q, w, l
    cdef Py_ssize_t runs = frame_row(block) // LANES
    cdef Rows seen, out
    cdef Winners some
    seen.first = <real*> block.frames
    seen.step = frame_row(block)
    out.step = block.op.W * C
    for w in range(windows):
        for l in range(LANES):
            some = Winners(&noted[0, 0], <whole*> &noted[1, 0], 0)
            note_winners(
                &winners[0, l, w], <const whole*> &winners[2, l, w], windows, block.op.K, 0, &some
            )
            out.first = &dimages[l, 2 * (w // Q * block.op.W + w % Q) * C]
            if some.n > 0:
                add_runs(block.op.R + 1, runs, seen, &some, out)


cdef void later_backward(const Prepared* block, Slot* slot, Py_ssize_t b) noexcept nogil:
    """The operation BLOCK backward, after the first one."""
    cdef const Operation* op = &block.op
    cdef Py_ssize_t size = op.H * op.W, k
    cdef real[:, :, :, ::1] x = maps_of(block, input_of(block, slot, b))
    cdef real[:, :, :, ::1] dx = maps_of(block, gradient_of(block, slot, b))
    cdef real[:, :, :, ::1] winner = winners(block, slot, b)
    cdef real[:, :, :, ::1] d = view4(slot.maps, op.K, op.P, op.Q, LANES)
    cdef real[:, :, ::1] spread = view3(slot.winners, 3, LANES, padded_maps(block))
    cdef real[:, ::1] noted = view2(slot.noted, 2, noted_size(block))
    cdef real[:, ::1] images = view2(slot.images, LANES, padded_image(block))
    for k in range(op.K):
        read_gradient(block, slot, b, k, 0, op.P, <vec*> &d[k, 0, 0, 0])
    spread_winners(block, winner, d, spread, dbias_of(block, slot))
    lanes_to_images(&x[0, 0, 0, 0], size, size * op.C, images)
    later_filters(
        block, images, spread, noted,
        view3(slot.sums + block.dw_at, op.K, op.R, round_up(op.S * op.C, LANES))
    )
    if by_winograd(&block.op):
        fill_zero(&dx[0, 0, 0, 0], op.C * size * LANES)
        winograd_backward(
            d, winner, view4(block.u_back, tiles_of(4, op.C), PLANES, op.K, 4),
            <vec*> slot.planes, dx
        )
    else:
        fill_zero(&images[0, 0], LANES * padded_image(block))
        later_input(block, spread, noted, images)
        images_to_lanes(images, size, size * op.C, &dx[0, 0, 0, 0])
