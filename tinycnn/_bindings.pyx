"""What Python calls: it takes arrays apart and calls the kernels, which know nothing of Python.

The loops are in ``_kernels.pyx``, compiled for each level of instruction sets. This file, compiled
once, reaches the build that ``_dispatch.py`` picked by a table of its functions. Every function
fills the arrays it is handed. It checks their layout and, where it takes a typed memoryview, their
dtype; it trusts `item` and all shapes, which ``functional.py``, ``engine.py`` and ``optim.py`` have
checked.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.float cimport DBL_MIN
from libc.math cimport fabs
from libc.stdint cimport int8_t, int64_t, uint8_t

from tinycnn._kernels cimport (
    Block,
    Job,
    Kernels,
    Linear,
    Network,
    PixelKind,
    TaskFunction,
)

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX

cdef const Kernels* kernels = NULL


def use(table, /):
    """Call the functions in this table, the ``table`` of a build of the kernels, from now on."""
    global kernels
    kernels = <const Kernels*> PyCapsule_GetPointer(table, "tinycnn.Kernels")


def conv2d_forward(
    const floating[:, :, :, ::1] x not None,
    const floating[:, :, :, ::1] weight not None,
    const floating[::1] bias not None,
    floating[:, :, :, ::1] out not None,
    /,
):
    """out[n, k, i, j] = bias[k] + sum of x[n, c, i + r, j + s] * weight[k, c, r, s]."""
    with nogil:
        if floating is float:
            kernels.of_float.conv2d_forward(x, weight, bias, out)
        else:
            kernels.of_double.conv2d_forward(x, weight, bias, out)


def conv2d_backward_weight(
    const floating[:, :, :, ::1] x not None,
    const floating[:, :, :, ::1] dout not None,
    floating[:, :, :, ::1] dweight not None,
    /,
):
    """dweight[k, c, r, s] = sum over n, i, j of x[n, c, i + r, j + s] * dout[n, k, i, j]."""
    with nogil:
        if floating is float:
            kernels.of_float.conv2d_backward_weight(x, dout, dweight)
        else:
            kernels.of_double.conv2d_backward_weight(x, dout, dweight)


def conv2d_backward_bias(
    const floating[:, :, :, ::1] dout not None, floating[::1] dbias not None, /
):
    """dbias[k] = sum over n, i, j of dout[n, k, i, j]."""
    with nogil:
        if floating is float:
            kernels.of_float.conv2d_backward_bias(dout, dbias)
        else:
            kernels.of_double.conv2d_backward_bias(dout, dbias)


def conv2d_backward_input(
    const floating[:, :, :, ::1] weight not None,
    const floating[:, :, :, ::1] dout not None,
    floating[:, :, :, ::1] dx not None,
    /,
):
    """dx[n, c, h, w] = sum over k, r, s of weight[k, c, r, s] * dout[n, k, h - r, w - s]."""
    with nogil:
        if floating is float:
            kernels.of_float.conv2d_backward_input(weight, dout, dx)
        else:
            kernels.of_double.conv2d_backward_input(weight, dout, dx)


def relu_forward(const floating[::1] x not None, floating[::1] out not None, /):
    """out = max(x, 0), element by element; NaN stays NaN."""
    with nogil:
        if floating is float:
            kernels.of_float.relu_forward(x, out)
        else:
            kernels.of_double.relu_forward(x, out)


def relu_backward(
    const floating[::1] dout not None,
    const floating[::1] x not None,
    floating[::1] dx not None,
    /,
):
    """dx = dout where x > 0, else 0: the gradient at exactly 0 is 0."""
    with nogil:
        if floating is float:
            kernels.of_float.relu_backward(dout, x, dx)
        else:
            kernels.of_double.relu_backward(dout, x, dx)


def max_pool2d_forward(
    const floating[:, :, :, ::1] x not None,
    floating[:, :, :, ::1] out not None,
    uint8_t[:, :, :, ::1] winner not None,
    /,
):
    """out = the largest of each 2x2 window; winner = its place, 0..3 in row-major order.

    The first of equals wins. NaN beats every number, and a later NaN an earlier one.
    """
    with nogil:
        if floating is float:
            kernels.of_float.max_pool2d_forward(x, out, winner)
        else:
            kernels.of_double.max_pool2d_forward(x, out, winner)


def max_pool2d_backward(
    const floating[:, :, :, ::1] dout not None,
    const uint8_t[:, :, :, ::1] winner not None,
    floating[:, :, :, ::1] dx not None,
    /,
):
    """dx = dout at the winner of each window, 0 everywhere else."""
    with nogil:
        if floating is float:
            kernels.of_float.max_pool2d_backward(dout, winner, dx)
        else:
            kernels.of_double.max_pool2d_backward(dout, winner, dx)


# The fast path. Parameters and logits come as bytes, of floats of `item` bytes each: one wrapper
# for all types instead of a large one for each.
include "_fused/pool.pxi"


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


cdef void read_shapes(
    Network* net, const int64_t[:, ::1] shapes, Py_ssize_t padding, Py_ssize_t hidden,
    Py_ssize_t M, bint bias
):
    """Fill in all shapes; each row of shapes is (C, H, W, K, R, S) of a block."""
    cdef Py_ssize_t i, at = 0, F = 0
    cdef Block* block
    net.n_blocks = shapes.shape[0]
    net.padding = padding
    net.bias = bias
    for i in range(net.n_blocks):
        block = &net.blocks[i]
        block.C, block.H, block.W = shapes[i, 0], shapes[i, 1], shapes[i, 2]
        block.K, block.R, block.S = shapes[i, 3], shapes[i, 4], shapes[i, 5]
        block.P = (block.H - block.R + 1) // 2
        block.Q = (block.W - block.S + 1) // 2
        block.T = block.C * block.R * block.S
        block.weight_at = at
        at += block.K * block.T
        block.bias_at = at
        at += block.K if bias else 0
        F = block.K * block.P * block.Q
    at = read_linear(&net.hidden, F, hidden, bias, at)
    net.n_parameters = read_linear(&net.linear, hidden if hidden else F, M, bias, at)


cdef Py_ssize_t read_linear(
    Linear* linear, Py_ssize_t F, Py_ssize_t M, bint bias, Py_ssize_t at
) noexcept nogil:
    """Fill in the shape of a linear layer that begins at `at`; return where the next one does."""
    linear.F = F
    linear.M = M
    linear.weight_at = at
    linear.bias_at = at + M * F
    return linear.bias_at + (M if bias else 0)


def memory_needs(
    const int64_t[:, ::1] shapes not None, Py_ssize_t padding, Py_ssize_t hidden, Py_ssize_t M,
    bint bias, Py_ssize_t item, Py_ssize_t group
):
    """Return the bytes of the tables, of a slot that predicts, and of one that trains."""
    cdef Network net
    cdef Py_ssize_t needs[3]
    read_shapes(&net, shapes, padding, hidden, M, bias)
    kernels.memory_needs(&net, item, group, needs)
    return needs[0], needs[1], needs[2]


cdef void set_images(
    Job* job, const uint8_t[::1] images, int kind, const double[::1] scale, const double[::1] shift
):
    """Fill in where the images are, the bytes of a PixelKind, and how they are scaled."""
    cdef Py_ssize_t c
    job.images = &images[0]
    job.order = NULL
    job.moves = NULL
    job.scale = &scale[0]
    job.shift = &shift[0]
    job.all_finite = True
    job.kind = <PixelKind> kind
    job.bound = 0
    for c in range(scale.shape[0]):
        job.bound = max(job.bound, fabs(shift[c]), fabs(255 * scale[c] + shift[c]))


cdef void* bytes_of(array, int access) except NULL:
    """Return where the bytes of a C-contiguous NumPy array stand as long as something refers to it.

    Three typed memoryviews, of views as bytes, take as long as a step on 10,000 parameters.
    """
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, access)
    PyBuffer_Release(&buffer)
    return buffer.buf


cdef double total_weight(const Job* job) noexcept nogil:
    """Add up the weights of a job's images: how many there are, if each counts the same."""
    cdef const double* weights = job.loss.weights
    cdef double total = 0
    cdef Py_ssize_t i
    if weights == NULL:
        return job.count
    for i in range(job.first, job.first + job.count):
        total += weights[i if job.order == NULL else job.order[i]]
    return total


