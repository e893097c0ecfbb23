"""3x3 convolutions by Winograd's F(2x2, 3x3), whose output tile is a pool window.

A window of four outputs sees 4x4 pixels of each channel: 36 multiplications directly, 16 here.

    outputs = A' [(G g G') * (B' pixels B)] A        B' = 1  0 -1  0    G = 1    0    0
                                                          0  1  1  0        1/2  1/2  1/2
    A' = 1  1  1  0                                       0 -1  1  0        1/2 -1/2  1/2
         0  1 -1 -1                                       0  1  0 -1        0    0    1

The products of one of the 16 *planes*, summed over the channels, are a matrix product: 4 filters x
3 windows are a tile. The weights are transformed once a step. The gradient of the input goes the
same way back, with the same weights: B [(G g G') * (A d A')] B'.
"""

cdef enum:
    PLANES = 16
    WINDOWS = 3  # of a tile, for 4 filters


cdef inline void spread_filter(
    const real* g, Py_ssize_t step, real* out, Py_ssize_t out_step
) noexcept nogil:
    """out[4] = G g[3]."""
    cdef real outer = (g[0] + g[2 * step]) / 2, inner = g[step] / 2
    out[0] = g[0]
    out[out_step] = outer + inner
    out[2 * out_step] = outer - inner
    out[3 * out_step] = g[2 * step]


