"""Whole steps: from images to logits, or to the loss and its gradient, on several threads.

Images are worked on in *groups* of a few lane blocks. Within a group each lane block goes all the
way through the network before the next one starts, so that its maps stay in cache; the gradient of
the linear layer follows for the group at once. Groups form *chunks*, and each chunk is one task
with a gradient of its own. How images fall into groups and chunks depends on their number alone,
and the chunks' gradients are added in order, so the result is the same for any number of threads.
"""

cdef enum:
    # Values that are summed over all chunks at a time: their sums stay in the first-level cache.
    GRADIENT_PIECE = 256


cdef void divide(Job* job) noexcept nogil:
    """Cut the images into groups, and these into chunks.

    Two groups or more are an even number, so that two threads have the same to do, unless one of
    them would be empty.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // job.item
    job.lane_blocks = (job.count + L - 1) // L
    job.n_groups = (job.lane_blocks + job.group - 1) // job.group
    if job.n_groups > 1:
        job.n_groups = min(job.n_groups + job.n_groups % 2, job.lane_blocks)
    job.n_chunks = min(job.n_groups, job.most_chunks)


cdef Py_ssize_t group_start(const Job* job, Py_ssize_t g) noexcept nogil:
    """Count the images before group g: some groups have a lane block more than others."""
    return min(g * job.lane_blocks // job.n_groups * (VECTOR_BYTES // job.item), job.count)


cdef double largest(const floating* x, Py_ssize_t n) noexcept nogil:
    """Largest absolute value of x[n]; NaN if there is a NaN or an infinity."""
    cdef floating top[MAX_LANES]
    cdef floating odd[MAX_LANES]
    cdef floating value
    cdef floating zero = 0  # a plain 0 would make the product a double
    cdef Py_ssize_t i, l, L = VECTOR_BYTES // sizeof(floating)
    cdef double result = 0
    for l in range(L):
        top[l] = 0
        odd[l] = 0
    for i in range(n // L):
        for l in range(L):
            value = fabs(x[i * L + l])
            top[l] = value if value > top[l] else top[l]
            odd[l] += value * zero
    for l in range(L):
        result = max(result, <double> top[l]) + odd[l]
    return result


cdef void place_image(
    const Network* net, const pixel* image, const int8_t* move, pixel* padded, pixel* out
) noexcept nogil:
    """out (C, H, W) = the image, padded if the network does, moved if move is not NULL."""
    cdef const Block* block = &net.blocks[0]
    cdef Py_ssize_t C = block.C, H = block.H, W = block.W, padding = net.padding
    if padding > 0:
        padded = out if move == NULL else padded
        pad_image(image, C, H - 2 * padding, W - 2 * padding, padding, padded)
        image = padded
    if move != NULL:
        move_image(image, C, H, W, move[0], move[1], move[2], out)


cdef void pack_lane_block(
    Job* job, Slot* slot, const pixel* images, Py_ssize_t first, Py_ssize_t count, floating* x
) noexcept nogil:
    """Pack count images from the first one on, padded and moved if they are to be."""
    cdef const Block* block = &job.net.blocks[0]
    cdef const int64_t* order = job.order
    cdef Py_ssize_t size = block.H * block.W, border = 2 * job.net.padding, l, index
    cdef Py_ssize_t n_pixels = block.C * (block.H - border) * (block.W - border)
    cdef pixel* placed = <pixel*> slot.placed
    cdef const int8_t* move = NULL
    if job.moves != NULL or border > 0:
        for l in range(count):
            index = first + l if order == NULL else order[first + l]
            if job.moves != NULL:
                move = job.moves + 3 * index
            place_image(
                &job.net, images + index * n_pixels, move, <pixel*> slot.padded,
                placed + l * block.C * size
            )
        images, order, first = placed, NULL, 0
    pack(
        images, order, first, count, block.C, size, job.scale, job.shift, <uint32_t*> slot.words, x
    )


cdef double load_lane_block(
    Job* job, Slot* slot, Py_ssize_t first, Py_ssize_t count, floating* x
) noexcept nogil:
    """Pack count images from the first one on; return the largest absolute value."""
    cdef const Block* block = &job.net.blocks[0]
    cdef double bound
    if job.kind == BYTES:
        pack_lane_block(job, slot, <const uint8_t*> job.images, first, count, x)
        return job.bound
    if job.kind == FLOATS:
        pack_lane_block(job, slot, <const float*> job.images, first, count, x)
    else:
        pack_lane_block(job, slot, <const double*> job.images, first, count, x)
    bound = largest(x, block.C * block.H * block.W * (VECTOR_BYTES // sizeof(floating)))
    if bound != bound:
        job.all_finite = False
    return bound


cdef void lane_block_forward(
    const Network* net, Slot* slot, double bound, Py_ssize_t b, floating* logits
) noexcept nogil:
    """From the packed images to the logits (M, L), as lane block b of its group."""
    cdef const floating* x = <const floating*> slot.x
    cdef floating* pooled = NULL
    cdef floating* hidden
    cdef Py_ssize_t i, L = VECTOR_BYTES // sizeof(floating)
    for i in range(net.n_blocks):
        pooled = <floating*> slot.pooled[i]
        if i == net.n_blocks - 1:
            pooled += b * net.blocks[i].K * net.blocks[i].P * net.blocks[i].Q * L
        block_forward(
            &net.blocks[i], x, may_overflow(&net.blocks[i], &bound, sizeof(floating)), pooled,
            <floating*> slot.winner[i]
        )
        x = pooled
    if net.hidden.M > 0:
        hidden = <floating*> slot.hidden + b * net.hidden.M * L
        lanes_linear_forward(&net.hidden, x, hidden)
        lanes_relu(hidden, net.hidden.M * L)
        x = hidden
    lanes_linear_forward(&net.linear, x, logits)


cdef void lane_block_backward(
    const Network* net, Slot* slot, Py_ssize_t b, const floating* dlogits
) noexcept nogil:
    """From the gradient of the logits to that of all conv blocks, added to the slot's dw, dbias."""
    cdef const Linear* linear = &net.linear
    cdef const floating* dpooled = NULL
    cdef floating* dx
    cdef floating* dhidden
    cdef Py_ssize_t i, n = net.hidden.M * (VECTOR_BYTES // sizeof(floating))
    if net.hidden.M > 0:
        dhidden = <floating*> slot.dhidden + b * n
        linear_backward_row(linear, 0, net.hidden.M, dlogits, dhidden)
        lanes_relu_backward(<const floating*> slot.hidden + b * n, n, dhidden)
        linear, dlogits = &net.hidden, dhidden
    for i in range(net.n_blocks - 1, 0, -1):
        dx = <floating*> slot.dpooled[i - 1]
        later_block_backward(
            &net.blocks[i], slot, <const floating*> slot.pooled[i - 1],
            <const floating*> slot.winner[i], dpooled, linear, dlogits, <floating*> slot.dw[i],
            <floating*> slot.dbias[i], dx
        )
        dpooled = dx
    first_block_backward(
        &net.blocks[0], <const floating*> slot.x, <const floating*> slot.winner[0], dpooled, linear,
        dlogits, <floating*> slot.dz, <floating*> slot.dw[0], <floating*> slot.dbias[0]
    )


cdef double group_gradient(
    Job* job, Slot* slot, Py_ssize_t first, Py_ssize_t last, floating* gradient
) noexcept nogil:
    """Gradient (n_parameters,) of the images from first to last, and their summed loss."""
    cdef Network* net = &job.net
    cdef Block* block
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), M = net.linear.M
    cdef Py_ssize_t b = 0, i, count
    cdef floating* logits
    cdef double bound, loss = 0
    for i in range(net.n_blocks):
        block = &net.blocks[i]
        fill_zero(<floating*> slot.dw[i], dweight_size(block, i, L))
        fill_zero(<floating*> slot.dbias[i], padded_filters(block) * L)
    while first < last:
        count = min(L, last - first)
        logits = <floating*> slot.logits + b * M * L
        bound = load_lane_block(job, slot, first, count, <floating*> slot.x)
        lane_block_forward(net, slot, bound, b, logits)
        loss += lanes_cross_entropy(&job.loss, logits, M, job.order, first, count)
        lane_block_backward(net, slot, b, logits)
        first += L
        b += 1
    for i in range(net.n_blocks):
        block = &net.blocks[i]
        if i == 0:
            add_up_taps(block, <const floating*> slot.dw[i], gradient + block.weight_at)
        else:
            read_runs(block, <const floating*> slot.dw[i], gradient + block.weight_at)
        if net.bias:
            sum_lanes(<floating*> slot.dbias[i], block.K, gradient + block.bias_at)
    linear_gradients(
        net, <const floating*> slot.pooled[net.n_blocks - 1], <const floating*> slot.hidden,
        <const floating*> slot.dhidden, <const floating*> slot.logits, b, gradient
    )
    return loss


