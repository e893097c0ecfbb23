"""Memory layout: where everything that an operation reads and writes stands.

Memory comes from the caller: tables that all threads read, a slot of work space for each thread
and, between a forward and a backward pass, what is kept of each lane block. Functions that lay
memory out tell, asked without memory, how much is needed.

What operations see, the values of a lane block, stands in one stretch: first the maps with the
winners of blocks, then what linear operations see, which they need once more when a group is
through. In a slot, the lane blocks of a group take each other's place among the maps. Gradients
stand as what they belong to. Borders of maps are zeros from the beginning, and stay.
"""

cdef enum:
    ALIGNMENT = 64  # a cache line, and the widest vector register

# The work space of one thread. From one lane block of a group to the next, it is `step` bytes in
# the maps, and `linear_step` in what linear operations see.
cdef struct Slot:
    char* x  # values
    Py_ssize_t step, linear_step
    char* d  # the gradients of values; those of linear operations are `d_step` apart
    Py_ssize_t d_step
    char* sums  # over lane blocks: of each conv, dw and dbias
    double bound  # of the values that the next operation sees
    Py_ssize_t place  # of the lane block's first image in the order
    const uint64_t* keys  # as in the job
    char* scratch  # where the next ones stand, for one operation after the other
    void* planes  # (16, C or K, 3, L): see `winograd.pxi`
    void* rows  # (4 filters, 4 positions, Q, L) of the first block, or of a conv without pool
    void* maps  # the gradient of what comes out, (K, P, Q, L); framed, see `maps.pxi`
    # Of a block after the first, see `later.pxi`.
    void* winners  # (3, L, K * P * Q)
    void* noted  # (2, winners at a time)
    void* images  # (L, H * W * C): the inputs, and then their gradient
    char* single  # one image as operations see it: see `single.pxi`
    void* pooled  # (K, 1, windows, L) of it
    void* ignored  # its winners
    void* placed  # (L, C, inner_H, inner_W) of pixels in any format, moved
    void* gradient  # (n_parameters,) of one group
    void* total  # (n_parameters,) of all groups of a chunk, in double


cdef inline const real* bias_of(const Operation* op, const real* flat) noexcept nogil:
    """The bias among all parameters; NULL if there is none."""
    return flat + op.bias_at if op.bias_at >= 0 else NULL


cdef inline bint is_linear(const Prepared* op) noexcept nogil:
    return op.op.kind >= LINEAR


cdef inline bint is_later(const Prepared* op) noexcept nogil:
    """Tell whether it is a block after the first operation."""
    return op.op.kind == BLOCK and op.index > 0


cdef Py_ssize_t padded_taps(const Operation* op) noexcept nogil:
    return round_up(op.C * op.R * op.S, 3)


cdef Py_ssize_t padded_outputs(const Operation* op) noexcept nogil:
    """Filters, rounded up to whole tiles of 2, 3 or 4; or units of a linear operation, of 10."""
    return round_up(op.K, OUTPUTS if op.kind >= LINEAR else 12)


cdef Py_ssize_t padded_maps(const Prepared* block) noexcept nogil:
    return round_up(block.op.K * block.op.P * block.op.Q, LANES)


cdef Py_ssize_t padded_image(const Prepared* block) noexcept nogil:
    """Values from one image to the next: the last run may go beyond an image."""
    return round_up(input_size(block), LANES) + LANES


cdef Py_ssize_t noted_size(const Prepared* block) noexcept nogil:
    """Winners at a time: of a filter in all images, or of a window; and one that counts nothing."""
    return max(LANES * block.op.P * block.op.Q, block.op.K) + 1


cdef inline Py_ssize_t input_size(const Prepared* op) noexcept nogil:
    """Values of an image that an operation sees."""
    return op.op.C * op.op.H * op.op.W


cdef inline Py_ssize_t pixels_of(const Prepared* op) noexcept nogil:
    """Values of an image inside the border."""
    return op.op.C * op.op.inner_H * op.op.inner_W


