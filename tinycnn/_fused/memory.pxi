"""Memory layout: where everything that an operation reads and writes stands.

Memory comes from the caller: tables that all threads read, a slot of work space for each thread
and, between a forward and a backward pass, what is kept of each lane block. Functions that lay
memory out tell, asked without memory, how much is needed.
"""

cdef enum:
    ALIGNMENT = 64  # a cache line, and the widest vector register

# The gradient of an operation's output: values (K, P, Q, L) or, where that is NULL, the linear
# operation that comes next and the gradient (M, L) of what that one gives. From these it is
# computed as it is needed. All are NULL behind the last operation.
cdef struct Source:
    const void* values
    const Prepared* linear
    const void* dlinear

# The work space of one thread. `step` is how many bytes lie between the arrays of one lane block
# and those of the next one in a group: 0 where they take each other's place.
cdef struct Slot:
    char* x[MAX_OPERATIONS + 1]  # (C, H, W, L) of operation i; (M, L) of the logits behind the last
    Py_ssize_t x_step[MAX_OPERATIONS + 1]
    char* winner[MAX_OPERATIONS]  # (K, P, Q, L) of a block
    Py_ssize_t winner_step[MAX_OPERATIONS]
    char* d[MAX_OPERATIONS + 1]  # the gradient of x, without a border
    Py_ssize_t d_step[MAX_OPERATIONS + 1]
    void* dw[MAX_OPERATIONS]  # (K, T, L), K and T rounded up; after the first block (K, runs, L)
    void* dbias[MAX_OPERATIONS]  # (K, L), rounded up
    double bound  # of the values that the next operation sees
    Source dout
    void* dz  # [4 filters, 4 positions, Q, L] of the first block
    # Of a block after the first, see `winner.pxi`; images and maps are padded.
    void* lanes  # (K, P, Q, L): the gradient of its pooled values
    void* dmaps  # (L, P, Q, K): the same image by image, and
    void* winners  # their winners
    void* images  # (L, copies, H, W, C): the inputs
    void* dimages  # (L, H, W, C): their gradient
    int32_t* seen_at  # (L, P, Q, K): where the values begin that a winner saw
    int32_t* framed_at  # (L, P, Q, K): where its patch begins in the filter's frames
    void* words  # (inner_H * inner_W / 4, L) of one channel, rounded up
    void* plane  # (inner_H, inner_W, L) of one channel on its way into a border
    void* placed  # (L, C, inner_H, inner_W) of pixels in any format, moved
    void* gradient  # (n_parameters,) of one group
    void* total  # (n_parameters,) of all groups of a chunk, in double


cdef Py_ssize_t padded_taps(const Prepared* block) noexcept nogil:
    return round_up(block.T, TAP_TILE)


cdef Py_ssize_t padded_filters(const Prepared* block) noexcept nogil:
    return round_up(block.op.K, FILTER_TILE)


cdef inline bint has_border(const Operation* op) noexcept nogil:
    return op.H > op.inner_H or op.W > op.inner_W


cdef Py_ssize_t dweight_size(const Prepared* block, Py_ssize_t L) noexcept nogil:
    """Values that the gradient of a block's filters takes while it is summed."""
    if block.index == 0:
        return padded_filters(block) * padded_taps(block) * L
    return block.op.K * filter_runs(block, L) * L


cdef Py_ssize_t input_bytes(const Network* net, Py_ssize_t i) noexcept nogil:
    """Bytes of a lane block as operation i sees it, or of the logits behind the last one."""
    if i == net.n_operations:
        return net.operations[i - 1].op.K * VECTOR_BYTES
    return net.operations[i].op.C * net.operations[i].op.H * net.operations[i].op.W * VECTOR_BYTES


cdef Py_ssize_t maps_bytes(const Prepared* block) noexcept nogil:
    """Bytes of a block's pooled values, without a border."""
    return block.op.K * block.op.P * block.op.Q * VECTOR_BYTES


cdef inline char* input_of(const Slot* slot, Py_ssize_t i, Py_ssize_t b) noexcept nogil:
    """What operation i sees of lane block b of a group."""
    return slot.x[i] + b * slot.x_step[i]


