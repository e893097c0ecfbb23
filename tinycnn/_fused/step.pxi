"""Whole passes: images to outputs, dlogits to gradients, or both at once, on several threads.

Images are worked on in *groups* of a few lane blocks. In training, each lane block of a group goes
all the way through the network and back before the next one starts, so that its maps stay in cache;
the gradient of the linear operations follows for the group at once. Groups form *chunks*, and each
chunk is one task with a gradient of its own. How images fall into groups and chunks depends on
their number alone, and the chunks' gradients are added in order, so the result is the same for any
number of threads.
"""

cdef enum:
    # So many images are computed one by one instead of as a lane block.
    FEW_IMAGES = LANES // 4
    # Values that are summed over all chunks at a time: their sums stay in the first-level cache.
    GRADIENT_PIECE = 256


cdef void divide(Job* job) noexcept nogil:
    """Cut the images into groups, and these into chunks.

    Two groups or more are an even number, so that two threads have the same to do, unless one of
    them would be empty.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // job.net.item
    job.lane_blocks = (job.count + L - 1) // L
    job.n_groups = (job.lane_blocks + job.net.group - 1) // job.net.group
    if job.n_groups > 1:
        job.n_groups = min(job.n_groups + job.n_groups % 2, job.lane_blocks)
    job.n_chunks = min(job.n_groups, job.most_chunks)


cdef Py_ssize_t first_lane_block(const Job* job, Py_ssize_t group) noexcept nogil:
    """Count the lane blocks before a group: some groups have one more than others."""
    return group * job.lane_blocks // job.n_groups


cdef double largest(const vec* x, Py_ssize_t n) noexcept nogil:
    """Largest absolute value of x[n, L]; NaN if there is a NaN or an infinity."""
    cdef vec top = splat(0), odd = splat(0)
    cdef Py_ssize_t i
    cdef int l
    cdef double result = 0
    for i in range(n):
        top = larger(x[i], larger(-x[i], top))
        odd += x[i] * 0
    for l in range(LANES):
        result = max(result, <double> (<real*> &top)[l]) + (<real*> &odd)[l]
    return result


cdef inline Py_ssize_t index_of(const Images* images, Py_ssize_t place) noexcept nogil:
    """Where the image at a place of the order, or without one of all, stands."""
    return place if images.order == NULL else images.order[place]


cdef void pack_lane_block(
    const Job* job, Slot* slot, const pixel* pixels, Py_ssize_t first, Py_ssize_t count, real* x
) noexcept nogil:
    """Pack count images from the first one on, moved if they are to be.

    The images are those at order[first], order[first + 1], ..., or simply at first, first + 1, ...
    if there is no order.
    """
    cdef const Images* images = &job.images
    cdef const Operation* op = &job.net.operations[0].op
    cdef Py_ssize_t size = op.C * op.inner_H * op.inner_W, l, index
    cdef Py_ssize_t L = LANES, last = job.first + job.count - 1
    cdef const pixel* image[2 * LANES]
    cdef pixel* placed = <pixel*> slot.placed
    for l in range(L):
        image[L + l] = pixels + index_of(images, min(first + L + l, last)) * size
        index = index_of(images, first + (l if l < count else 0))
        image[l] = pixels + index * size
        if images.moves != NULL:
            if l < count:
                move_image(image[l], op, images.moves + 3 * index, placed + l * size)
            image[l] = placed + (l if l < count else 0) * size
    pack(image, count, images, op, x)


cdef void load_lane_block(
    Job* job, Slot* slot, Py_ssize_t first, Py_ssize_t count, real* x
) noexcept nogil:
    """Pack count images from the first one on, and note their largest absolute value."""
    cdef const Operation* op = &job.net.operations[0].op
    if job.images.kind == BYTES:
        pack_lane_block(job, slot, <const uint8_t*> job.images.pixels, first, count, x)
        slot.bound = job.images.bound
        return
    if job.images.kind == FLOATS:
        pack_lane_block(job, slot, <const float*> job.images.pixels, first, count, x)
    else:
        pack_lane_block(job, slot, <const double*> job.images.pixels, first, count, x)
    slot.bound = largest(<const vec*> x, op.C * op.H * op.W)
    if slot.bound != slot.bound:
        job.all_finite = False


cdef void lane_block_forward(
    Job* job, Slot* slot, Py_ssize_t count, Py_ssize_t b
) noexcept nogil:
    """From count images, from the slot's place on, to the outputs, as lane block b of its group."""
    cdef const Prepared* op
    cdef Py_ssize_t i
    for i in range(job.n_run):
        op = &job.net.operations[i]
        if has_border(&op.op):
            clear_border(&op.op, <real*> input_of(slot, i, b))
    load_lane_block(job, slot, slot.place, count, <real*> input_of(slot, 0, b))
    for i in range(job.n_run):
        op = &job.net.operations[i]
        if op.drops:
            drop_inputs(op, slot, b)
        operations[op.op.kind].forward(op, slot, b)


