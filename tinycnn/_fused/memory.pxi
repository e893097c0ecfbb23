"""Memory layout: where everything that an operation reads and writes stands.

Memory comes from the caller: tables that all threads read, a slot of work space for each thread
and, between a forward and a backward pass, what is kept of each lane block. Functions that lay
memory out tell, asked without memory, how much is needed.
"""

cdef enum:
    ALIGNMENT = 64  # a cache line, and the widest vector register

# The gradient of an operation's output: values with the border of what comes next or, where that is
# NULL, the gradient (M, L) of the outputs of the linear operation that comes next, from which it is
# computed as it is needed. There is no next one behind the last operation.
cdef struct Source:
    const void* values
    const Prepared* next
    const void* dlinear

# An array of each lane block in a group, so many bytes apart: 0 where they take each other's place.
cdef struct Arrays:
    char* first
    Py_ssize_t step

# The work space of one thread.
cdef struct Slot:
    Arrays x[MAX_OPERATIONS + 1]  # (C, H, W, L) of operation i; behind the last the logits (M, L)
    Arrays winner[MAX_OPERATIONS]  # (K, P, Q, L) of a block
    Arrays d[MAX_OPERATIONS + 1]  # the gradient of x, as large
    void* dw[MAX_OPERATIONS]  # (K, T, L), rounded up; after the first block (K, R, runs * L)
    void* dbias[MAX_OPERATIONS]  # (K, L), rounded up
    double bound  # of the values that the next operation sees
    Py_ssize_t place  # of the lane block's first image in the order
    Source dout
    void* rows  # (4 filters, 4 positions, Q, L) of the first block, or of a conv without pool
    void* planes  # (16, C or K, 3, L): see `winograd.pxi`
    void* maps  # the gradient of what comes out, (K, P, Q, L); framed, see `maps.pxi`
    # Of a block after the first, see `later.pxi`.
    void* winners  # (3, L, K * P * Q)
    void* noted  # (2, winners at a time)
    void* images  # (L, H * W * C): the inputs, and then their gradient
    char* single[MAX_OPERATIONS + 1]  # one image as operation i sees it: see `single.pxi`
    void* pooled  # (K, windows) of it
    void* placed  # (L, C, inner_H, inner_W) of pixels in any format, moved
    void* gradient  # (n_parameters,) of one group
    void* total  # (n_parameters,) of all groups of a chunk, in double


cdef inline bint is_linear(const Operation* op) noexcept nogil:
    return op.kind >= LINEAR


cdef Py_ssize_t padded_taps(const Operation* op) noexcept nogil:
    return round_up(op.C * op.R * op.S, 3)


cdef Py_ssize_t padded_filters(const Operation* op) noexcept nogil:
    """Filters, rounded up to whole tiles of 2, 3 or 4."""
    return round_up(op.K, 12)


cdef Py_ssize_t padded_maps(const Prepared* block) noexcept nogil:
    return round_up(block.op.K * block.op.P * block.op.Q, LANES)


cdef Py_ssize_t padded_image(const Prepared* block) noexcept nogil:
    """Values from one image to the next: the last run may go beyond an image."""
    return round_up(block.op.C * block.op.H * block.op.W, LANES) + LANES


cdef Py_ssize_t noted_size(const Prepared* block) noexcept nogil:
    """Winners at a time: of a filter in all images, or of a window; and one that counts nothing."""
    return max(LANES * block.op.P * block.op.Q, block.op.K) + 1


cdef inline bint has_border(const Operation* op) noexcept nogil:
    return op.H > op.inner_H or op.W > op.inner_W


cdef Py_ssize_t dweight_size(const Prepared* block) noexcept nogil:
    """Values that the gradient of a conv's filters takes while it is summed."""
    if block.index == 0 or block.op.kind != BLOCK:
        return padded_filters(&block.op) * padded_taps(&block.op) * LANES
    return block.op.K * block.op.R * row_runs(block.op.S * block.op.C) * LANES


cdef Py_ssize_t input_bytes(const Network* net, Py_ssize_t i) noexcept nogil:
    """Bytes of a lane block as operation i sees it, or of the logits behind the last one."""
    if i == net.n_operations:
        return net.operations[i - 1].op.K * VECTOR_BYTES
    return net.operations[i].op.C * net.operations[i].op.H * net.operations[i].op.W * VECTOR_BYTES


cdef Py_ssize_t winner_bytes(const Operation* op) noexcept nogil:
    """Bytes of a block's winners; other operations have none."""
    return op.K * op.P * op.Q * VECTOR_BYTES if op.kind == BLOCK else 0


