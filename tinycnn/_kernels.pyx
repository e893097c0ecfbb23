"""The loops of convolution, ReLU and 2x2 max pooling, forward and backward.

Every function fills the arrays it is handed and returns nothing. It trusts shapes, which
``functional.py`` has checked; ``_reference.py`` defines each one in plain NumPy. This file is
compiled for each level of instruction sets; what Python calls is ``_bindings.pyx``, compiled once.

Letters, in names and in loops: N images, C input channels of H x W pixels; K filters of R x S
taps; an output of I x J positions. A pool window has 2 x 2 of those, P x Q windows in all.
"""

from cpython.pycapsule cimport PyCapsule_New
from cython cimport floating
from libc.math cimport INFINITY, exp, expf, fabs, log, sqrt, sqrtf
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


include "_fused/vec.pxi"


cdef void conv2d_forward(
    const real[:, :, :, ::1] x,
    const real[:, :, :, ::1] weight,
    const real[::1] bias,
    real[:, :, :, ::1] out
) noexcept nogil:
    """out[n, k, i, j] = bias[k] + sum of x[n, c, i + r, j + s] * weight[k, c, r, s]."""
    cdef Py_ssize_t n, k, c, r, s, i, j
    cdef real w
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    out[n, k, i, j] = bias[k]
            # One tap after the other over whole rows, so that the innermost loop runs over
            # neighbours in memory and the compiler can use vector instructions.
            for c in range(weight.shape[1]):
                for r in range(weight.shape[2]):
                    for s in range(weight.shape[3]):
                        w = weight[k, c, r, s]
                        for i in range(out.shape[2]):
                            for j in range(out.shape[3]):
                                out[n, k, i, j] += w * x[n, c, i + r, j + s]


cdef void conv2d_backward_weight(
    const real[:, :, :, ::1] x,
    const real[:, :, :, ::1] dout,
    real[:, :, :, ::1] dweight
) noexcept nogil:
    """dweight[k, c, r, s] = sum over n, i, j of x[n, c, i + r, j + s] * dout[n, k, i, j]."""
    cdef Py_ssize_t n, k, c, r, s, i, j
    cdef real row
    cdef double total
    for k in range(dweight.shape[0]):
        for c in range(dweight.shape[1]):
            for r in range(dweight.shape[2]):
                for s in range(dweight.shape[3]):
                    total = 0
                    for n in range(dout.shape[0]):
                        for i in range(dout.shape[2]):
                            row = 0
                            for j in range(dout.shape[3]):
                                row += x[n, c, i + r, j + s] * dout[n, k, i, j]
                            total += row
                    dweight[k, c, r, s] = <real> total