cdef Py_ssize_t dweight_size(const Prepared* conv) noexcept nogil:
    """Values that the gradient of a conv's filters takes while it is summed."""
    if is_later(conv):
        return conv.op.K * conv.op.R * round_up(conv.op.S * conv.op.C, LANES)
    return padded_outputs(&conv.op) * padded_taps(&conv.op) * LANES


cdef inline char* input_of(const Prepared* op, const Slot* slot, Py_ssize_t b) noexcept nogil:
    """What an operation sees of lane block b of a group."""
    return slot.x + op.x_at + b * (slot.linear_step if is_linear(op) else slot.step)


cdef inline char* gradient_of(const Prepared* op, const Slot* slot, Py_ssize_t b) noexcept nogil:
    """The gradient of what an operation sees of lane block b of a group."""
    return slot.d + op.x_at + (b * slot.d_step if is_linear(op) else 0)


cdef inline real[:, :, :, ::1] maps_of(const Prepared* conv, const void* values) noexcept nogil:
    """(C, H, W, L): what a convolution sees, with its border; or the gradient of it."""
    return view4(values, conv.op.C, conv.op.H, conv.op.W, LANES)


cdef inline real[:, :, :, ::1] outputs(
    const Prepared* conv, const Slot* slot, Py_ssize_t b
) noexcept nogil:
    """(K, P, Q, L) inside the border of what comes next."""
    cdef const Prepared* next_op = conv + 1
    return inside(
        maps_of(next_op, input_of(next_op, slot, b)), next_op.op.top, next_op.op.left,
        conv.op.P, conv.op.Q
    )


cdef inline real[:, :, :, ::1] winners(
    const Prepared* conv, const Slot* slot, Py_ssize_t b
) noexcept nogil:
    """(K, P, Q, L) of a block; (0, P, Q, L) without a pool."""
    return view4(
        slot.x + conv.winner_at + b * slot.step, conv.op.K if conv.op.kind == BLOCK else 0,
        conv.op.P, conv.op.Q, LANES
    )


cdef inline Py_ssize_t place(Py_ssize_t* end, Py_ssize_t n_bytes) noexcept nogil:
    """Return the end, which moves on by n_bytes, and what is missing to the next cache line."""
    cdef Py_ssize_t start = end[0]
    end[0] += round_up(n_bytes, ALIGNMENT)
    return start


cdef void lay_out_filters(
    const Operation* op, Filters* filters, char* memory, Py_ssize_t* end
) noexcept nogil:
    """Point the tables of an operation into the memory, from its end on."""
    cdef Py_ssize_t item = sizeof(real)
    filters.T = op.C * (op.H * op.W if op.kind >= LINEAR else op.R * op.S)
    filters.tap = <int64_t*> (memory + place(end, padded_taps(op) * sizeof(int64_t)))
    # Of one image, vectors of a linear operation's outputs reach beyond the last one.
    filters.tiles = memory + place(end, padded_outputs(op) * filters.T * item + VECTOR_BYTES)
    filters.biases = memory + place(end, padded_outputs(op) * item)
    filters.u = NULL
    if by_winograd(op):
        filters.u = memory + place(end, round_up(op.K, 4) * PLANES * op.C * item)


cdef Py_ssize_t lay_out_tables(Network* net, char* memory) noexcept nogil:
    """Point the operations' tables into the memory; return the bytes they take."""
    cdef Py_ssize_t i, end = 0, item = sizeof(real)
    cdef Prepared* op
    cdef Operation back
    for i in range(net.n_operations):
        op = &net.operations[i]
        lay_out_filters(&op.op, &op.filters, memory, &end)
        op.u_back = NULL
        if op.op.kind == BLOCK:
            op.alone.tap = <int64_t*> (memory + place(&end, 4 * op.filters.T * sizeof(int64_t)))
        if is_linear(op) or i == 0:
            continue
        if op.op.kind != BLOCK:
            back = turned(&op.op)
            lay_out_filters(&back, &op.turned, memory, &end)
            op.turned_weight = memory + place(&end, op.op.K * op.filters.T * item)
        elif by_winograd(&op.op):
            op.u_back = memory + place(&end, round_up(op.op.C, 4) * PLANES * op.op.K * item)
        else:
            op.frames = memory + place(&end, op.op.K * frame_size(op) * item)
    return end


