"""The operations that a plan's table can name: what each one does, forward and backward.

A new operation is a kind in `_kernels.pxd`, an entry here, a pattern of layers in `plan.py`, and
room for its arrays in `memory.pxi`.
"""

# prepare: bring parameters into the form in which the kernels want them. forward and backward: one
# lane block, the b-th of a group, between the arrays of a slot. single: forward, of one image by
# itself; NULL where there is no such way. collect: the parameters' gradients of n lane blocks.
cdef struct Steps:
    void (*prepare)(Prepared*, const real* flat) noexcept nogil
    void (*forward)(const Prepared*, Slot*, Py_ssize_t b) noexcept nogil
    void (*single)(const Prepared*, Slot*) noexcept nogil
    void (*backward)(const Prepared*, Slot*, Py_ssize_t b) noexcept nogil
    void (*collect)(const Prepared*, Slot*, Py_ssize_t n, real* gradient) noexcept nogil

cdef Steps operations[N_KINDS]


cdef void conv_prepare(Prepared* conv, const real* flat) noexcept nogil:
    cdef const Operation* op = &conv.op
    fill_filters(op, &conv.filters, flat + op.weight_at, bias_of(op, flat), conv.u_back)
    if op.kind != BLOCK:
        fill_turned(conv, flat + op.weight_at)
        return
    fill_phases(conv)
    if conv.index > 0 and conv.u_back == NULL:
        fill_frames(conv, flat)


cdef void conv_forward(const Prepared* conv, Slot* slot, Py_ssize_t b) noexcept nogil:
    convolve(
        &conv.filters, may_overflow(&conv.filters, &slot.bound),
        maps_of(conv, input_of(conv, slot, b)), <vec*> slot.planes, outputs(conv, slot, b),
        winners(conv, slot, b)
    )


cdef void block_backward(const Prepared* block, Slot* slot, Py_ssize_t b) noexcept nogil:
    cdef const Operation* op = &block.op
    if is_later(block):
        later_backward(block, slot, b)
    elif MANY_REGISTERS and (op.S == 5 or (op.S == 3 and op.R == 3)):
        dweight_by_selecting(block, slot, b)
    else:
        dweight_by_spreading(block, slot, b, view4(NULL, 0, 0, 0, LANES))


cdef void conv_collect(
    const Prepared* conv, Slot* slot, Py_ssize_t n, real* gradient
) noexcept nogil:
    cdef real[:, ::1] dbias = dbias_of(conv, slot)
    if is_later(conv):
        read_filters(conv, slot, gradient + conv.op.weight_at)
    else:
        add_up_taps(conv, slot, gradient + conv.op.weight_at)
    if conv.op.bias_at >= 0:
        sum_rows(<const vec*> &dbias[0, 0], conv.op.K, gradient + conv.op.bias_at)


operations[BLOCK] = Steps(
    prepare=&conv_prepare, forward=&conv_forward, single=&block_single,
    backward=&block_backward, collect=&conv_collect
)
operations[CONV] = Steps(
    prepare=&conv_prepare, forward=&conv_forward, single=NULL, backward=&maps_backward,
    collect=&conv_collect
)
operations[CONV_RELU] = operations[CONV]
operations[LINEAR] = Steps(
    prepare=&fill_linear, forward=&linear_forward, single=&linear_single,
    backward=&linear_backward, collect=&linear_collect
)
operations[LINEAR_RELU] = operations[LINEAR]