cdef void conv2d_backward_bias(
    const real[:, :, :, ::1] dout, real[::1] dbias
) noexcept nogil:
    """dbias[k] = sum over n, i, j of dout[n, k, i, j]."""
    cdef Py_ssize_t n, k, i, j
    cdef double total
    for k in range(dbias.shape[0]):
        total = 0
        for n in range(dout.shape[0]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    total += dout[n, k, i, j]
        dbias[k] = <real> total


cdef void conv2d_backward_input(
    const real[:, :, :, ::1] weight,
    const real[:, :, :, ::1] dout,
    real[:, :, :, ::1] dx
) noexcept nogil:
    """dx[n, c, h, w] = sum over k, r, s of weight[k, c, r, s] * dout[n, k, h - r, w - s]."""
    cdef Py_ssize_t n, k, c, r, s, i, j
    cdef real w
    for n in range(dx.shape[0]):
        for c in range(dx.shape[1]):
            for i in range(dx.shape[2]):
                for j in range(dx.shape[3]):
                    dx[n, c, i, j] = 0
            for k in range(weight.shape[0]):
                for r in range(weight.shape[2]):
                    for s in range(weight.shape[3]):
                        w = weight[k, c, r, s]
                        for i in range(dout.shape[2]):
                            for j in range(dout.shape[3]):
                                dx[n, c, i + r, j + s] += w * dout[n, k, i, j]


cdef void relu_forward(const real[::1] x, real[::1] out) noexcept nogil:
    """out = max(x, 0), element by element; NaN stays NaN."""
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        # Asked this way round because a comparison with NaN is false: NaN passes through.
        out[i] = 0 if x[i] <= 0 else x[i]


cdef void relu_backward(
    const real[::1] dout, const real[::1] x, real[::1] dx
) noexcept nogil:
    """dx = 0 where x <= 0, else dout: the gradient at exactly 0 is 0, and NaN passes it on."""
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        dx[i] = 0 if x[i] <= 0 else dout[i]


cdef void max_pool2d_forward(
    const real[:, :, :, ::1] x,
    real[:, :, :, ::1] out,
    uint8_t[:, :, :, ::1] winner
) noexcept nogil:
    """out = the largest of each 2x2 window; winner = its place, 0..3 in row-major order.

    The first of equals wins. NaN beats every number, and a later NaN an earlier one.
    """
    cdef Py_ssize_t n, k, p, q
    cdef uint8_t place, best_place
    cdef real value, best
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            for p in range(out.shape[2]):
                for q in range(out.shape[3]):
                    best = x[n, k, 2 * p, 2 * q]
                    best_place = 0
                    for place in range(1, 4):
                        value = x[n, k, 2 * p + place // 2, 2 * q + place % 2]
                        if value > best or value != value:
                            best = value
                            best_place = place
                    out[n, k, p, q] = best
                    winner[n, k, p, q] = best_place


cdef void max_pool2d_backward(
    const real[:, :, :, ::1] dout,
    const uint8_t[:, :, :, ::1] winner,
    real[:, :, :, ::1] dx
) noexcept nogil:
    """dx = dout at the winner of each window, 0 everywhere else."""
    cdef Py_ssize_t n, k, p, q, i, j
    cdef uint8_t place
    for n in range(dx.shape[0]):
        for k in range(dx.shape[1]):
            for i in range(dx.shape[2]):
                for j in range(dx.shape[3]):
                    dx[n, k, i, j] = 0
            for p in range(dout.shape[2]):
                for q in range(dout.shape[3]):
                    place = winner[n, k, p, q] & 3  # whatever another thread writes there
                    dx[n, k, 2 * p + place // 2, 2 * q + place % 2] = dout[n, k, p, q]


# The fast path: several images side by side, a block's layers in one pass, on several threads.
include "_fused/memory.pxi"
include "_fused/pack.pxi"
include "_fused/augment.pxi"
include "_fused/moments.pxi"
include "_fused/conv.pxi"
include "_fused/winograd.pxi"
include "_fused/drop.pxi"
include "_fused/linear.pxi"
include "_fused/single.pxi"
include "_fused/loss.pxi"
include "_fused/dweight.pxi"
include "_fused/maps.pxi"
include "_fused/later.pxi"
include "_fused/operations.pxi"
include "_fused/step.pxi"
include "_fused/descent.pxi"


# What Python gets of all this, in a capsule: see ``_kernels.pxd``.
# In the order of FloatLayers and DoubleLayers, one of which this is.
cdef void** layers = [
    <void*> &conv2d_forward, <void*> &conv2d_backward_weight, <void*> &conv2d_backward_bias,
    <void*> &conv2d_backward_input, <void*> &relu_forward, <void*> &relu_backward,
    <void*> &max_pool2d_forward, <void*> &max_pool2d_backward,
]
cdef Kernels kernels = Kernels(
    vector_bytes=VECTOR_BYTES,
    layers=layers,
    plane_moments=&plane_moments,
    lay_out=&lay_out,
    prepare=&prepare,
    divide=&divide,
    group_forward=&group_forward,
    chunk_gradient=&chunk_gradient,
    add_chunks=&add_chunks,
    sgd_step=&sgd_step,
    adam_step=&adam_step,
)
table = PyCapsule_New(&kernels, TABLE_NAME, NULL)
