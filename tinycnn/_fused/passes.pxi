"""Passes through a network: forward, backward, and both at once on one batch after the other.

Included in ``_bindings.pyx``.
"""


def outputs(
    Pool pool not None, Work work not None, flat, Images images not None, out, bint features, /
):
    """Fill out with the images' logits (N, n_classes), or the last operation's inputs: features.

    Return whether all pixels were finite.
    """
    cdef Plan plan = work.plan
    cdef Py_ssize_t width = plan.n_features if features else plan.n_classes
    cdef Job job
    work.enter(&job)
    job.flat = floats_of(flat, plan.n_parameters, plan.item, 0)
    job.count = images.enter(&job)
    job.n_run -= features
    job.out = floats_of(out, job.count * width, plan.item, PyBUF_WRITABLE)
    with nogil:
        work.make_tables(&job)
        pool.run(plan.kernels.group_forward, &job, job.n_groups, work.n_threads)
    return job.all_finite


@final
cdef class State:
    """What a forward pass keeps for the backward pass: values, winners, and the parameters.

    Parameters
    ----------
    plan : Plan
    flat : (n_parameters,)
        Copied: the backward pass uses these.
    n_images : int
    keys : (n_dropouts,), optional
        Of the dropouts; without it, nothing is dropped.
    """

    cdef Plan plan
    cdef const uint64_t[::1] keys
    cdef Py_ssize_t n_images
    cdef bint filled
    cdef Memory memory
    cdef char* flat
    cdef char* kept
    cdef readonly Py_ssize_t nbytes

    def __cinit__(
        self, Plan plan not None, flat, Py_ssize_t n_images, const uint64_t[::1] keys=None, /
    ):
        cdef void* parameters = floats_of(flat, plan.n_parameters, plan.item, 0)
        cdef Py_ssize_t flat_bytes = plan.flat_bytes
        cdef Py_ssize_t lane_blocks = (n_images + plan.lanes - 1) // plan.lanes
        if n_images < 1 or lane_blocks > (PY_SSIZE_T_MAX - flat_bytes) // plan.kept_bytes - 1:
            raise ValueError(f"a state of {n_images} images")
        self.plan, self.n_images, self.keys, self.filled = plan, n_images, keys, False
        self.nbytes = flat_bytes + lane_blocks * plan.kept_bytes
        try:
            self.memory = plan.take_memory(self.nbytes)
        except MemoryError as error:
            raise MemoryError(
                f"{n_images} images need {self.nbytes} bytes until the backward pass; take fewer "
                "at a time"
            ) from error
        self.flat = self.memory.start
        self.kept = self.flat + flat_bytes
        memcpy(self.flat, parameters, plan.n_parameters * plan.item)

    def __dealloc__(self):
        # Either may have been cleared before, in a cycle of garbage.
        if self.plan is not None and self.memory is not None:
            self.plan.give_memory(self.memory)

    cdef int enter(self, Work work, Job* job) except -1:
        """Tell a job where everything is."""
        work.enter_keys(job, self.keys)
        job.flat = self.flat
        job.count = self.n_images
        job.kept = self.kept
        return 0


def forward(
    Pool pool not None, Work work not None, State state not None, Images images not None, out, /
):
    """Fill out (n_classes, N) with the images' logits, and the state with what `backward` needs.

    Return whether all pixels were finite.
    """
    cdef Plan plan = work.plan
    cdef Job job
    work.enter(&job)
    if state.plan is not plan or images.enter(&job) != state.n_images:
        raise ValueError(f"the state is one of {state.n_images} images, or of another plan")
    state.enter(work, &job)
    job.out = floats_of(out, state.n_images * plan.n_classes, plan.item, PyBUF_WRITABLE)
    with nogil:
        work.make_tables(&job)
        pool.run(plan.kernels.group_forward, &job, job.n_groups, work.n_threads)
    state.filled = True
    return job.all_finite


def backward(
    Pool pool not None, Work work not None, State state not None, dlogits, gradient, /
):
    """Fill gradient (n_parameters,), given dlogits (n_classes, N)."""
    cdef Plan plan = work.plan
    cdef Job job
    if state.plan is not plan or not state.filled:
        raise ValueError("needs a state of the same plan that `forward` has filled")
    work.enter(&job)
    work.enter_gradient(&job, gradient)
    state.enter(work, &job)
    job.dlogits = floats_of(dlogits, state.n_images * plan.n_classes, plan.item, 0)
    with nogil:
        work.add_gradients(&job, pool)


