"""Whole passes: images to outputs, dlogits to gradients, or both at once, on several threads.

Images are worked on in *groups* of a few lane blocks. In training, each lane block of a group goes
all the way through the network and back before the next one starts, so that its maps stay in cache;
the gradient of the linear operations follows for the group at once. Groups form *chunks*, and each
chunk is one task with a gradient of its own. How images fall into groups and chunks depends on
their number alone, and the chunks' gradients are added in order, so the result is the same for any
number of threads.
"""

cdef enum:
    ALONE = 0  # instead of a number of images: one by itself
    # So many images are computed one by one instead of as a lane block.
    FEW_IMAGES = LANES // 4
    # Values that are summed over all chunks at a time: their sums stay in the first-level cache.
    GRADIENT_PIECE = 256


cdef void divide(Job* job) noexcept nogil:
    """Cut the images into groups, and these into chunks.

    Two groups or more are an even number, so that two threads have the same to do, unless one of
    them would be empty.
    """
    job.lane_blocks = tiles_of(LANES, job.count)
    job.n_groups = tiles_of(job.net.group, job.lane_blocks)
    if job.n_groups > 1:
        job.n_groups = min(job.n_groups + job.n_groups % 2, job.lane_blocks)
    job.n_chunks = min(job.n_groups, job.most_chunks)


cdef Py_ssize_t first_lane_block(const Job* job, Py_ssize_t group) noexcept nogil:
    """Count the lane blocks before a group: some groups have one more than others."""
    return group * job.lane_blocks // job.n_groups


cdef inline Py_ssize_t index_of(const Images* images, Py_ssize_t place) noexcept nogil:
    """Where the image at a place of the order, or without one of all, stands."""
    return place if images.order == NULL else images.order[place]


cdef void load_pixels(
    const Job* job, Slot* slot, const pixel* pixels, Py_ssize_t first, Py_ssize_t count, real* x
) noexcept nogil:
    """Pack count images from the first one on, moved if they are to be; or that one ALONE.

    The images are those at order[first], order[first + 1], ..., or simply at first, first + 1, ...
    if there is no order.
    """
    cdef const Images* images = &job.images
    cdef const Prepared* op = &job.net.operations[0]
    cdef Py_ssize_t size = pixels_of(op), l, index, last = job.first + job.count - 1
    cdef const pixel* image[2 * LANES]
    cdef pixel* placed = <pixel*> slot.placed
    if count == ALONE:
        pack_single(pixels + first * size, images, op, <real*> slot.scratch, x)
        return
    for l in range(<Py_ssize_t> LANES):
        image[LANES + l] = pixels + index_of(images, min(first + LANES + l, last)) * size
        index = index_of(images, first + (l if l < count else 0))
        image[l] = pixels + index * size
        if images.moves != NULL:
            if l < count:
                move_image(image[l], &op.op, images.moves + 3 * index, placed + l * size)
            image[l] = placed + (l if l < count else 0) * size
    pack(image, count, images, &op.op, x)


cdef void load(
    Job* job, Slot* slot, Py_ssize_t first, Py_ssize_t count, real* x, Py_ssize_t n
) noexcept nogil:
    """As `load_pixels`, and note the largest absolute value of x[n, L]."""
    slot.bound = job.images.bound
    if job.images.kind == BYTES:
        load_pixels(job, slot, <const uint8_t*> job.images.pixels, first, count, x)
        return
    if job.images.kind == FLOATS:
        load_pixels(job, slot, <const float*> job.images.pixels, first, count, x)
    else:
        load_pixels(job, slot, <const double*> job.images.pixels, first, count, x)
    slot.bound = largest(<const vec*> x, n)
    if slot.bound != slot.bound:
        job.all_finite = False