@final
cdef class Batches:
    """Labelled images in an order, and the loss of a network on one batch of them after the other.

    All that stays the same is taken apart once: a step of training takes a few hundred
    microseconds, and handling so many arguments would take ten of them. It keeps the arrays, since
    it remembers where they stand, and reads them anew for each batch: the parameters change in
    between.

    Each image is pixel * scale + shift, channel by channel, first padded, and moved by its row of
    moves unless that is None. The images are those numbered order[0], ... or, if order is None, all
    as they stand. labels, weights (may be None) and moves are of all images, and so are images, the
    bytes of a PixelKind. group is the number of lane blocks that make a group, at most. chunks
    (most chunks, n_parameters), losses (most chunks,), tables and slots (threads, bytes) are
    scratch. flat and chunks are bytes too, of floats of `item` bytes like those of gradient
    (n_parameters,).
    """

    cdef Job job
    cdef Pool pool
    cdef Py_ssize_t n_threads
    cdef Py_ssize_t n_images  # in the order
    cdef object gradient
    cdef const uint8_t[::1] flat
    cdef const uint8_t[::1] images
    cdef const int64_t[::1] order
    cdef const int8_t[:, ::1] moves
    cdef const int64_t[::1] labels
    cdef const double[::1] weights
    cdef const double[::1] scale
    cdef const double[::1] shift
    cdef uint8_t[::1] tables
    cdef uint8_t[:, ::1] slots
    cdef uint8_t[:, ::1] chunks
    cdef double[::1] losses

    def __cinit__(
        self, Pool pool not None, Py_ssize_t n_threads, const int64_t[:, ::1] shapes not None,
        Py_ssize_t padding, Py_ssize_t hidden, Py_ssize_t M, bint bias, Py_ssize_t item,
        const uint8_t[::1] flat not None, const uint8_t[::1] images not None, int kind,
        const int64_t[::1] order, const int8_t[:, ::1] moves, const int64_t[::1] labels not None,
        const double[::1] weights, double smoothing, const double[::1] scale not None,
        const double[::1] shift not None, Py_ssize_t group, uint8_t[::1] tables not None,
        uint8_t[:, ::1] slots not None, uint8_t[:, ::1] chunks not None,
        double[::1] losses not None, gradient, /
    ):
        cdef Job* job = &self.job
        self.pool, self.n_threads, self.gradient = pool, n_threads, gradient
        self.flat, self.images, self.scale, self.shift = flat, images, scale, shift
        self.order, self.moves, self.labels, self.weights = order, moves, labels, weights
        self.tables, self.slots, self.chunks, self.losses = tables, slots, chunks, losses
        self.n_images = labels.shape[0] if order is None else order.shape[0]
        read_shapes(&job.net, shapes, padding, hidden, M, bias)
        set_images(job, images, kind, scale, shift)
        if order is not None:
            job.order = &order[0]
        if moves is not None:
            job.moves = &moves[0, 0]
        job.loss.labels = &labels[0]
        job.loss.weights = NULL
        if weights is not None:
            job.loss.weights = &weights[0]
        job.loss.smoothing = smoothing
        job.item = item
        job.flat = &flat[0]
        job.group = group
        job.most_chunks = chunks.shape[0]
        job.tables = <char*> &tables[0]
        job.slots = <char*> &slots[0, 0]
        job.slot_bytes = slots.shape[1]
        job.losses = &losses[0]
        job.gradient = bytes_of(gradient, PyBUF_WRITABLE)

    def differentiate(self, Py_ssize_t first=0, Py_ssize_t last=PY_SSIZE_T_MAX, /):
        """Return the mean loss of images first to last, its gradient, and their total weight.

        The gradient (n_parameters,) is overwritten by the next call. The mean is weighted if the
        images are; where the weights add up to 0, or next to it, loss and gradient are 0.
        """
        cdef Job* job = &self.job
        cdef Pool pool = self.pool
        cdef double weight, loss = 0
        cdef Py_ssize_t c
        if not 0 <= first < min(last, self.n_images):
            raise IndexError(
                f"first, last: a batch must begin among the {self.n_images} images of the order, "
                f"and before it ends, got {first}, {last}"
            )
        job.first = first
        job.count = min(last, self.n_images) - first
        with nogil:
            weight = total_weight(job)
            job.loss.scale = 1 / weight if weight >= DBL_MIN else 0
            kernels.prepare(job)
            job.out = &self.chunks[0, 0] if job.n_chunks > 1 else job.gradient
            pool.run(kernels.chunk_gradient, job, job.n_chunks, self.n_threads)
            if job.n_chunks > 1:
                kernels.add_chunks(job)
        for c in range(job.n_chunks):
            loss += job.losses[c]
        return job.loss.scale * loss, self.gradient, weight