cdef void linear_gradients(
    const Network* net, const floating* pooled, const floating* hidden, const floating* dhidden,
    const floating* dlogits, Py_ssize_t n, floating* gradient
) noexcept nogil:
    """Gradients of the linear layers from n lane blocks, put in their places."""
    cdef const Linear* linear = &net.hidden
    if linear.M > 0:
        lanes_linear_backward(
            linear, pooled, dhidden, n, gradient + linear.weight_at,
            gradient + linear.bias_at if net.bias else NULL
        )
        pooled = hidden
    linear = &net.linear
    lanes_linear_backward(
        linear, pooled, dlogits, n, gradient + linear.weight_at,
        gradient + linear.bias_at if net.bias else NULL
    )


cdef void chunk_gradient(
    Job* job, Py_ssize_t chunk, Py_ssize_t slot_number, floating* out
) noexcept nogil:
    """Gradient of one chunk of images, summed over its groups in double."""
    cdef Slot slot
    cdef Py_ssize_t first_group = chunk * job.n_groups // job.n_chunks
    cdef Py_ssize_t last_group = (chunk + 1) * job.n_groups // job.n_chunks
    cdef Py_ssize_t g, i, start, stop, n = job.net.n_parameters
    cdef floating* gradient
    cdef double* total
    cdef double loss = 0
    lay_out_slot(
        &job.net, &slot, job.slots + slot_number * job.slot_bytes, sizeof(floating), job.group, True
    )
    out += chunk * n
    gradient = out if last_group == first_group + 1 else <floating*> slot.gradient
    total = <double*> slot.total
    for g in range(first_group, last_group):
        start = job.first + group_start(job, g)
        stop = job.first + group_start(job, g + 1)
        loss += group_gradient(job, &slot, start, stop, gradient)
        if gradient != out:
            for i in range(n):
                total[i] = gradient[i] if g == first_group else total[i] + gradient[i]
    if gradient != out:
        for i in range(n):
            out[i] = <floating> total[i]
    job.losses[chunk] = loss