@final
cdef class Batches:
    """Labelled images in an order, and the loss of a network on one batch of them after the other.

    All that stays the same is taken apart once: a step of training takes a few hundred
    microseconds, and handling so many arguments would take ten of them. It keeps the arrays, since
    it remembers where they stand, and reads them anew for each batch: the parameters change in
    between.

    Parameters
    ----------
    pool : Pool
    work : Work
        For training.
    flat : (n_parameters,)
    examples : tuple
        Images; labels, an order or None, weights or None, and moves or None, as arrays: all but the
        order of all images. It trusts what the arrays say: labels that are classes, an order of
        numbers of images.
    smoothing : float
        Share of each target that is spread evenly over all classes.
    keys : (n_dropouts,), optional
        Of the dropouts; without it, nothing is dropped.
    """

    cdef Job job
    cdef Pool pool
    cdef Work work
    cdef Images images
    cdef const int64_t[::1] labels
    cdef const int64_t[::1] order
    cdef const double[::1] weights
    cdef const int8_t[:, ::1] moves
    cdef object flat
    cdef object gradient
    cdef const uint64_t[::1] keys
    cdef Py_ssize_t n_images  # in the order

    def __cinit__(
        self, Pool pool not None, Work work not None, flat, tuple examples not None,
        double smoothing, const uint64_t[::1] keys=None, /
    ):
        cdef Plan plan = work.plan
        self.pool, self.work, self.flat, self.keys = pool, work, flat, keys
        self.images, self.labels, self.order, self.weights, self.moves = examples
        self.gradient = flat.copy()
        work.enter(&self.job)
        work.enter_keys(&self.job, keys)
        work.enter_gradient(&self.job, self.gradient)
        self.job.flat = floats_of(flat, plan.n_parameters, plan.item, 0)
        self.enter_examples(&self.job)
        self.job.loss.smoothing = smoothing

    cdef int enter_examples(self, Job* job) except -1:
        """Tell a job where the examples are."""
        cdef Py_ssize_t n = self.images.enter(job)
        if (
            self.labels.shape[0] != n
            or self.weights is not None and self.weights.shape[0] != n
            or self.moves is not None and (self.moves.shape[0] != n or self.moves.shape[1] != 3)
        ):
            raise ValueError(f"{n} images need as many labels, weights and rows of 3 moves")
        job.loss.labels = &self.labels[0]
        if self.weights is not None:
            job.loss.weights = &self.weights[0]
        if self.moves is not None:
            job.images.moves = &self.moves[0, 0]
        if self.order is not None:
            n = self.order.shape[0]
            if n == 0:
                raise ValueError("the order must name at least one image")
            job.images.order = &self.order[0]
        self.n_images = n
        return 0

    def differentiate(self, Py_ssize_t first=0, Py_ssize_t last=PY_SSIZE_T_MAX, /):
        """Return the mean loss of images first to last, its gradient, and their total weight.

        The gradient (n_parameters,) is overwritten by the next call. The mean is weighted if the
        images are; where the weights add up to 0, or next to it, loss and gradient are 0.
        """
        cdef Job* job = &self.job
        cdef double weight, loss = 0
        cdef Py_ssize_t c
        if not 0 <= first < min(last, self.n_images):
            raise IndexError(
                f"first, last: a batch must begin among the {self.n_images} images of the order, "
                f"and before it ends, got {first}, {last}"
            )
        job.first = first
        job.count = min(last, self.n_images) - first
        with nogil:
            weight = total_weight(job)
            job.loss.scale = 1 / weight if weight >= DBL_MIN else 0
            self.work.add_gradients(job, self.pool)
        for c in range(job.n_chunks):
            loss += job.losses[c]
        return job.loss.scale * loss, self.gradient, weight


cdef double total_weight(const Job* job) noexcept nogil:
    """Add up the weights of a job's images: how many there are, if each counts the same."""
    cdef const double* weights = job.loss.weights
    cdef double total = 0
    cdef Py_ssize_t i
    if weights == NULL:
        return job.count
    for i in range(job.first, job.first + job.count):
        total += weights[i if job.images.order == NULL else job.images.order[i]]
    return total
