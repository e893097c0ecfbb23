"""The operations that a plan's table can name: what each one does, forward and backward.

A new operation is a kind in `_kernels.pxd`, an entry here, a pattern of layers in `plan.py`, and
room for its arrays in `memory.pxi`.
"""

# prepare: bring parameters into the form in which the kernels want them. forward and backward: one
# lane block, the b-th of a group, between the arrays of a slot; backward moves `slot.dout` from the
# gradient of the output to that of the input. collect: the parameters' gradients of n lane blocks.
# Twice, since a pointer's type has that of its values in it.
cdef struct FloatOperation:
    void (*prepare)(Prepared*, const float* flat) noexcept nogil
    void (*forward)(const Prepared*, const float* flat, Slot*, Py_ssize_t b) noexcept nogil
    void (*backward)(const Prepared*, const float* flat, Slot*, Py_ssize_t b) noexcept nogil
    void (*collect)(const Prepared*, Slot*, Py_ssize_t n, float* gradient) noexcept nogil

cdef struct DoubleOperation:
    void (*prepare)(Prepared*, const double* flat) noexcept nogil
    void (*forward)(const Prepared*, const double* flat, Slot*, Py_ssize_t b) noexcept nogil
    void (*backward)(const Prepared*, const double* flat, Slot*, Py_ssize_t b) noexcept nogil
    void (*collect)(const Prepared*, Slot*, Py_ssize_t n, double* gradient) noexcept nogil

cdef FloatOperation float_operations[N_KINDS]
cdef DoubleOperation double_operations[N_KINDS]


cdef void block_prepare(Prepared* block, const floating* flat) noexcept nogil:
    fill_taps(block, VECTOR_BYTES // sizeof(floating))
    fill_filters(block, flat)
    if block.index > 0:
        fill_runs(block, VECTOR_BYTES // sizeof(floating))
        fill_frames(block, flat + block.op.weight_at)


cdef void block_backward(
    const Prepared* block, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    if block.index == 0:
        first_block_backward(block, flat, slot, b)
    else:
        later_block_backward(block, flat, slot, b)


cdef void block_collect(
    const Prepared* block, Slot* slot, Py_ssize_t n, floating* gradient
) noexcept nogil:
    cdef Py_ssize_t i = block.index, L = VECTOR_BYTES // sizeof(floating)
    if i == 0:
        add_up_taps(block, <const floating*> slot.dw[i], gradient + block.op.weight_at)
    else:
        read_runs(block, <const floating*> slot.dw[i], gradient + block.op.weight_at)
    if block.op.bias_at >= 0:
        sum_lanes(<floating*> slot.dbias[i], block.op.K, gradient + block.op.bias_at)


cdef void linear_prepare(Prepared* linear, const floating* flat) noexcept nogil:
    pass


float_operations[BLOCK] = FloatOperation(
    prepare=&block_prepare[float], forward=&block_forward[float],
    backward=&block_backward[float], collect=&block_collect[float]
)
float_operations[LINEAR] = FloatOperation(
    prepare=&linear_prepare[float], forward=&linear_forward[float],
    backward=&linear_backward[float], collect=&linear_collect[float]
)
float_operations[LINEAR_RELU] = FloatOperation(
    prepare=&linear_prepare[float], forward=&linear_relu_forward[float],
    backward=&linear_relu_backward[float], collect=&linear_collect[float]
)
double_operations[BLOCK] = DoubleOperation(
    prepare=&block_prepare[double], forward=&block_forward[double],
    backward=&block_backward[double], collect=&block_collect[double]
)
double_operations[LINEAR] = DoubleOperation(
    prepare=&linear_prepare[double], forward=&linear_forward[double],
    backward=&linear_backward[double], collect=&linear_collect[double]
)
double_operations[LINEAR_RELU] = DoubleOperation(
    prepare=&linear_prepare[double], forward=&linear_relu_forward[double],
    backward=&linear_relu_backward[double], collect=&linear_collect[double]
)