cdef Py_ssize_t lay_out_scratch(
    const Prepared* op, Slot* slot, char* memory, bint backward
) noexcept nogil:
    """Point into the memory what an operation needs while it runs; return the bytes it takes."""
    cdef Py_ssize_t end = 0
    cdef Operation back
    if by_winograd(&op.op) or op.op.kind in (CONV, CONV_RELU):
        slot.planes = memory + place(
            &end, PLANES * max(op.op.C, op.op.K) * WINDOWS * VECTOR_BYTES
        )
    if not backward:
        slot.pooled = memory + place(&end, window_size(op) * sizeof(real))
        slot.ignored = memory + place(&end, window_size(op) * sizeof(real))
    elif is_later(op):
        slot.maps = memory + place(&end, padded_maps(op) * VECTOR_BYTES)
        slot.winners = memory + place(&end, 3 * padded_maps(op) * VECTOR_BYTES)
        slot.noted = memory + place(&end, 2 * noted_size(op) * sizeof(real))
        slot.images = memory + place(&end, padded_image(op) * VECTOR_BYTES)
    elif not is_linear(op):
        slot.rows = memory + place(&end, 16 * op.op.Q * VECTOR_BYTES)
        if op.op.kind != BLOCK:
            back = turned(&op.op)
            slot.maps = memory + place(&end, back.C * back.H * back.W * VECTOR_BYTES)
    return end


cdef Py_ssize_t lay_out_slot(
    const Network* net, Slot* slot, char* memory, bint training
) noexcept nogil:
    """Point a slot's arrays into the memory; return the bytes they take."""
    cdef Py_ssize_t end = 0, lane_blocks = net.group if training else 1
    slot.step, slot.linear_step = 0, net.linear_bytes if training else 0
    slot.d_step = net.linear_bytes
    slot.x = memory + place(&end, net.map_bytes + lane_blocks * net.linear_bytes)
    if training:
        slot.d = memory + place(&end, net.map_bytes + lane_blocks * net.linear_bytes)
        slot.sums = memory + place(&end, net.sums_bytes)
        slot.gradient = memory + place(&end, net.n_parameters * sizeof(real))
        slot.total = memory + place(&end, net.n_parameters * sizeof(double))
        slot.placed = memory + place(
            &end, pixels_of(&net.operations[0]) * LANES * sizeof(double)
        )
    else:
        slot.single = memory + place(&end, net.single_bytes)
    slot.scratch = memory + place(&end, net.scratch_bytes)
    return end


cdef void lay_out(Network* net) noexcept nogil:
    """Find the places of what operations see and of what they sum up, and what everything takes."""
    cdef Py_ssize_t i
    cdef Prepared* op
    cdef Slot slot
    net.map_bytes = net.linear_bytes = net.sums_bytes = net.single_bytes = net.scratch_bytes = 0
    for i in range(net.n_operations + 1):
        op = &net.operations[i]
        op.single_at = place(&net.single_bytes, single_size(op) * sizeof(real))
        if is_linear(op):  # behind all maps
            op.x_at = net.map_bytes + place(&net.linear_bytes, input_size(op) * VECTOR_BYTES)
        else:
            op.x_at = place(&net.map_bytes, input_size(op) * VECTOR_BYTES)
            op.dw_at = place(&net.sums_bytes, dweight_size(op) * sizeof(real))
            op.dbias_at = place(&net.sums_bytes, padded_outputs(&op.op) * VECTOR_BYTES)
        if op.op.kind == BLOCK:
            op.winner_at = place(&net.map_bytes, op.op.K * op.op.P * op.op.Q * VECTOR_BYTES)
        net.scratch_bytes = max(
            net.scratch_bytes, lay_out_scratch(op, &slot, NULL, False),
            lay_out_scratch(op, &slot, NULL, True)
        )
    net.kept_bytes = net.map_bytes + net.linear_bytes
    net.table_bytes = lay_out_tables(net, NULL)
    net.predicting_bytes = lay_out_slot(net, &slot, NULL, False)
    net.training_bytes = lay_out_slot(net, &slot, NULL, True)
