"""What the fused kernels know of a network: its shapes, and where everything stands in memory.

Memory comes from the caller: tables that all threads read, and for each thread a slot of work
space. One function lays a slot out; asked without memory, it tells how much is needed.
"""

cdef enum:
    ALIGNMENT = 64  # a cache line, and the widest vector register

# The work space of one thread. Arrays of one lane block, but for those of a group of them.
cdef struct Slot:
    void* x  # (C, H, W, L) of the images
    void* pooled[MAX_BLOCKS]  # (K, P, Q, L); the last block's: (group, F, L)
    void* winner[MAX_BLOCKS]  # (K, P, Q, L)
    void* dpooled[MAX_BLOCKS]  # (K, P, Q, L), of all but the last block
    void* dw[MAX_BLOCKS]  # (K, T, L), K and T rounded up; after the first block (K, runs, L)
    void* dbias[MAX_BLOCKS]  # (K, L), rounded up
    void* hidden  # (group, hidden.M, L)
    void* dhidden  # the same
    void* logits  # (group, M, L)
    void* dz  # [4 filters, 4 positions, Q, L]
    # Of a block after the first, see `winner.pxi`; images and maps are padded.
    void* lanes  # (K, P, Q, L): the gradient of its pooled values
    void* dmaps  # (L, P, Q, K): the same image by image, and
    void* winners  # their winners
    void* images  # (L, copies, H, W, C): the inputs
    void* dimages  # (L, H, W, C): their gradient
    int32_t* seen_at  # (L, P, Q, K): where the values begin that a winner saw
    int32_t* framed_at  # (L, P, Q, K): where its patch begins in the filter's frames
    void* words  # (H * W / 4, L) of one channel, rounded up
    void* placed  # (L, C, H, W) of pixels in any format, padded and moved
    void* padded  # (C, H, W) of one image on its way there
    void* gradient  # (n_parameters,) of one group
    void* total  # (n_parameters,) of all groups of a chunk, in double


cdef Py_ssize_t padded_taps(const Block* block) noexcept nogil:
    return round_up(block.T, TAP_TILE)


cdef Py_ssize_t padded_filters(const Block* block) noexcept nogil:
    return round_up(block.K, FILTER_TILE)


cdef Py_ssize_t dweight_size(const Block* block, Py_ssize_t i, Py_ssize_t L) noexcept nogil:
    """Values that the gradient of the filters of block i takes while it is summed."""
    if i == 0:
        return padded_filters(block) * padded_taps(block) * L
    return block.K * filter_runs(block, L) * L


cdef void* take(char** memory, Py_ssize_t n_bytes) noexcept nogil:
    """Cut n_bytes off the memory, and what is missing to the next cache line."""
    cdef char* start = memory[0]
    memory[0] = start + round_up(n_bytes, ALIGNMENT)
    return start


cdef Py_ssize_t lay_out_tables(Network* net, char* memory, Py_ssize_t item) noexcept nogil:
    """Point the blocks' tables into the memory; return the bytes they take."""
    cdef char* end = memory
    cdef Py_ssize_t i, n, L = VECTOR_BYTES // item
    cdef Block* block
    for i in range(net.n_blocks):
        block = &net.blocks[i]
        block.tap = <int64_t*> take(&end, padded_taps(block) * sizeof(int64_t))
        block.filters = take(&end, padded_filters(block) * padded_taps(block) * item)
        block.biases = take(&end, padded_filters(block) * item)
        if i > 0:
            n = block.K * copies(block, L) * frame_size(block, L)
            block.window = <int64_t*> take(&end, block.P * block.Q * sizeof(int64_t))
            block.run = <int64_t*> take(&end, filter_runs(block, L) * sizeof(int64_t))
            block.patch_run = <int64_t*> take(&end, patch_runs(block, L) * sizeof(int64_t))
            block.frames = take(&end, n * item)
    return end - memory