cdef void lane_block_backward(
    const Job* job, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """From the gradient of the logits to that of all blocks, added to the slot's dw and dbias."""
    cdef const Prepared* op
    cdef Py_ssize_t i
    slot.dout = Source(values=NULL, next=NULL, dlinear=NULL)
    for i in range(job.net.n_operations - 1, -1, -1):
        op = &job.net.operations[i]
        operations[op.op.kind].backward(op, slot, b)


cdef void read_dlogits(
    const Job* job, const real* dlogits, Py_ssize_t first, Py_ssize_t count, real* d
) noexcept nogil:
    """d (M, L) = dlogits (M, images) of count images, the first one on, and 0 behind them.

    What is next to the subnormal numbers becomes 0, too: see `cross_entropy`.
    """
    cdef Py_ssize_t m, l, L = LANES
    cdef real tiny = 1e-30 if sizeof(real) == sizeof(float) else 1e-290
    cdef real value
    for m in range(job.net.operations[job.net.n_operations - 1].op.K):
        for l in range(L):
            value = dlogits[m * job.count + first + l] if l < count else 0
            d[m * L + l] = 0 if fabs(value) < tiny else value


cdef double group_gradient(
    Job* job, Slot* slot, Py_ssize_t group, real* gradient
) noexcept nogil:
    """Gradient (n_parameters,) of the images of a group, and their summed loss.

    Where a forward pass has kept its values, its gradient is that of dlogits, and there is no loss.
    """
    cdef const Prepared* op
    cdef Py_ssize_t n = job.net.n_operations
    cdef Py_ssize_t L = LANES, first = first_lane_block(job, group)
    cdef Py_ssize_t n_lane_blocks = first_lane_block(job, group + 1) - first, b, i, start, count
    cdef real* dlogits
    cdef double loss = 0
    for i in range(n):
        op = &job.net.operations[i]
        if not is_linear(&op.op):
            fill_zero(<real*> slot.dw[i], dweight_size(op))
            fill_zero(<real*> slot.dbias[i], padded_filters(&op.op) * L)
    if job.kept != NULL:
        lay_out_kept(job.net, slot, job.kept + first * job.kept_bytes)
    for i in range(n_lane_blocks):
        # What was kept last is still in the cache.
        b = i if job.kept == NULL else n_lane_blocks - 1 - i
        start = (first + b) * L
        count = min(L, job.count - start)
        slot.place = job.first + start
        dlogits = <real*> gradient_of(slot, n, b)
        if job.kept != NULL:
            read_dlogits(job, <const real*> job.dlogits, start, count, dlogits)
        else:
            lane_block_forward(job, slot, count, b)
            loss += cross_entropy(
                &job.loss, view2(dlogits, job.net.operations[n - 1].op.K, LANES), job.images.order,
                slot.place, count
            )
        lane_block_backward(job, slot, b)
    for i in range(n):
        op = &job.net.operations[i]
        operations[op.op.kind].collect(op, slot, n_lane_blocks, gradient)
    return loss


cdef void chunk_gradient(
    Job* job, Py_ssize_t chunk, Py_ssize_t slot_number, real* out
) noexcept nogil:
    """Gradient of one chunk of images, summed over its groups in double."""
    cdef Slot slot
    cdef Py_ssize_t first_group = chunk * job.n_groups // job.n_chunks
    cdef Py_ssize_t last_group = (chunk + 1) * job.n_groups // job.n_chunks
    cdef Py_ssize_t g, i, n = job.net.n_parameters, last = job.net.n_operations
    cdef real* gradient
    cdef double* total
    cdef double loss = 0
    lay_out_slot(job.net, &slot, job.slots + slot_number * job.slot_bytes, True)
    if job.kept == NULL:
        # The logits become their gradients where they stand.
        slot.d[last] = slot.x[last]
    out += chunk * n
    gradient = out if last_group == first_group + 1 else <real*> slot.gradient
    total = <double*> slot.total
    for g in range(first_group, last_group):
        loss += group_gradient(job, &slot, g, gradient)
        if gradient != out:
            for i in range(n):
                total[i] = gradient[i] if g == first_group else total[i] + gradient[i]
    if gradient != out:
        for i in range(n):
            out[i] = <real> total[i]
    job.losses[chunk] = loss


cdef void add_chunks(
    const real* chunks, Py_ssize_t n_chunks, Py_ssize_t n, real* gradient
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
            gradient[first + i] = <real> total[i]
        first += length


cdef void write_outputs(
    const Job* job, const real* values, Py_ssize_t first, Py_ssize_t count, real* out
) noexcept nogil:
    """Put values (n, L) of count images, the first one on, into their places.

    out is (images, n) or, where values are kept for the backward pass, (n, images): whoever goes on
    with the logits in NumPy does so a class at a time.
    """
    cdef Py_ssize_t L = LANES, i, l
    cdef Py_ssize_t n = input_bytes(job.net, job.n_run) // VECTOR_BYTES
    if job.kept != NULL:
        for i in range(n):
            memcpy(out + i * job.count + first, values + i * L, count * sizeof(real))
        return
    for l in range(count):
        for i in range(n):
            out[(first + l) * n + i] = values[i * L + l]


cdef void load_image(Job* job, Slot* slot, Py_ssize_t index) noexcept nogil:
    """Pack one image by itself, and note its largest absolute value."""
    cdef const Prepared* first = &job.net.operations[0]
    cdef Py_ssize_t at = index * first.op.C * first.op.inner_H * first.op.inner_W
    cdef real* x = <real*> slot.single[0]
    cdef real* row = <real*> slot.pooled
    if job.images.kind == BYTES:
        pack_single((<const uint8_t*> job.images.pixels) + at, &job.images, first, row, x)
        slot.bound = job.images.bound
        return
    if job.images.kind == FLOATS:
        pack_single((<const float*> job.images.pixels) + at, &job.images, first, row, x)
    else:
        pack_single((<const double*> job.images.pixels) + at, &job.images, first, row, x)
    slot.bound = largest(<const vec*> x, tiles_of(LANES, single_size(first)))
    if slot.bound != slot.bound:
        job.all_finite = False


cdef void image_forward(Job* job, Slot* slot, Py_ssize_t index, real* out) noexcept nogil:
    """Outputs of one image by itself."""
    cdef const Prepared* op
    cdef Py_ssize_t i
    load_image(job, slot, index)
    for i in range(job.n_run):
        op = &job.net.operations[i]
        operations[op.op.kind].single(op, slot)
    memcpy(out, slot.single[job.n_run], input_bytes(job.net, job.n_run) // LANES)


cdef void group_forward(
    Job* job, Py_ssize_t group, Py_ssize_t slot_number, real* out
) noexcept nogil:
    """Outputs of one group of images; what backward needs is kept, if asked for."""
    cdef Slot slot
    cdef Py_ssize_t L = LANES, first = first_lane_block(job, group)
    cdef Py_ssize_t n_lane_blocks = first_lane_block(job, group + 1) - first, b, start, count, i
    cdef Py_ssize_t width = input_bytes(job.net, job.n_run) // VECTOR_BYTES
    cdef bint singly = job.kept == NULL
    for i in range(job.n_run):
        singly = singly and operations[job.net.operations[i].op.kind].single != NULL
    lay_out_slot(job.net, &slot, job.slots + slot_number * job.slot_bytes, False)
    if job.kept != NULL:
        lay_out_kept(job.net, &slot, job.kept + first * job.kept_bytes)
    for b in range(n_lane_blocks):
        start = (first + b) * L
        count = min(L, job.count - start)
        if singly and count <= FEW_IMAGES:
            for i in range(start, start + count):
                image_forward(job, &slot, i, out + i * width)
            continue
        slot.place = job.first + start
        lane_block_forward(job, &slot, count, b)
        write_outputs(
            job, <const real*> input_of(&slot, job.n_run, b), start, count, out
        )


# What the table has.


cdef void prepare(Network* net, const void* flat, char* tables) noexcept nogil:
    """Bring the parameters into the form in which the kernels want them, in tables."""
    cdef Prepared* op
    cdef Py_ssize_t i
    lay_out_tables(net, tables)
    for i in range(net.n_operations):
        op = &net.operations[i]
        operations[op.op.kind].prepare(op, <const real*> flat)


cdef void chunk_task(void* data, Py_ssize_t task, Py_ssize_t slot) noexcept nogil:
    cdef Job* job = <Job*> data
    if job.kept != NULL:  # what was kept last is still in the cache
        task = job.n_chunks - 1 - task
    chunk_gradient(job, task, slot, <real*> job.out)


cdef void forward_task(void* data, Py_ssize_t task, Py_ssize_t slot) noexcept nogil:
    cdef Job* job = <Job*> data
    group_forward(job, task, slot, <real*> job.out)


cdef void add_up_chunks(Job* job) noexcept nogil:
    add_chunks(
        <const real*> job.out, job.n_chunks, job.net.n_parameters, <real*> job.gradient
    )