cdef inline char* winner_of(const Slot* slot, Py_ssize_t i, Py_ssize_t b) noexcept nogil:
    """The winners of block i in lane block b of a group."""
    return slot.winner[i] + b * slot.winner_step[i]


cdef inline char* gradient_of(const Slot* slot, Py_ssize_t i, Py_ssize_t b) noexcept nogil:
    """The gradient of what operation i sees of lane block b of a group."""
    return slot.d[i] + b * slot.d_step[i]


cdef void* take(char** memory, Py_ssize_t n_bytes) noexcept nogil:
    """Cut n_bytes off the memory, and what is missing to the next cache line."""
    cdef char* start = memory[0]
    memory[0] = start + round_up(n_bytes, ALIGNMENT)
    return start


cdef Py_ssize_t lay_out_tables(Network* net, char* memory) noexcept nogil:
    """Point the operations' tables into the memory; return the bytes they take."""
    cdef char* end = memory
    cdef Py_ssize_t i, n, item = net.item, L = VECTOR_BYTES // item
    cdef Prepared* block
    for i in range(net.n_operations):
        block = &net.operations[i]
        if block.op.kind != BLOCK:
            continue
        block.tap = <int64_t*> take(&end, padded_taps(block) * sizeof(int64_t))
        block.filters = take(&end, padded_filters(block) * padded_taps(block) * item)
        block.biases = take(&end, padded_filters(block) * item)
        if i > 0:
            n = block.op.K * copies(block, L) * frame_size(block, L)
            block.window = <int64_t*> take(&end, block.op.P * block.op.Q * sizeof(int64_t))
            block.run = <int64_t*> take(&end, filter_runs(block, L) * sizeof(int64_t))
            block.patch_run = <int64_t*> take(&end, patch_runs(block, L) * sizeof(int64_t))
            block.frames = take(&end, n * item)
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
        slot.x_step[i] = size if group > 1 and (i == n or net.operations[i].op.kind != BLOCK) else 0
        slot.x[i] = <char*> take(&end, (group - 1) * slot.x_step[i] + size)
        if i < n and net.operations[i].op.kind == BLOCK:
            slot.winner_step[i] = 0
            slot.winner[i] = <char*> take(&end, maps_bytes(&net.operations[i]))
    return end - memory


cdef Py_ssize_t lay_out_kept(const Network* net, Slot* slot, char* memory) noexcept nogil:
    """Point a slot's inputs and winners into what is kept of lane blocks; return each one's bytes.

    The memory is where the first lane block of a group begins.
    """
    cdef char* end = memory
    cdef Py_ssize_t i, n = net.n_operations
    for i in range(n + 1):
        slot.x[i] = <char*> take(&end, input_bytes(net, i))
        if i < n and net.operations[i].op.kind == BLOCK:
            slot.winner[i] = <char*> take(&end, maps_bytes(&net.operations[i]))
    for i in range(n + 1):
        slot.x_step[i] = end - memory
        if i < n:
            slot.winner_step[i] = end - memory
    return end - memory


cdef Py_ssize_t lay_out_gradients(const Network* net, Slot* slot, char* memory) noexcept nogil:
    """Point into the memory what the backward pass needs; return the bytes it takes."""
    cdef char* end = memory
    cdef Py_ssize_t i, item = net.item, L = VECTOR_BYTES // item
    cdef Py_ssize_t image = 0, copied = 0, maps = 0
    cdef const Prepared* op
    for i in range(net.n_operations):
        op = &net.operations[i]
        if op.op.kind == BLOCK:
            slot.dw[i] = take(&end, dweight_size(op, L) * item)
            slot.dbias[i] = take(&end, padded_filters(op) * VECTOR_BYTES)
        if op.op.kind == BLOCK and i == 0:
            slot.dz = take(&end, FILTER_TILE * 4 * op.op.Q * VECTOR_BYTES)
        elif op.op.kind == BLOCK:
            slot.d_step[i] = 0
            slot.d[i] = <char*> take(&end, op.op.C * op.op.inner_H * op.op.inner_W * VECTOR_BYTES)
            image = max(image, padded_image(op, L))
            copied = max(copied, copies(op, L) * padded_image(op, L))
            maps = max(maps, padded_maps(op))
        else:
            slot.d_step[i + 1] = op.op.K * VECTOR_BYTES
            slot.d[i + 1] = <char*> take(&end, net.group * slot.d_step[i + 1])
    slot.lanes = take(&end, maps * L * item)
    slot.dmaps = take(&end, maps * L * item)
    slot.winners = take(&end, maps * L * item)
    slot.images = take(&end, L * copied * item)
    slot.dimages = take(&end, L * image * item)
    slot.seen_at = <int32_t*> take(&end, maps * L * sizeof(int32_t))
    slot.framed_at = <int32_t*> take(&end, maps * L * sizeof(int32_t))
    slot.gradient = take(&end, net.n_parameters * item)
    slot.total = take(&end, net.n_parameters * sizeof(double))
    return end - memory