cdef void winograd_weights(
    const real[:, :, :, ::1] weight, real[:, :, :, ::1] u, real[:, :, :, ::1] u_back
) noexcept nogil:
    """u (K / 4, 16, C, 4) and, if any, u_back (C / 4, 16, K, 4) = G g G' of each filter."""
    cdef Py_ssize_t k, c, i
    cdef real rows[12]
    cdef real planes[PLANES]
    for k in range(weight.shape[0]):
        for c in range(weight.shape[1]):
            for i in range(3):
                spread_filter(&weight[k, c, 0, i], 3, &rows[i], 3)
            for i in range(4):
                spread_filter(&rows[3 * i], 1, &planes[4 * i], 1)
            for i in range(PLANES):
                u[k // 4, i, c, k % 4] = planes[i]
            for i in range(PLANES if u_back.shape[0] > 0 else 0):
                u_back[c // 4, i, k, c % 4] = planes[i]


cdef inline void pixel_row(vec a, vec b, vec c, vec d, Py_ssize_t step, vec* out) noexcept nogil:
    """out[4, step apart] = B' (a, b, c, d)."""
    out[0] = a - c
    out[step] = b + c
    out[2 * step] = c - b
    out[3 * step] = b - d


cdef inline void pixels_tile(const vec* x, Py_ssize_t W, vec* out, Py_ssize_t step) noexcept nogil:
    """out[16 planes, step apart] = B' pixels B of the 4x4 pixels from x on."""
    cdef int i
    cdef vec t[16]
    for i in range(4):
        pixel_row(x[i], x[W + i], x[2 * W + i], x[3 * W + i], 4, t + i)
    for i in range(4):
        pixel_row(t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3], step, out + 4 * i * step)


cdef inline void product_tile(
    int n, const real* w, const vec* v, Py_ssize_t N, vec* sums
) noexcept nogil:
    """sums[4, n] += the sum over N of w[N, 4] * v[N, n]."""
    cdef int f, j
    cdef Py_ssize_t i = 0
    cdef vec value[3]
    while True:
        for j in range(n):
            value[j] = v[j]
        for f in range(4):
            for j in range(n):
                sums[n * f + j] += w[f] * value[j]
        w += 4
        v += n
        i += 1
        if i == N:
            break


cdef inline void outputs_tile(const vec* m, Py_ssize_t step, vec* out) noexcept nogil:
    """out[4] = A' m A of m[16 planes, step apart]."""
    cdef int i
    cdef vec upper[4]
    cdef vec lower[4]
    for i in range(4):
        upper[i] = m[i * step] + (m[(4 + i) * step] + m[(8 + i) * step])
        lower[i] = m[(4 + i) * step] - m[(8 + i) * step] - m[(12 + i) * step]
    out[0] = upper[0] + (upper[1] + upper[2])
    out[1] = upper[1] - upper[2] - upper[3]
    out[2] = lower[0] + (lower[1] + lower[2])
    out[3] = lower[1] - lower[2] - lower[3]


cdef inline int windows_from(Py_ssize_t w, Py_ssize_t n) noexcept nogil:
    """How many windows to work on together, from w on: threes, if need be two, or one."""
    return 3 if n - w == 3 or n - w > 4 else <int> min(<Py_ssize_t> 2, n - w)


cdef inline void products_of(
    int n, const real[:, :, :, ::1] u, Py_ssize_t tile, const real* bias, const vec* v, vec* m
) noexcept nogil:
    """m[16 planes, 4, n] = those of u (tiles, 16, N, 4) and v[16, N, n]; the bias is in plane 5.

    From there it goes into all four outputs, times 1.
    """
    cdef Py_ssize_t N = u.shape[2]
    cdef int i, j
    cdef vec sums[4 * WINDOWS]
    for i in range(PLANES):
        for j in range(4 * n):
            sums[j] = splat(bias[j // n] if bias != NULL and i == 5 else 0)
        product_tile(n, &u[tile, i, 0, 0], v + i * N * n, N, sums)
        for j in range(4 * n):
            m[4 * n * i + j] = sums[j]


cdef void products(
    int n, const real[:, :, :, ::1] u, Py_ssize_t tile, const real* bias, const vec* v, vec* m
) noexcept nogil:
    if n == 3:
        products_of(3, u, tile, bias, v, m)
    elif n == 2:
        products_of(2, u, tile, bias, v, m)
    else:
        products_of(1, u, tile, bias, v, m)


cdef inline void window_pixels(
    const Filters* filters, Py_ssize_t c, const real* x, vec* pixels
) noexcept nogil:
    """pixels[4, 4] = those of channel c that L windows of one image see, from its phases."""
    cdef const int64_t* seen = filters.tap + 36 * c
    cdef int h, w
    for h in range(4):
        for w in range(4):
            pixels[4 * h + w] = (<const loose*> (
                x + seen[4 * (3 * min(h, 2) + min(w, 2)) + 2 * (h // 3) + w // 3]
            ))[0]


cdef inline void winograd_windows(
    bint pooling, const Filters* filters, const real[:, :, :, ::1] x, vec* v,
    real[:, :, :, ::1] out, real[:, :, :, ::1] winner
) noexcept nogil:
    """As `conv_direct`; v[16, C, 3] is scratch."""
    cdef Py_ssize_t C = filters.T // 9, K = out.shape[0], w = 0, c, k, tile
    cdef Py_ssize_t Q = out.shape[2] if pooling else tiles_of(2, out.shape[2])
    cdef Py_ssize_t windows = (out.shape[1] if pooling else tiles_of(2, out.shape[1])) * Q
    cdef real[:, :, :, ::1] u = view4(filters.u, tiles_of(4, K), PLANES, C, 4)
    cdef const real* bias = <const real*> filters.biases
    cdef int n, i, f
    cdef vec m[PLANES * 4 * WINDOWS]
    cdef vec four[4]
    cdef vec pixels[16]
    while w < windows:
        n = windows_from(w, windows)
        for i in range(n):
            for c in range(C):
                if filters.phases:
                    window_pixels(filters, c, &x[0, 0, w + i, 0], pixels)
                    pixels_tile(pixels, 4, v + c * n + i, C * n)
                    continue
                pixels_tile(
                    <const vec*> &x[c, 2 * ((w + i) // Q), 2 * ((w + i) % Q), 0],
                    x.strides[1] // VECTOR_BYTES, v + c * n + i, C * n
                )
        for tile in range(u.shape[0]):
            products(n, u, tile, bias + 4 * tile, v, m)
            for f in range(<int> min(<Py_ssize_t> 4, K - 4 * tile)):
                for i in range(n):
                    outputs_tile(m + f * n + i, 4 * n, four)
                    k = 4 * tile + f
                    if pooling:
                        pool_tile(
                            False, four, <vec*> &out[k, (w + i) // Q, (w + i) % Q, 0],
                            <vec*> &winner[k, (w + i) // Q, (w + i) % Q, 0]
                        )
                    else:
                        maps_tile(four, filters.least, k, (w + i) // Q, (w + i) % Q, out)
        w += n


cdef inline void gradient_row(vec a, vec b, Py_ssize_t step, vec* out) noexcept nogil:
    """out[4, step apart] = A (a, b), but the last one with the other sign."""
    out[0] = a
    out[step] = a + b
    out[2 * step] = a - b
    out[3 * step] = b


cdef inline void gradients_tile(vec d, vec winner, vec* out, Py_ssize_t step) noexcept nogil:
    """out[16 planes, step apart] = A d A', d at its winner and 0 elsewhere."""
    cdef int i
    cdef vec at[4]
    cdef vec t[8]
    for i in range(4):
        at[i] = where_equal(winner, splat(i), d, splat(0))
    for i in range(2):
        gradient_row(at[i], at[2 + i], 2, t + i)
    for i in range(4):
        gradient_row(t[2 * i], t[2 * i + 1], step, out + 4 * i * step)


cdef inline void dpixel_row(vec a, vec b, vec c, vec d, Py_ssize_t step, vec* out) noexcept nogil:
    """out[4, step apart] = B (a, b, c, d), d with the other sign."""
    out[0] = a
    out[step] = b - c - d
    out[2 * step] = b + c - a
    out[3 * step] = d


cdef inline void dpixels_tile(const vec* m, Py_ssize_t step, vec* dx, Py_ssize_t W) noexcept nogil:
    """The gradient of 4x4 pixels += B m B' of m[16 planes, step apart]."""
    cdef int i, j
    cdef vec t[16]
    cdef vec row[4]
    for i in range(4):
        dpixel_row(
            m[i * step], m[(4 + i) * step], m[(8 + i) * step], m[(12 + i) * step], 4, t + i
        )
    for i in range(4):
        dpixel_row(t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3], 1, row)
        for j in range(4):
            dx[i * W + j] += row[j]


cdef void winograd_backward(
    const real[:, :, :, ::1] d, const real[:, :, :, ::1] winner, const real[:, :, :, ::1] u,
    vec* v, real[:, :, :, ::1] dx
) noexcept nogil:
    """dx (C, H, W, L) += the gradient of x, from d (K, P, Q, L); v[16, K, 3] is scratch.

    A closed window has none, whatever its d; u is that for the way back.
    """
    cdef Py_ssize_t C = dx.shape[0], K = winner.shape[0], Q = winner.shape[2]
    cdef Py_ssize_t windows = winner.shape[1] * Q, w = 0, c, k, tile
    cdef int n, i, f
    cdef vec m[PLANES * 4 * WINDOWS]
    while w < windows:
        n = windows_from(w, windows)
        for i in range(n):
            for k in range(K):
                gradients_tile(
                    (<const vec*> &d[k, (w + i) // Q, (w + i) % Q, 0])[0],
                    (<const vec*> &winner[k, (w + i) // Q, (w + i) % Q, 0])[0], v + k * n + i,
                    K * n
                )
        for tile in range(u.shape[0]):
            products(n, u, tile, NULL, v, m)
            for f in range(<int> min(<Py_ssize_t> 4, C - 4 * tile)):
                for i in range(n):
                    c = 4 * tile + f
                    dpixels_tile(
                        m + n * f + i, 4 * n,
                        <vec*> &dx[c, 2 * ((w + i) // Q), 2 * ((w + i) % Q), 0], dx.shape[2]
                    )
        w += n


cdef inline bint by_winograd(const Operation* op) noexcept nogil:
    """Tell whether a convolution goes this way: with fewer channels, it is no faster."""
    return op.R == 3 and op.S == 3 and op.C >= 4


cdef void convolve(
    const Filters* filters, bint careful, const real[:, :, :, ::1] x, vec* planes,
    real[:, :, :, ::1] out, real[:, :, :, ::1] winner
) noexcept nogil:
    """x (C, H, W, L) -> pooled values and winners (K, P, Q, L); or outputs, without winners.

    Carefully where values may become infinite or NaN on the way: then they spread as they should.
    """
    if careful or filters.u == NULL:
        conv_direct(filters, careful, x, out, winner)
    elif winner.shape[0] > 0:
        winograd_windows(True, filters, x, planes, out, winner)
    else:
        winograd_windows(False, filters, x, planes, out, winner)


cdef void fill_filters(
    const Operation* op, Filters* filters, const real* weight, const real* bias, void* u_back
) noexcept nogil:
    """Bring filters (K, C, R, S) into the form in which `convolve` wants them.

    u_back: what else Winograd wants for the way back, or NULL.
    """
    filters.phases = False
    filters.least = 0 if op.kind == CONV_RELU else -INFINITY
    fill_taps(op, filters)
    fill_tiles(op, filters, FILTERS, weight, bias)
    filters.largest_weight = largest(
        <const vec*> filters.tiles, tiles_of(LANES, padded_outputs(op) * filters.T)
    )
    filters.largest_bias = largest(
        <const vec*> filters.biases, tiles_of(LANES, padded_outputs(op))
    )
    if filters.u != NULL:
        winograd_weights(
            view4(weight, op.K, op.C, 3, 3), view4(filters.u, tiles_of(4, op.K), PLANES, op.C, 4),
            view4(u_back, tiles_of(4, op.C) if u_back != NULL else 0, PLANES, op.K, 4)
        )