cdef Py_ssize_t lay_out_slot(
    const Network* net, Slot* slot, char* memory, Py_ssize_t item, Py_ssize_t group, bint training
) noexcept nogil:
    """Point a slot's arrays into the memory; return the bytes they take.

    group is the number of lane blocks in a group. What only training needs is left out without it.
    """
    cdef char* end = memory
    cdef Py_ssize_t i, maps, n, L = VECTOR_BYTES // item, image = 0, copied = 0, maps_of_image = 0
    cdef const Block* block = &net.blocks[0]
    slot.words = take(&end, round_up(block.H * block.W, 4) * L)
    slot.x = take(&end, block.C * block.H * block.W * L * item)
    if training or net.padding > 0:
        slot.placed = take(&end, block.C * block.H * block.W * L * sizeof(double))
        slot.padded = take(&end, block.C * block.H * block.W * sizeof(double))
    for i in range(net.n_blocks):
        block = &net.blocks[i]
        maps = block.K * block.P * block.Q * L * item
        n = group if i == net.n_blocks - 1 else 1
        if i > 0:
            image = max(image, padded_image(block, L))
            copied = max(copied, copies(block, L) * padded_image(block, L))
            maps_of_image = max(maps_of_image, padded_maps(block))
        slot.winner[i] = take(&end, maps)
        slot.pooled[i] = take(&end, n * maps)
        if training:
            slot.dpooled[i] = take(&end, maps if i < net.n_blocks - 1 else 0)
            slot.dw[i] = take(&end, dweight_size(block, i, L) * item)
            slot.dbias[i] = take(&end, padded_filters(block) * L * item)
    slot.hidden = take(&end, group * net.hidden.M * L * item)
    slot.logits = take(&end, group * net.linear.M * L * item)
    if training:
        slot.dhidden = take(&end, group * net.hidden.M * L * item)
        slot.dz = take(&end, FILTER_TILE * 4 * net.blocks[0].Q * L * item)
        slot.lanes = take(&end, maps_of_image * L * item)
        slot.dmaps = take(&end, maps_of_image * L * item)
        slot.winners = take(&end, maps_of_image * L * item)
        slot.images = take(&end, L * copied * item)
        slot.dimages = take(&end, L * image * item)
        slot.seen_at = <int32_t*> take(&end, maps_of_image * L * sizeof(int32_t))
        slot.framed_at = <int32_t*> take(&end, maps_of_image * L * sizeof(int32_t))
        slot.gradient = take(&end, net.n_parameters * item)
        slot.total = take(&end, net.n_parameters * sizeof(double))
    return end - memory


cdef void memory_needs(
    Network* net, Py_ssize_t item, Py_ssize_t group, Py_ssize_t* needs
) noexcept nogil:
    """needs[3] = the bytes of the tables, of a slot that predicts, and of one that trains."""
    cdef Slot slot
    needs[0] = lay_out_tables(net, NULL, item)
    needs[1] = lay_out_slot(net, &slot, NULL, item, group, False)
    needs[2] = lay_out_slot(net, &slot, NULL, item, group, True)


cdef void fill_taps(Block* block, Py_ssize_t L) noexcept nogil:
    """Compute the offset of each tap in a lane block."""
    cdef Py_ssize_t c, r, s, t = 0
    for c in range(block.C):
        for r in range(block.R):
            for s in range(block.S):
                block.tap[t] = ((c * block.H + r) * block.W + s) * L
                t += 1
    for t in range(block.T, padded_taps(block)):
        block.tap[t] = block.tap[block.T - 1]


cdef inline double larger(double largest, double value) noexcept nogil:
    """Return the larger absolute value; NaN counts as larger than anything."""
    return fabs(value) if fabs(value) > largest or value != value else largest


cdef void fill_filters(Block* block, const floating* flat, bint bias) noexcept nogil:
    """Copy the filters into tiles, and note the largest values."""
    cdef floating* filters = <floating*> block.filters
    cdef floating* biases = <floating*> block.biases
    cdef const floating* weight = flat + block.weight_at
    cdef Py_ssize_t k, t, taps = padded_taps(block)
    cdef floating value
    block.largest_weight = block.largest_bias = 0
    for k in range(padded_filters(block)):
        for t in range(taps):
            value = weight[k * block.T + t] if k < block.K and t < block.T else 0
            filters[(k // FILTER_TILE * taps + t) * FILTER_TILE + k % FILTER_TILE] = value
            block.largest_weight = larger(block.largest_weight, value)
        biases[k] = flat[block.bias_at + k] if bias and k < block.K else 0
        block.largest_bias = larger(block.largest_bias, biases[k])


cdef void prepare(Network* net, const floating* flat, char* tables) noexcept nogil:
    """Bring the parameters into the form in which the kernels want them."""
    cdef Py_ssize_t i
    lay_out_tables(net, tables, sizeof(floating))
    for i in range(net.n_blocks):
        fill_taps(&net.blocks[i], VECTOR_BYTES // sizeof(floating))
        fill_filters(&net.blocks[i], flat, net.bias)
        if i > 0:
            fill_runs(&net.blocks[i], VECTOR_BYTES // sizeof(floating))
            fill_frames(&net.blocks[i], flat + net.blocks[i].weight_at)
    point_at(&net.hidden, flat, net.bias)
    point_at(&net.linear, flat, net.bias)


cdef void point_at(Linear* linear, const floating* flat, bint bias) noexcept nogil:
    """Let a linear layer find its parameters in the flat vector."""
    linear.weight = flat + linear.weight_at
    linear.bias = flat + linear.bias_at if bias else NULL


cdef inline bint may_overflow(const Block* block, double* bound, Py_ssize_t item) noexcept nogil:
    """Tell whether a block's values may become infinite or NaN for inputs within +-bound.

    The bound becomes that of the block's output. NaN in it, or among the weights, says yes.
    """
    bound[0] = bound[0] * block.largest_weight * block.T + block.largest_bias
    return not bound[0] < (1e30 if item == sizeof(float) else 1e300)