cdef void lane_block_forward(Job* job, Slot* slot, Py_ssize_t count, Py_ssize_t b) noexcept nogil:
    """From count images, from the slot's place on, to the outputs, as lane block b of its group."""
    cdef const Prepared* op = &job.net.operations[0]
    cdef Py_ssize_t i
    load(job, slot, slot.place, count, <real*> input_of(op, slot, b), input_size(op))
    for i in range(job.n_run):
        op = &job.net.operations[i]
        if drops(op, slot):
            drop_inputs(op, slot, b)
        lay_out_scratch(op, slot, slot.scratch, False)
        operations[op.op.kind].forward(op, slot, b)


cdef void image_forward(Job* job, Slot* slot, Py_ssize_t index, real* out) noexcept nogil:
    """Outputs of one image by itself."""
    cdef const Prepared* op = &job.net.operations[0]
    cdef Py_ssize_t i
    load(job, slot, index, ALONE, <real*> slot.single, tiles_of(LANES, single_size(op)))
    for i in range(job.n_run):
        op = &job.net.operations[i]
        lay_out_scratch(op, slot, slot.scratch, False)
        operations[op.op.kind].single(op, slot)
    op = &job.net.operations[job.n_run]
    memcpy(out, slot.single + op.single_at, input_size(op) * sizeof(real))


cdef void write_outputs(
    const Job* job, const real* values, Py_ssize_t first, Py_ssize_t count, Py_ssize_t n
) noexcept nogil:
    """Put values (n, L) of count images, the first one on, into their places.

    Those are (images, n) or, where values are kept for the backward pass, (n, images): whoever goes
    on with the logits in NumPy does so a class at a time.
    """
    cdef real* out = <real*> job.out
    cdef Py_ssize_t i, l
    for i in range(n if job.kept != NULL else 0):
        memcpy(out + i * job.count + first, values + i * LANES, count * sizeof(real))
    for l in range(count if job.kept == NULL else 0):
        for i in range(n):
            out[(first + l) * n + i] = values[i * LANES + l]


cdef void enter_group(const Job* job, Slot* slot, Py_ssize_t group) noexcept nogil:
    """Point to the values of a group that were kept, or are to be, and to what decides on drops."""
    slot.keys = job.keys
    if job.kept != NULL:
        slot.x = job.kept + first_lane_block(job, group) * job.net.kept_bytes
        slot.step = slot.linear_step = job.net.kept_bytes


cdef void group_forward(void* data, Py_ssize_t group, Py_ssize_t slot_number) noexcept nogil:
    """Outputs of one group of images; what backward needs is kept, if asked for."""
    cdef Job* job = <Job*> data
    cdef Slot slot
    cdef const Prepared* last = &job.net.operations[job.n_run]
    cdef Py_ssize_t first = first_lane_block(job, group), n = input_size(last), b, i, start, count
    cdef bint singly = job.kept == NULL
    for i in range(job.n_run):
        singly = singly and operations[job.net.operations[i].op.kind].single != NULL
    lay_out_slot(job.net, &slot, job.slots + slot_number * job.slot_bytes, False)
    enter_group(job, &slot, group)
    for b in range(first_lane_block(job, group + 1) - first):
        start = (first + b) * LANES
        count = min(<Py_ssize_t> LANES, job.count - start)
        if singly and count <= FEW_IMAGES:
            for i in range(start, start + count):
                image_forward(job, &slot, i, <real*> job.out + i * n)
            continue
        slot.place = job.first + start
        lane_block_forward(job, &slot, count, b)
        write_outputs(job, <const real*> input_of(last, &slot, b), start, count, n)


cdef void lane_block_backward(const Job* job, Slot* slot, Py_ssize_t b) noexcept nogil:
    """From the gradient of the logits to that of all blocks, added to the slot's dw and dbias."""
    cdef const Prepared* op
    cdef Py_ssize_t i
    for i in range(job.net.n_operations - 1, -1, -1):
        op = &job.net.operations[i]
        lay_out_scratch(op, slot, slot.scratch, True)
        operations[op.op.kind].backward(op, slot, b)