cdef inline char* input_of(const Slot* slot, Py_ssize_t i, Py_ssize_t b) noexcept nogil:
    """What operation i sees of lane block b of a group."""
    return slot.x[i].first + b * slot.x[i].step


cdef inline char* gradient_of(const Slot* slot, Py_ssize_t i, Py_ssize_t b) noexcept nogil:
    """The gradient of what operation i sees of lane block b of a group."""
    return slot.d[i].first + b * slot.d[i].step


cdef inline real[:, :, :, ::1] inputs(
    const Prepared* conv, const Slot* slot, Py_ssize_t b
) noexcept nogil:
    """(C, H, W, L): what a convolution sees, with its border."""
    return view4(
        input_of(slot, conv.index, b), conv.op.C, conv.op.H, conv.op.W, LANES
    )


cdef inline real[:, :, :, ::1] outputs(
    const Prepared* conv, const Slot* slot, Py_ssize_t b
) noexcept nogil:
    """(K, P, Q, L) inside the border of what comes next."""
    return inside(
        view4(input_of(slot, conv.index + 1, b), conv.op.K, conv.out_H, conv.out_W, LANES),
        conv.out_top, conv.out_left, conv.op.P, conv.op.Q
    )


cdef inline real[:, :, :, ::1] winners(
    const Prepared* conv, const Slot* slot, Py_ssize_t b
) noexcept nogil:
    """(K, P, Q, L) of a block; (0, P, Q, L) without a pool."""
    cdef const Arrays* winner = &slot.winner[conv.index]
    return view4(
        winner.first + b * winner.step, conv.op.K if conv.op.kind == BLOCK else 0, conv.op.P,
        conv.op.Q, LANES
    )


cdef void* take(char** memory, Py_ssize_t n_bytes) noexcept nogil:
    """Cut n_bytes off the memory, and what is missing to the next cache line."""
    cdef char* start = memory[0]
    memory[0] = start + round_up(n_bytes, ALIGNMENT)
    return start


cdef void take_filters(
    const Operation* op, Filters* filters, char** memory, Py_ssize_t item
) noexcept nogil:
    """Point the tables of a convolution into the memory."""
    filters.T = op.C * op.R * op.S
    filters.tap = <int64_t*> take(memory, padded_taps(op) * sizeof(int64_t))
    filters.tiles = take(memory, padded_filters(op) * filters.T * item)
    filters.biases = take(memory, padded_filters(op) * item)
    filters.u = NULL
    if by_winograd(op):
        filters.u = take(memory, round_up(op.K, 4) * PLANES * op.C * item)


cdef Py_ssize_t lay_out_tables(Network* net, char* memory) noexcept nogil:
    """Point the operations' tables into the memory; return the bytes they take."""
    cdef char* end = memory
    cdef Py_ssize_t i, item = net.item
    cdef Prepared* op
    cdef Operation back
    for i in range(net.n_operations):
        op = &net.operations[i]
        if is_linear(&op.op):
            # Vectors of outputs reach beyond the last one.
            op.filters.tiles = take(&end, round_up(op.op.K, OUTPUTS) * op.T * item + VECTOR_BYTES)
            op.filters.biases = take(&end, round_up(op.op.K, OUTPUTS) * item)
            continue
        take_filters(&op.op, &op.filters, &end, item)
        op.u_back = NULL
        if op.op.kind == BLOCK:
            op.seen = <int64_t*> take(&end, (op.op.R + 1) * (op.op.S + 1) * sizeof(int64_t))
        if i > 0 and op.op.kind != BLOCK:
            back = turned(&op.op)
            take_filters(&back, &op.turned, &end, item)
            op.turned_weight = take(&end, op.op.K * op.T * item)
        elif by_winograd(&op.op):
            op.u_back = take(&end, round_up(op.op.C, 4) * PLANES * op.op.K * item)
        elif i > 0:
            op.frames = take(&end, op.op.K * frame_size(op) * item)
    return end - memory


cdef Py_ssize_t lay_out_values(
    const Network* net, Slot* slot, char* memory, Py_ssize_t group
) noexcept nogil:
    """Point a slot's inputs and winners into the memory; return the bytes they take.

    The linear operations need what they have seen once more when a group is through: of their
    inputs, and of the logits, there are as many as lane blocks in a group.
    """
    cdef char* end = memory
    cdef Py_ssize_t i, n = net.n_operations, size
    for i in range(n + 1):
        size = input_bytes(net, i)
        slot.x[i].step = size if group > 1 and (i == n or is_linear(&net.operations[i].op)) else 0
        slot.x[i].first = <char*> take(&end, (group - 1) * slot.x[i].step + size)
        if i < n:
            slot.winner[i].step = 0
            slot.winner[i].first = <char*> take(&end, winner_bytes(&net.operations[i].op))
    return end - memory


