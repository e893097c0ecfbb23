"""The operations that a plan's table can name: what each one does, forward and backward.

A new operation is a kind in `_kernels.pxd`, an entry here, a pattern of layers in `plan.py`, and
room for its arrays in `memory.pxi`.
"""

# prepare: bring parameters into the form in which the kernels want them. forward and backward: one
# lane block, the b-th of a group, between the arrays of a slot; backward moves `slot.dout` from the
# gradient of the output to that of the input. single: forward, of one image by itself. collect: the
# parameters' gradients of n lane blocks.
cdef struct Steps:
    void (*prepare)(Prepared*, const real* flat) noexcept nogil
    void (*forward)(const Prepared*, Slot*, Py_ssize_t b) noexcept nogil
    void (*single)(const Prepared*, Slot*) noexcept nogil
    void (*backward)(const Prepared*, Slot*, Py_ssize_t b) noexcept nogil
    void (*collect)(const Prepared*, Slot*, Py_ssize_t n, real* gradient) noexcept nogil

cdef Steps operations[N_KINDS]


cdef void block_prepare(Prepared* block, const real* flat) noexcept nogil:
    cdef const Operation* op = &block.op
    fill_taps(block)
    fill_seen(block)
    fill_filters(block, flat)
    if by_winograd(block):
        winograd_weights(
            view4(flat + op.weight_at, op.K, op.C, 3, 3),
            view4(block.u, tiles_of(4, op.K), PLANES, op.C, 4),
            view4(block.u_back, tiles_of(4, op.C), PLANES, op.K, 4)
        )
    elif block.index > 0:
        fill_frames(block, flat)


cdef void block_forward(const Prepared* block, Slot* slot, Py_ssize_t b) noexcept nogil:
    """Values may become infinite or NaN on the way: then they spread as they should, directly."""
    cdef const Operation* op = &block.op
    cdef Py_ssize_t i = block.index, start = block.out_top * block.out_W + block.out_left
    cdef bint careful = may_overflow(block, &slot.bound)
    cdef real[:, :, :, ::1] x = view4(input_of(slot, i, b), op.C, op.H, op.W, LANES)
    cdef real[:, :, :, ::1] winner = view4(winner_of(slot, i, b), op.K, op.P, op.Q, LANES)
    cdef real[:, :, :, ::1] pooled = inside(
        input_of(slot, i + 1, b) + start * VECTOR_BYTES, op.K, op.P, op.Q, block.out_H, block.out_W
    )
    if careful or not by_winograd(block):
        conv_pool(block, careful, x, pooled, winner)
    else:
        winograd_forward(
            x, view4(block.u, tiles_of(4, op.K), PLANES, op.C, 4),
            view1(block.biases, padded_filters(block)), <vec*> slot.planes, pooled, winner
        )


cdef void block_backward(const Prepared* block, Slot* slot, Py_ssize_t b) noexcept nogil:
    if block.index == 0:
        first_backward(block, slot, b)
    else:
        later_backward(block, slot, b)


cdef void block_collect(
    const Prepared* block, Slot* slot, Py_ssize_t n, real* gradient
) noexcept nogil:
    if block.index == 0:
        add_up_taps(block, slot, gradient + block.op.weight_at)
    else:
        read_filters(block, slot, gradient + block.op.weight_at)
    if block.op.bias_at >= 0:
        sum_rows(
            <const vec*> slot.dbias[block.index], block.op.K, gradient + block.op.bias_at
        )


operations[BLOCK] = Steps(
    prepare=&block_prepare, forward=&block_forward, single=&block_single,
    backward=&block_backward, collect=&block_collect
)
operations[LINEAR] = Steps(
    prepare=&fill_linear, forward=&linear_forward, single=&linear_single,
    backward=&linear_backward, collect=&linear_collect
)
operations[LINEAR_RELU] = Steps(
    prepare=&fill_linear, forward=&linear_relu_forward, single=&linear_relu_single,
    backward=&linear_relu_backward, collect=&linear_collect
)