cdef void read_dlogits(
    const Job* job, Py_ssize_t first, Py_ssize_t count, real[:, ::1] d
) noexcept nogil:
    """d (M, L) = dlogits (M, images) of count images, the first one on, and 0 behind them.

    What is next to the subnormal numbers becomes 0, too: see `cross_entropy`.
    """
    cdef const real* dlogits = <const real*> job.dlogits
    cdef Py_ssize_t m, l
    cdef real value
    for m in range(d.shape[0]):
        for l in range(d.shape[1]):
            value = dlogits[m * job.count + first + l] if l < count else 0
            d[m, l] = without_trace(value)


cdef double group_gradient(Job* job, Slot* slot, Py_ssize_t group, real* gradient) noexcept nogil:
    """Gradient (n_parameters,) of the images of a group, and their summed loss.

    Where a forward pass has kept its values, its gradient is that of dlogits, and there is no loss.
    """
    cdef const Prepared* op = &job.net.operations[0]
    cdef const Prepared* last = op + job.net.n_operations
    cdef Py_ssize_t first = first_lane_block(job, group), b, i, start, count
    cdef Py_ssize_t n_lane_blocks = first_lane_block(job, group + 1) - first
    cdef real[:, ::1] d
    cdef double loss = 0
    enter_group(job, slot, group)
    memset(slot.sums, 0, job.net.sums_bytes)
    for i in range(n_lane_blocks):
        # What was kept last is still in the cache.
        b = i if job.kept == NULL else n_lane_blocks - 1 - i
        start = (first + b) * LANES
        count = min(<Py_ssize_t> LANES, job.count - start)
        slot.place = job.first + start
        d = view2(gradient_of(last, slot, b), last.op.C, LANES)
        if job.kept != NULL:
            read_dlogits(job, start, count, d)
        else:
            lane_block_forward(job, slot, count, b)
            memcpy(&d[0, 0], input_of(last, slot, b), last.op.C * VECTOR_BYTES)
            loss += cross_entropy(&job.loss, d, job.images.order, slot.place, count)
        lane_block_backward(job, slot, b)
    while op < last:
        operations[op.op.kind].collect(op, slot, n_lane_blocks, gradient)
        op += 1
    return loss


cdef void chunk_gradient(void* data, Py_ssize_t task, Py_ssize_t slot_number) noexcept nogil:
    """Gradient of one chunk of images, summed over its groups in double."""
    cdef Job* job = <Job*> data
    cdef Slot slot
    # What was kept last is still in the cache.
    cdef Py_ssize_t chunk = task if job.kept == NULL else job.n_chunks - 1 - task
    cdef Py_ssize_t first_group = chunk * job.n_groups // job.n_chunks
    cdef Py_ssize_t last_group = (chunk + 1) * job.n_groups // job.n_chunks
    cdef Py_ssize_t g, i, n = job.net.n_parameters
    cdef real* out = <real*> job.out + chunk * n
    cdef real* gradient
    cdef double* total
    cdef double loss = 0
    lay_out_slot(job.net, &slot, job.slots + slot_number * job.slot_bytes, True)
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


cdef void add_chunks(Job* job) noexcept nogil:
    """The gradient = the sum of those of the chunks, in double and in their order."""
    cdef const real* chunks = <const real*> job.out
    cdef real* gradient = <real*> job.gradient
    cdef double total[GRADIENT_PIECE]
    cdef Py_ssize_t c, i, first = 0, length, n = job.net.n_parameters
    while first < n:
        length = min(<Py_ssize_t> GRADIENT_PIECE, n - first)
        for i in range(length):
            total[i] = chunks[first + i]
        for c in range(1, job.n_chunks):
            for i in range(length):
                total[i] += chunks[c * n + first + i]
        for i in range(length):
            gradient[first + i] = <real> total[i]
        first += length


cdef void prepare(Network* net, const void* flat, char* tables) noexcept nogil:
    """Bring the parameters into the form in which the kernels want them, in tables."""
    cdef Prepared* op
    cdef Py_ssize_t i
    lay_out_tables(net, tables)
    for i in range(net.n_operations):
        op = &net.operations[i]
        operations[op.op.kind].prepare(op, <const real*> flat)