cdef Py_ssize_t lay_out_kept(const Network* net, Slot* slot, char* memory) noexcept nogil:
    """Point a slot's inputs and winners into what is kept of lane blocks; return each one's bytes.

    The memory is where the first lane block of a group begins.
    """
    cdef Py_ssize_t i, n_bytes = lay_out_values(net, slot, memory, 1)
    for i in range(net.n_operations):
        slot.x[i].step = slot.winner[i].step = n_bytes
    slot.x[net.n_operations].step = n_bytes
    return n_bytes


cdef Py_ssize_t lay_out_gradients(const Network* net, Slot* slot, char* memory) noexcept nogil:
    """Point into the memory what the backward pass needs; return the bytes it takes."""
    cdef char* end = memory
    cdef Py_ssize_t i, item = net.item, row = 0, image = 0, maps = 0, pooled = 0, noted = 0
    cdef const Prepared* op
    cdef Operation back
    for i in range(net.n_operations):
        op = &net.operations[i]
        if is_linear(&op.op):
            slot.d[i + 1].step = op.op.K * VECTOR_BYTES
            slot.d[i + 1].first = <char*> take(&end, net.group * slot.d[i + 1].step)
            continue
        slot.dw[i] = take(&end, dweight_size(op) * item)
        slot.dbias[i] = take(&end, padded_filters(&op.op) * VECTOR_BYTES)
        row = max(row, op.op.Q)
        if i > 0:
            slot.d[i] = Arrays(first=<char*> take(&end, input_bytes(net, i)), step=0)
        if op.op.kind != BLOCK:
            back = turned(&op.op)
            maps = max(maps, back.C * back.H * back.W)
        elif i > 0:
            image = max(image, padded_image(op))
            pooled = max(pooled, padded_maps(op))
            noted = max(noted, noted_size(op))
    slot.rows = take(&end, 16 * row * VECTOR_BYTES)
    slot.maps = take(&end, max(maps, pooled) * VECTOR_BYTES)
    slot.winners = take(&end, 3 * pooled * VECTOR_BYTES)
    slot.noted = take(&end, 2 * noted * item)
    slot.images = take(&end, image * VECTOR_BYTES)
    slot.gradient = take(&end, net.n_parameters * item)
    slot.total = take(&end, net.n_parameters * sizeof(double))
    return end - memory


cdef Py_ssize_t lay_out_single(const Network* net, Slot* slot, char* memory) noexcept nogil:
    """Point into the memory what one image takes by itself; return its bytes. It begins as zeros.

    So the border of its maps stays.
    """
    cdef char* end = memory
    cdef Py_ssize_t i, n = net.n_operations, pooled = net.operations[0].op.inner_W
    for i in range(n):
        slot.single[i] = <char*> take(&end, single_size(&net.operations[i]) * net.item)
        if net.operations[i].op.kind == BLOCK:
            pooled = max(pooled, window_size(&net.operations[i]))
    slot.single[n] = <char*> take(&end, net.operations[n - 1].op.K * net.item)
    slot.pooled = take(&end, pooled * net.item)
    return end - memory


cdef Py_ssize_t lay_out_slot(
    const Network* net, Slot* slot, char* memory, bint training
) noexcept nogil:
    """Point a slot's arrays into the memory; return the bytes they take.

    What only training needs is left out without it.
    """
    cdef char* end = memory
    cdef const Operation* op
    cdef Py_ssize_t i, planes = 0
    for i in range(net.n_operations):
        op = &net.operations[i].op
        if by_winograd(op) or op.kind in (CONV, CONV_RELU):
            planes = max(planes, op.C, op.K)
    slot.planes = take(&end, PLANES * planes * WINDOWS * VECTOR_BYTES)
    if training:
        op = &net.operations[0].op
        slot.placed = take(&end, op.C * op.inner_H * op.inner_W * LANES * sizeof(double))
        end += lay_out_gradients(net, slot, end)
    else:
        end += lay_out_single(net, slot, end)
    end += lay_out_values(net, slot, end, net.group if training else 1)
    return end - memory


cdef void memory_needs(Network* net, Needs* needs) noexcept nogil:
    """Tell how many bytes a network takes."""
    cdef Slot slot
    needs.tables = lay_out_tables(net, NULL)
    needs.predicting = lay_out_slot(net, &slot, NULL, False)
    needs.training = lay_out_slot(net, &slot, NULL, True)
    needs.kept = lay_out_kept(net, &slot, NULL)
