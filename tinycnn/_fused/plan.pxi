"""A plan that has been checked, images and examples as the kernels read them, and work space.

Included in ``_bindings.pyx``.
"""


@final
cdef class Memory:
    """Bytes that begin at a whole cache line; zeros at first."""

    cdef char* allocated
    cdef char* start
    cdef Py_ssize_t n_bytes

    def __cinit__(self, Py_ssize_t n_bytes, /):
        require_memory("the work space", n_bytes)
        self.allocated, self.n_bytes = <char*> PyMem_Calloc(n_bytes + ALIGNMENT, 1), n_bytes
        if self.allocated == NULL:
            raise MemoryError(f"no {n_bytes} bytes of memory")
        self.start = self.allocated + (ALIGNMENT - <size_t> self.allocated % ALIGNMENT) % ALIGNMENT

    def __dealloc__(self):
        PyMem_Free(self.allocated)


@final
cdef class Plan:
    """Operations, and the memory that they take.

    Parameters
    ----------
    rows : array of Operation
        They fit each other: `plan.py` has checked them.
    n_parameters : int
    item : int
        Bytes of a parameter: 4 or 8.
    group_images, group_bytes : int
        Images in a group, at most, and bytes of the linear operations' inputs for them.

    Attributes
    ----------
    group_images : int
        Images in a group, at most: whole lane blocks.
    kept_bytes : int
        What a forward pass keeps of a lane block.
    work_bytes : int
        What it takes to predict on one thread.
    """

    cdef const Kernels* kernels
    cdef Network net
    # The memory of states that are no longer used: fresh memory costs as much as a forward pass,
    # since the system hands it out page by page.
    cdef list spare
    cdef readonly Py_ssize_t item, lanes, n_parameters, n_classes, n_features, n_dropouts
    cdef readonly Py_ssize_t group_images, kept_bytes, work_bytes
    cdef Py_ssize_t flat_bytes  # of the parameters, up to a whole cache line

    def __cinit__(
        self, const Operation[::1] rows not None, Py_ssize_t n_parameters, Py_ssize_t item,
        Py_ssize_t group_images, Py_ssize_t group_bytes, /
    ):
        cdef Network* net = &self.net
        cdef Prepared* op
        cdef Py_ssize_t i, lane_block_bytes = 0, n = rows.shape[0]
        if not 0 < n <= MAX_OPERATIONS or item not in (4, 8):
            raise ValueError(f"a plan of {n} operations on floats of {item} bytes")
        net.n_operations, net.n_parameters = n, n_parameters
        self.kernels = kernels_of(item)
        self.item, self.lanes, self.n_parameters = item, lane_count(item), n_parameters
        self.flat_bytes = (n_parameters * item + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        for i in range(n):
            op = &net.operations[i]
            op.op, op.index = rows[i], i
            self.n_dropouts = max(self.n_dropouts, rows[i].dropout + 1)
            if op.op.kind >= LINEAR:
                self.n_features = op.op.C * op.op.H * op.op.W
                lane_block_bytes += self.n_features * kernels.vector_bytes
        net.group = max(
            min(group_images // self.lanes, group_bytes // lane_block_bytes), <Py_ssize_t> 1
        )
        self.group_images = net.group * self.lanes
        self.n_classes = op.op.K
        op += 1
        op.op.kind, op.op.C, op.op.H, op.op.W = LINEAR, self.n_classes, 1, 1
        self.kernels.lay_out(net)
        self.kept_bytes = net.kept_bytes
        self.work_bytes = net.predicting_bytes + net.table_bytes + n_parameters * item
        self.spare = []

    cdef Memory take_memory(self, Py_ssize_t n_bytes):
        """Return at least so many bytes of memory."""
        cdef Memory memory
        try:
            memory = self.spare.pop()
        except IndexError:
            return Memory(n_bytes)
        return memory if memory.n_bytes >= n_bytes else Memory(n_bytes)

    cdef int give_memory(self, Memory memory) except -1:
        """Take memory back; what is kept of it is not much."""
        if (len(self.spare) + 1) * memory.n_bytes <= SPARE_BYTES:
            self.spare.append(memory)
        return 0


cdef inline Py_ssize_t pixel_bytes(int kind) noexcept nogil:
    if kind == BYTES:
        return 1
    return sizeof(float) if kind == FLOATS else sizeof(double)


@final
cdef class Images:
    """Images as the kernels read them.

    Parameters
    ----------
    pixels : array
        Of all images, C-contiguous; nobody may resize it meanwhile.
    kind : int
        PixelKind of the pixels.
    scale, shift : (C,)
        The network sees ``pixel * scale + shift``, channel by channel.
    """

    cdef Py_buffer pixels
    cdef object kept  # whom the numbers belong to
    cdef const double* scale
    cdef const double* shift
    cdef Py_ssize_t n_channels
    cdef int kind

    def __cinit__(self, pixels, int kind, scale, shift, /):
        self.n_channels, self.kind, self.kept = len(scale), kind, (scale, shift)
        self.scale = <const double*> floats_of(scale, self.n_channels, sizeof(double), 0)
        self.shift = <const double*> floats_of(shift, self.n_channels, sizeof(double), 0)
        PyObject_GetBuffer(pixels, &self.pixels, PyBUF_ND)
        if kind not in (BYTES, FLOATS, DOUBLES) or self.pixels.itemsize != pixel_bytes(kind):
            raise ValueError(f"pixels of kind {kind} of {self.pixels.itemsize} bytes")

    def __dealloc__(self):
        PyBuffer_Release(&self.pixels)

    cdef Py_ssize_t enter(self, Job* job) except -1:
        """Tell a job where the images are; return how many they are."""
        cdef const Operation* op = &job.net.operations[0].op
        cdef ImageFields* fields = &job.images
        cdef Py_ssize_t c, size = op.C * op.inner_H * op.inner_W * pixel_bytes(self.kind)
        cdef Py_ssize_t n = self.pixels.len // size
        if self.pixels.len != n * size or self.n_channels != op.C or n == 0:
            raise ValueError(
                f"{self.pixels.len} bytes are no images of {op.C} channels of {op.inner_H} x "
                f"{op.inner_W} pixels of {pixel_bytes(self.kind)} bytes"
            )
        fields.pixels = self.pixels.buf
        fields.scale = self.scale
        fields.shift = self.shift
        fields.kind = <PixelKind> self.kind
        for c in range(self.n_channels):
            fields.bound = max(
                fields.bound, fabs(self.shift[c]), fabs(255 * self.scale[c] + self.shift[c])
            )
        job.all_finite = True
        return n


@final
cdef class Work:
    """Work space for a number of threads; used by one call at a time.

    Parameters
    ----------
    plan : Plan
    n_threads : int
    training : bool
        Without it, the space serves forward passes alone.

    Attributes
    ----------
    nbytes : int
    """

    cdef Plan plan
    cdef readonly Py_ssize_t n_threads, nbytes
    cdef readonly bint training
    cdef Network net  # with its tables
    cdef bint has_tables
    cdef Py_ssize_t slot_bytes
    cdef Memory memory
    cdef char* flat  # (n_parameters,): what the tables were made from
    cdef char* tables
    cdef char* slots
    cdef char* chunks  # (MAX_CHUNKS, n_parameters)
    cdef double* losses  # (MAX_CHUNKS,)

    def __cinit__(self, Plan plan not None, Py_ssize_t n_threads, bint training, /):
        cdef const Network* net = &plan.net
        cdef Py_ssize_t n_chunks = MAX_CHUNKS if training else 0
        if n_threads < 1:
            raise ValueError(f"needs a thread, got {n_threads}")
        self.plan, self.n_threads, self.training = plan, n_threads, training
        self.net, self.has_tables = net[0], False
        self.slot_bytes = net.training_bytes if training else net.predicting_bytes
        self.nbytes = plan.flat_bytes + net.table_bytes + n_threads * self.slot_bytes
        self.nbytes += n_chunks * (plan.flat_bytes + sizeof(double))
        # Zeros: borders of maps stay as they are; and what stands behind the last filter is
        # multiplied too, though nobody reads the product: subnormal numbers would be slow.
        self.memory = Memory(self.nbytes)
        self.flat = self.memory.start
        self.tables = self.flat + plan.flat_bytes
        self.slots = self.tables + net.table_bytes
        self.losses = <double*> (self.slots + n_threads * self.slot_bytes)
        self.chunks = <char*> (self.losses + n_chunks)

    cdef void enter(self, Job* job) noexcept:
        """Tell a job, of which nothing is known yet, its network and where to work."""
        memset(job, 0, sizeof(Job))
        job.net = &self.net
        job.n_run = job.net.n_operations
        job.slots, job.slot_bytes = self.slots, self.slot_bytes

    cdef void make_tables(self, Job* job) noexcept nogil:
        """Make the tables from a job's parameters, unless the last ones were made from the same."""
        cdef Py_ssize_t n_bytes = self.net.n_parameters * self.plan.item
        if not self.has_tables or memcmp(self.flat, job.flat, n_bytes) != 0:
            memcpy(self.flat, job.flat, n_bytes)
            self.plan.kernels.prepare(&self.net, self.flat, self.tables)
            self.has_tables = True
        self.plan.kernels.divide(job)

    cdef int enter_keys(self, Job* job, const uint64_t[::1] keys) except -1:
        """Tell a job the key of each dropout; None: nothing is dropped."""
        if keys is not None:
            if keys.shape[0] != self.plan.n_dropouts or keys.shape[0] == 0:
                raise ValueError(f"{self.plan.n_dropouts} dropouts, {keys.shape[0]} keys")
            job.keys = &keys[0]
        return 0

    cdef int enter_gradient(self, Job* job, gradient) except -1:
        """Tell a job where its gradient is to go."""
        if not self.training:
            raise ValueError("needs work space for training")
        job.gradient = floats_of(gradient, self.plan.n_parameters, self.plan.item, PyBUF_WRITABLE)
        job.most_chunks = MAX_CHUNKS
        job.losses = self.losses
        return 0

    cdef void add_gradients(self, Job* job, Pool pool) noexcept nogil:
        """Compute the gradients of a job's images, chunk by chunk, and their sum."""
        self.make_tables(job)
        job.out = self.chunks if job.n_chunks > 1 else job.gradient
        pool.run(self.plan.kernels.chunk_gradient, job, job.n_chunks, self.n_threads)
        if job.n_chunks > 1:
            self.plan.kernels.add_chunks(job)
