"""The backward pass of a convolution without pool, where every output has a gradient.

The gradient of the filters is summed as that of a first block: its rows of windows take what is
there instead of what the winners get. The gradient of the input is a convolution, too: of the
gradient within a frame of R - 1 rows and S - 1 columns of zeros, with the filters turned by 180
degrees, from K channels to C.
"""


cdef Operation turned(const Operation* op) noexcept nogil:
    """The convolution of the gradient. It gives the inside of the input, from `top`, `left` on."""
    cdef Operation back = op[0]
    back.kind = CONV
    back.C, back.K = op.K, op.C
    back.inner_H, back.inner_W = op.P, op.Q
    back.top, back.left = op.R - 1, op.S - 1
    back.H, back.W = op.H + op.R, op.W + op.S  # with one more for an odd size
    back.P, back.Q = op.inner_H, op.inner_W
    return back


cdef void fill_turned(Prepared* conv, const real* weight) noexcept nogil:
    """Turn the filters (K, C, R, S) around, where there is a gradient to go back."""
    cdef Py_ssize_t C = conv.op.C, K = conv.op.K, taps = conv.op.R * conv.op.S, k, c, t
    cdef Operation back = turned(&conv.op)
    cdef real* out = <real*> conv.turned_weight
    if conv.index == 0:
        return
    for k in range(K):
        for c in range(C):
            for t in range(taps):
                out[(c * K + k) * taps + taps - 1 - t] = weight[(k * C + c) * taps + t]
    fill_filters(&back, &conv.turned, out, NULL)


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


cdef void maps_filters(
    const Prepared* conv, const Slot* slot, Py_ssize_t b, real[:, :, :, ::1] d
) noexcept nogil:
    """d (K, P, Q, L) = the gradient; the slot's dw and dbias += those of lane block b."""
    cdef const Operation* op = &conv.op
    cdef Py_ssize_t i = conv.index, p, k, f, h, tile
    cdef bint relu = op.kind == CONV_RELU
    cdef real[:, :, :, ::1] x = view4(input_of(slot, i, b), op.C, op.H, op.W, LANES)
    cdef real[:, :, :, ::1] out = inside(
        input_of(slot, i + 1, b), op.K, op.P, op.Q, conv.out_H, conv.out_W, conv.out_top,
        conv.out_left
    )
    cdef real[:, :, :, ::1] rows = view4(slot.rows, 4, 4, tiles_of(2, op.Q), LANES)
    cdef real[:, :, ::1] dw = view3(slot.dw[i], padded_filters(op), padded_taps(op), LANES)
    cdef real[:, ::1] dbias = view2(slot.dbias[i], op.K, LANES)
    for p in range(tiles_of(2, op.P)):
        for tile in range(tiles_of(4, op.K)):
            k = 4 * tile
            for f in range(min(<Py_ssize_t> 4, op.K - k)):
                for h in range(2 * p, min(2 * p + 2, op.P)):
                    read_gradient(slot, op, k + f, h, 1, <vec*> &d[k + f, h, 0, 0])
                    dense_row(
                        relu, <const vec*> &out[k + f, h, 0, 0], <vec*> &d[k + f, h, 0, 0], op.Q,
                        <vec*> &rows[f, h % 2 * 2, 0, 0], <vec*> &rows[f, h % 2 * 2 + 1, 0, 0],
                        <vec*> &dbias[k + f, 0]
                    )
                if 2 * p + 1 == op.P:
                    fill_zero(&rows[f, 2, 0, 0], 2 * rows.shape[2] * LANES)
            if op.K - k > 2:
                spread_taps(4, conv, <const vec*> &x[0, 2 * p, 0, 0], rows, dw, k)
            else:
                spread_taps(2, conv, <const vec*> &x[0, 2 * p, 0, 0], rows, dw, k)


cdef void maps_backward(const Prepared* conv, Slot* slot, Py_ssize_t b) noexcept nogil:
    """The operations CONV and CONV_RELU backward."""
    cdef const Operation* op = &conv.op
    cdef Operation back = turned(op)
    cdef Py_ssize_t i = conv.index
    # Of the first one, nobody needs the gradient again: its rows take each other's place.
    cdef Py_ssize_t width = back.W if i > 0 else 0
    maps_filters(
        conv, slot, b,
        inside(slot.maps, op.K, op.P, op.Q, back.H, width, back.top, back.left)
    )
    if i == 0:
        return
    clear_border(&back, <real*> slot.maps)
    convolve(
        &conv.turned, False,
        inside(
            slot.maps, op.K, back.H - op.top, back.W - op.left, back.H, back.W, op.top, op.left
        ),
        <vec*> slot.planes,
        inside(gradient_of(slot, i, b), op.C, op.inner_H, op.inner_W, op.H, op.W, op.top, op.left),
        view4(NULL, 0, 0, 0, LANES)
    )
    slot.dout = Source(values=gradient_of(slot, i, b), next=conv, dlinear=NULL)