cdef void add_chunks(
    const floating* chunks, Py_ssize_t n_chunks, Py_ssize_t n, floating* gradient
) noexcept nogil:
    """gradient[n] = the sum of chunks[n_chunks, n], in double and in the order of the chunks."""
    cdef double total[GRADIENT_PIECE]
    cdef Py_ssize_t c, i, first = 0, length
    while first < n:
        length = min(<Py_ssize_t> GRADIENT_PIECE, n - first)
        for i in range(length):
            total[i] = chunks[first + i]
        for c in range(1, n_chunks):
            for i in range(length):
                total[i] += chunks[c * n + first + i]
        for i in range(length):
            gradient[first + i] = <floating> total[i]
        first += length


cdef void group_outputs(
    Job* job, Py_ssize_t group, Py_ssize_t slot_number, floating* out
) noexcept nogil:
    """Logits (images, M) or, without output layer, features (images, F) of one group of images."""
    cdef Slot slot
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), n_blocks = job.net.n_blocks
    cdef Py_ssize_t n = job.net.linear.M if job.net.linear.M > 0 else job.net.linear.F
    cdef Py_ssize_t first = group_start(job, group), last = group_start(job, group + 1)
    cdef Py_ssize_t l, i, count
    cdef const floating* values
    cdef double bound
    lay_out_slot(
        &job.net, &slot, job.slots + slot_number * job.slot_bytes, sizeof(floating), job.group,
        False
    )
    if job.net.linear.M > 0:
        values = <const floating*> slot.logits
    elif job.net.hidden.M > 0:
        values = <const floating*> slot.hidden
    else:
        values = <const floating*> slot.pooled[n_blocks - 1]
    while first < last:
        count = min(L, last - first)
        bound = load_lane_block(job, &slot, job.first + first, count, <floating*> slot.x)
        lane_block_forward(&job.net, &slot, bound, 0, <floating*> slot.logits)
        for l in range(count):
            for i in range(n):
                out[(first + l) * n + i] = values[i * L + l]
        first += L


# What the table has: these find the type of the parameters in the job.


cdef void prepare_job(Job* job) noexcept nogil:
    divide(job)
    if job.item == sizeof(float):
        prepare(&job.net, <const float*> job.flat, job.tables)
    else:
        prepare(&job.net, <const double*> job.flat, job.tables)


cdef void chunk_task(void* data, Py_ssize_t task, Py_ssize_t slot) noexcept nogil:
    cdef Job* job = <Job*> data
    if job.item == sizeof(float):
        chunk_gradient(job, task, slot, <float*> job.out)
    else:
        chunk_gradient(job, task, slot, <double*> job.out)


cdef void outputs_task(void* data, Py_ssize_t task, Py_ssize_t slot) noexcept nogil:
    cdef Job* job = <Job*> data
    if job.item == sizeof(float):
        group_outputs(job, task, slot, <float*> job.out)
    else:
        group_outputs(job, task, slot, <double*> job.out)


cdef void add_up_chunks(Job* job) noexcept nogil:
    cdef Py_ssize_t n = job.net.n_parameters
    if job.item == sizeof(float):
        add_chunks(<const float*> job.out, job.n_chunks, n, <float*> job.gradient)
    else:
        add_chunks(<const double*> job.out, job.n_chunks, n, <double*> job.gradient)