def outputs(
    Pool pool not None, Py_ssize_t n_threads, const int64_t[:, ::1] shapes not None,
    Py_ssize_t padding, Py_ssize_t hidden, Py_ssize_t M, bint bias, Py_ssize_t item,
    const uint8_t[::1] flat not None, const uint8_t[::1] images not None, int kind,
    const double[::1] scale not None, const double[::1] shift not None, Py_ssize_t group,
    uint8_t[::1] tables not None, uint8_t[:, ::1] slots not None, uint8_t[:, ::1] out not None, /
):
    """Fill out (N, M) with the images' logits; return whether all pixels were finite.

    With M = 0, out (N, F) is filled with the features that the output layer would see. Everything
    else is as in `Batches`.
    """
    cdef Job job
    read_shapes(&job.net, shapes, padding, hidden, M, bias)
    set_images(&job, images, kind, scale, shift)
    job.first = 0
    job.count = out.shape[0]
    job.item = item
    job.flat = &flat[0]
    job.group = group
    job.most_chunks = 0  # there is no gradient
    job.tables = <char*> &tables[0]
    job.slots = <char*> &slots[0, 0]
    job.slot_bytes = slots.shape[1]
    job.out = &out[0, 0]
    with nogil:
        kernels.prepare(&job)
        pool.run(kernels.group_outputs, &job, job.n_groups, n_threads)
    return job.all_finite


