"""The backward pass of a convolution without pool, where every output has a gradient.

The gradient of the filters is that of a first block with more in its rows: see `dweight.pxi`. The
gradient of the input is a convolution, too: of the gradient within a frame of R - 1 rows and S - 1
columns of zeros, with the filters turned by 180 degrees, from K channels to C.
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
    fill_filters(&back, &conv.turned, out, NULL, NULL)


cdef void maps_backward(const Prepared* conv, Slot* slot, Py_ssize_t b) noexcept nogil:
    """The operations CONV and CONV_RELU backward."""
    cdef const Operation* op = &conv.op
    cdef Operation back = turned(op)
    cdef real[:, :, :, ::1] framed, dx
    if conv.index == 0:
        # The images have no gradient, and where nobody needs a row again, the next takes its place.
        framed = view4(slot.maps, op.K, 0, 0, LANES)
        dweight_by_spreading(conv, slot, b, inside(framed, 0, 0, op.P, op.Q))
        return
    framed = view4(slot.maps, op.K, back.H, back.W, LANES)
    dx = maps_of(conv, gradient_of(conv, slot, b))
    dweight_by_spreading(conv, slot, b, inside(framed, back.top, back.left, op.P, op.Q))
    clear_border(&back, <real*> slot.maps)
    convolve(
        &conv.turned, False, inside(framed, op.top, op.left, back.H - op.top, back.W - op.left),
        <vec*> slot.planes, inside(dx, op.top, op.left, op.inner_H, op.inner_W),
        view4(NULL, 0, 0, 0, LANES)
    )
