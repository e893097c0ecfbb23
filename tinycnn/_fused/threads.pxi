"""Threads that wait for work without holding the GIL.

Included in ``_bindings.pyx``. Training hands out work many thousand times a second, each time for
a few hundred microseconds, so a worker must start within a microsecond or two. A thread that waits
for the GIL or sleeps in the kernel takes ten to fifty; therefore workers run in C throughout, and
look for the next task for a moment before they go to sleep.

Nothing here can be left half done: no line of Python runs between taking the workers and giving
them back, so neither Ctrl-C nor an exception can come between.
"""

from cpython.pythread cimport (
    NOWAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    PyThread_type_lock,
    WAIT_LOCK,
)

cdef enum:
    MAX_WORKERS = 255
    # How many times a waiting thread looks for work before it goes to sleep: some 100 microseconds,
    # longer than a training run needs between two batches, and too short to matter to others.
    LOOKS = 4000


cdef inline void wait(PyThread_type_lock lock, Py_ssize_t looks) noexcept nogil:
    """Acquire a lock: by looking at it so many times, then asleep."""
    cdef Py_ssize_t i
    for i in range(looks):
        if PyThread_acquire_lock(lock, NOWAIT_LOCK):
            return
    PyThread_acquire_lock(lock, WAIT_LOCK)


@final
cdef class Pool:
    """Worker threads, and the one job they work on.

    Any number of threads may call :meth:`run` at once: the first one gets the workers, the others
    do their tasks themselves. Threads become workers by calling :meth:`work`.

    ``start[i]`` is released to wake worker i; it releases ``done[i]`` when no task is left. Whoever
    is free takes the next task, so a worker that the system does not run delays nobody.

    Parameters
    ----------
    n_cpus : int
        Waiting threads look for work only where there is a CPU for each: else they would keep each
        other from working.
    """

    cdef PyThread_type_lock start[MAX_WORKERS]
    cdef PyThread_type_lock done[MAX_WORKERS]
    cdef PyThread_type_lock busy  # held by whoever has the workers
    cdef PyThread_type_lock counter  # for n_workers and next_task
    cdef TaskFunction function
    cdef void* job
    cdef Py_ssize_t next_task
    cdef Py_ssize_t n_tasks
    cdef Py_ssize_t looks
    cdef Py_ssize_t n_cpus
    cdef Py_ssize_t n_workers

    def __cinit__(self, Py_ssize_t n_cpus, /):
        self.n_cpus, self.n_workers = n_cpus, 0
        self.busy, self.counter = PyThread_allocate_lock(), PyThread_allocate_lock()
        if self.busy == NULL or self.counter == NULL:
            raise MemoryError("no memory for the locks of a pool of threads")

    def __dealloc__(self):
        if self.busy != NULL:
            PyThread_free_lock(self.busy)
        if self.counter != NULL:
            PyThread_free_lock(self.counter)
        for i in range(self.n_workers):
            PyThread_free_lock(self.start[i])
            PyThread_free_lock(self.done[i])

    def work(self):
        """Become a worker: the body of a thread, which ends only where there are enough."""
        cdef Py_ssize_t looks = 0, worker = self.enrol()
        with nogil:
            while worker >= 0:
                wait(self.start[worker], looks)
                self.take_tasks(worker + 1)
                looks = self.looks
                PyThread_release_lock(self.done[worker])

    cdef Py_ssize_t enrol(self) noexcept:
        """Return the number of a new worker, -1 if there can be none."""
        cdef PyThread_type_lock start = PyThread_allocate_lock(), done = PyThread_allocate_lock()
        cdef Py_ssize_t worker = -1
        if start != NULL and done != NULL:
            PyThread_acquire_lock(start, WAIT_LOCK)
            PyThread_acquire_lock(done, WAIT_LOCK)
            PyThread_acquire_lock(self.counter, WAIT_LOCK)
            if self.n_workers < MAX_WORKERS:
                worker = self.n_workers
                self.start[worker], self.done[worker] = start, done
                self.n_workers = worker + 1
            PyThread_release_lock(self.counter)
        if worker < 0:
            if start != NULL:
                PyThread_free_lock(start)
            if done != NULL:
                PyThread_free_lock(done)
        return worker

    cdef void take_tasks(self, Py_ssize_t slot) noexcept nogil:
        """Run tasks until there is none left."""
        cdef Py_ssize_t task
        while True:
            PyThread_acquire_lock(self.counter, WAIT_LOCK)
            task = self.next_task
            self.next_task += 1
            PyThread_release_lock(self.counter)
            if task >= self.n_tasks:
                return
            self.function(self.job, task, slot)

    cdef void run(
        self, TaskFunction function, void* job, Py_ssize_t n_tasks, Py_ssize_t n_threads
    ) noexcept nogil:
        """Run all tasks on at most n_threads threads, the caller among them; return when done.

        In a forked child no worker exists: each is called off, and the caller does it all.
        """
        cdef Py_ssize_t i, n_helpers = min(n_threads, n_tasks) - 1
        if n_helpers > 0 and PyThread_acquire_lock(self.busy, NOWAIT_LOCK):
            # Who forks while a worker enrols leaves the child a lock that nobody releases.
            if PyThread_acquire_lock(self.counter, NOWAIT_LOCK):
                n_helpers = min(n_helpers, self.n_workers)
                PyThread_release_lock(self.counter)
                self.share_out(function, job, n_tasks, n_helpers)
                n_tasks = 0
            PyThread_release_lock(self.busy)
        for i in range(n_tasks):
            function(job, i, 0)

    cdef void share_out(
        self, TaskFunction function, void* job, Py_ssize_t n_tasks, Py_ssize_t n_helpers
    ) noexcept nogil:
        """Run all tasks with so many workers beside the caller, who has them."""
        cdef Py_ssize_t i
        self.function = function
        self.job = job
        self.n_tasks = n_tasks
        self.next_task = 0
        self.looks = LOOKS if n_helpers < self.n_cpus else 0
        for i in range(n_helpers):
            PyThread_release_lock(self.start[i])
        self.take_tasks(0)
        for i in range(n_helpers):
            # A worker that has not even woken up is called off instead of waited for.
            if not PyThread_acquire_lock(self.start[i], NOWAIT_LOCK):
                wait(self.done[i], self.looks)