# The optimisers' steps: arrays hold floats of `item` bytes.


def sgd_step(Py_ssize_t item, flat, gradient, double lr, double weight_decay, /):
    """Move flat (n,) by one step of SGD without momentum."""
    cdef void* parameters = bytes_of(flat, PyBUF_WRITABLE)
    cdef void* slopes = bytes_of(gradient, PyBUF_SIMPLE)
    cdef Py_ssize_t n = len(flat)
    with nogil:
        kernels.sgd_step(item, parameters, slopes, n, lr, weight_decay)


def momentum_step(
    Py_ssize_t item, flat, gradient, velocity, double lr, double momentum, double weight_decay,
    bint nesterov, /
):
    """Move flat (n,), and velocity (n,) as well, by one step of SGD."""
    cdef void* parameters = bytes_of(flat, PyBUF_WRITABLE)
    cdef void* slopes = bytes_of(gradient, PyBUF_SIMPLE)
    cdef void* speeds = bytes_of(velocity, PyBUF_WRITABLE)
    cdef Py_ssize_t n = len(flat)
    with nogil:
        kernels.momentum_step(
            item, parameters, slopes, speeds, n, lr, momentum, weight_decay, nesterov
        )


def adam_step(
    Py_ssize_t item, flat, gradient, gradient_sum, square_sum, double lr, double beta,
    double square_beta, double eps, double weight_decay, double kept, /
):
    """Move flat (n,), and both sums (n,) as well, by one step of Adam.

    flat becomes kept * flat - lr * gradient_sum / (sqrt(square_sum) + eps).
    """
    cdef void* parameters = bytes_of(flat, PyBUF_WRITABLE)
    cdef void* slopes = bytes_of(gradient, PyBUF_SIMPLE)
    cdef void* totals = bytes_of(gradient_sum, PyBUF_WRITABLE)
    cdef void* squares = bytes_of(square_sum, PyBUF_WRITABLE)
    cdef Py_ssize_t n = len(flat)
    with nogil:
        kernels.adam_step(
            item, parameters, slopes, totals, squares, n, lr, beta, square_beta, eps, weight_decay,
            kept
        )
