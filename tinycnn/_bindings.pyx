"""What Python calls: it takes arrays apart and calls the kernels, which know nothing of Python.

The loops are in ``_kernels.pyx``, compiled for each level of instruction sets. This file, compiled
once, reaches the build that ``fast/dispatch.py`` picked by a table of its functions. The single
layers fill the arrays they are handed and trust their shapes, which ``functional.py`` has checked.
The fast path checks here whatever says how much memory is read or written, but for the rows of a
plan, which ``fast/plan.py`` checks where it makes them.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_ND,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.float cimport DBL_MIN
from libc.math cimport fabs
from libc.stdint cimport int8_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from tinycnn._checks import require_memory

from tinycnn._kernels cimport (
    BYTES,
    Descent,
    DoubleLayers,
    FloatLayers,
    FLOATS,
    DOUBLES,
    Images as ImageFields,
    Job,
    Kernels,
    LINEAR,
    MAX_OPERATIONS,
    Network,
    Operation,
    PixelKind,
    Prepared,
    TABLE_NAME,
    TaskFunction,
)

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    ALIGNMENT = 64  # a cache line, and the widest vector register
    # Tasks that a batch is cut into at most. Fixed, so that the order of sums is, too.
    MAX_CHUNKS = 16
    # Memory of more than this is not kept from one call to the next.
    SPARE_BYTES = 16777216

# For float32, and for float64.
cdef const Kernels* kernels = NULL
cdef const Kernels* double_kernels = NULL


def use(table, double_table, /):
    """Call the functions of these tables from now on: of builds for float32 and for float64.

    ValueError if one was compiled from other sources than this module.
    """
    global kernels, double_kernels
    cdef const Kernels* found = <const Kernels*> PyCapsule_GetPointer(table, TABLE_NAME)
    double_kernels = <const Kernels*> PyCapsule_GetPointer(double_table, TABLE_NAME)
    kernels = found


cdef inline const Kernels* kernels_of(Py_ssize_t item) noexcept nogil:
    """The functions for floats of `item` bytes."""
    return kernels if item == sizeof(float) else double_kernels


def conv2d_forward(
    const floating[:, :, :, ::1] x not None, const floating[:, :, :, ::1] weight not None,
    const floating[::1] bias not None, floating[:, :, :, ::1] out not None, /
):
    """out[n, k, i, j] = bias[k] + sum of x[n, c, i + r, j + s] * weight[k, c, r, s]."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).conv2d_forward(x, weight, bias, out)
        else:
            (<const DoubleLayers*> double_kernels.layers).conv2d_forward(x, weight, bias, out)


def conv2d_backward_weight(
    const floating[:, :, :, ::1] x not None, const floating[:, :, :, ::1] dout not None,
    floating[:, :, :, ::1] dweight not None, /
):
    """dweight[k, c, r, s] = sum over n, i, j of x[n, c, i + r, j + s] * dout[n, k, i, j]."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).conv2d_backward_weight(x, dout, dweight)
        else:
            (<const DoubleLayers*> double_kernels.layers).conv2d_backward_weight(x, dout, dweight)


def conv2d_backward_bias(
    const floating[:, :, :, ::1] dout not None, floating[::1] dbias not None, /
):
    """dbias[k] = sum over n, i, j of dout[n, k, i, j]."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).conv2d_backward_bias(dout, dbias)
        else:
            (<const DoubleLayers*> double_kernels.layers).conv2d_backward_bias(dout, dbias)


def conv2d_backward_input(
    const floating[:, :, :, ::1] weight not None, const floating[:, :, :, ::1] dout not None,
    floating[:, :, :, ::1] dx not None, /
):
    """dx[n, c, h, w] = sum over k, r, s of weight[k, c, r, s] * dout[n, k, h - r, w - s]."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).conv2d_backward_input(weight, dout, dx)
        else:
            (<const DoubleLayers*> double_kernels.layers).conv2d_backward_input(weight, dout, dx)


def relu_forward(const floating[::1] x not None, floating[::1] out not None, /):
    """out = max(x, 0), element by element; NaN stays NaN."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).relu_forward(x, out)
        else:
            (<const DoubleLayers*> double_kernels.layers).relu_forward(x, out)


def relu_backward(
    const floating[::1] dout not None, const floating[::1] x not None, floating[::1] dx not None, /
):
    """dx = 0 where x <= 0, else dout: the gradient at exactly 0 is 0, and NaN passes it on."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).relu_backward(dout, x, dx)
        else:
            (<const DoubleLayers*> double_kernels.layers).relu_backward(dout, x, dx)


def max_pool2d_forward(
    const floating[:, :, :, ::1] x not None, floating[:, :, :, ::1] out not None,
    uint8_t[:, :, :, ::1] winner not None, /
):
    """out = the largest of each 2x2 window; winner = its place, 0..3 in row-major order.

    The first of equals wins. NaN beats every number, and a later NaN an earlier one.
    """
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).max_pool2d_forward(x, out, winner)
        else:
            (<const DoubleLayers*> double_kernels.layers).max_pool2d_forward(x, out, winner)


def max_pool2d_backward(
    const floating[:, :, :, ::1] dout not None, const uint8_t[:, :, :, ::1] winner not None,
    floating[:, :, :, ::1] dx not None, /
):
    """dx = dout at the winner of each window, 0 everywhere else."""
    with nogil:
        if floating is float:
            (<const FloatLayers*> kernels.layers).max_pool2d_backward(dout, winner, dx)
        else:
            (<const DoubleLayers*> double_kernels.layers).max_pool2d_backward(dout, winner, dx)


# The fast path.


def lane_count(Py_ssize_t itemsize):
    """Return how many images with values of itemsize bytes lie side by side."""
    return kernels.vector_bytes // itemsize


def plane_moments(
    const uint8_t[::1] images not None, int kind, Py_ssize_t n, double[::1] mean not None,
    double[::1] squares not None, /
):
    """mean[i] = that of the n pixels of plane i; squares[i] = its sum of squared deviations.

    images are the bytes of all planes, of pixels of a PixelKind.
    """
    with nogil:
        kernels.plane_moments(images, kind, n, mean, squares)


cdef void* floats_of(array, Py_ssize_t n, Py_ssize_t item, int access) except NULL:
    """Return where n floats of `item` bytes stand, as long as something refers to the array.

    Typed memoryviews would each take as long as a step on 10,000 parameters.
    """
    cdef Py_buffer buffer
    cdef bint fits
    PyObject_GetBuffer(array, &buffer, PyBUF_ND | PyBUF_FORMAT | access)
    fits = (
        buffer.len == n * item and buffer.itemsize == item
        and buffer.format[0] == (c"f" if item == sizeof(float) else c"d")
        and buffer.format[1] == 0
    )
    PyBuffer_Release(&buffer)
    if not fits:
        raise ValueError(
            f"needs {n} floats of {item} bytes, got {getattr(array, 'dtype', type(array))} of "
            f"shape {getattr(array, 'shape', None)}"
        )
    return buffer.buf


include "_fused/threads.pxi"
include "_fused/plan.pxi"
include "_fused/passes.pxi"
include "_fused/optimisers.pxi"