cdef Py_ssize_t lay_out_slot(
    const Network* net, Slot* slot, char* memory, bint training
) noexcept nogil:
    """Point a slot's arrays into the memory; return the bytes they take.

    What only training needs is left out without it.
    """
    cdef char* end = memory
    cdef const Operation* op = &net.operations[0].op
    cdef Py_ssize_t size = op.inner_H * op.inner_W, L = VECTOR_BYTES // net.item
    slot.words = take(&end, round_up(size, 4) * L)
    slot.plane = take(&end, size * VECTOR_BYTES if has_border(op) else 0)
    if training:
        slot.placed = take(&end, op.C * size * L * sizeof(double))
        end += lay_out_gradients(net, slot, end)
    end += lay_out_values(net, slot, end, net.group if training else 1)
    return end - memory


cdef void memory_needs(Network* net, Needs* needs) noexcept nogil:
    """Tell how many bytes a network takes."""
    cdef Slot slot
    needs.tables = lay_out_tables(net, NULL)
    needs.predicting = lay_out_slot(net, &slot, NULL, False)
    needs.training = lay_out_slot(net, &slot, NULL, True)
    needs.kept = lay_out_kept(net, &slot, NULL)


cdef void fill_taps(Prepared* block, Py_ssize_t L) noexcept nogil:
    """Compute the offset of each tap in a lane block."""
    cdef Py_ssize_t c, r, s, t = 0
    for c in range(block.op.C):
        for r in range(block.op.R):
            for s in range(block.op.S):
                block.tap[t] = ((c * block.op.H + r) * block.op.W + s) * L
                t += 1
    for t in range(block.T, padded_taps(block)):
        block.tap[t] = block.tap[block.T - 1]


cdef inline double larger(double largest, double value) noexcept nogil:
    """Return the larger absolute value; NaN counts as larger than anything."""
    return fabs(value) if fabs(value) > largest or value != value else largest


cdef void fill_filters(Prepared* block, const floating* flat) noexcept nogil:
    """Copy the filters into tiles, and note the largest values."""
    cdef floating* filters = <floating*> block.filters
    cdef floating* biases = <floating*> block.biases
    cdef const floating* weight = flat + block.op.weight_at
    cdef Py_ssize_t k, t, taps = padded_taps(block)
    cdef floating value
    block.largest_weight = block.largest_bias = 0
    for k in range(padded_filters(block)):
        for t in range(taps):
            value = weight[k * block.T + t] if k < block.op.K and t < block.T else 0
            filters[(k // FILTER_TILE * taps + t) * FILTER_TILE + k % FILTER_TILE] = value
            block.largest_weight = larger(block.largest_weight, value)
        biases[k] = flat[block.op.bias_at + k] if block.op.bias_at >= 0 and k < block.op.K else 0
        block.largest_bias = larger(block.largest_bias, biases[k])


cdef inline bint may_overflow(
    const Prepared* block, double* bound, Py_ssize_t item
) noexcept nogil:
    """Tell whether a block's values may become infinite or NaN for inputs within +-bound.

    The bound becomes that of the block's output. NaN in it, or among the weights, says yes.
    """
    bound[0] = bound[0] * block.largest_weight * block.T + block.largest_bias
    return not bound[0] < (1e30 if item == sizeof(float) else 1e300)
