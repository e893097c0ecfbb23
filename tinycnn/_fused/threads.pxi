"""Threads that wait for work without holding the GIL.

Included in ``_bindings.pyx``. Training hands out work many thousand times a second, each time for
a few hundred microseconds, so a worker must start within a microsecond or two. A thread that waits
for the GIL or sleeps in the kernel takes ten to fifty; therefore workers run in C throughout, and
look for the next task for a moment before they go to sleep.
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


cdef inline void wait(PyThread_type_lock lock, Py_ssize_t looks) noexcept nogil:
    """Acquire a lock: by looking at it so many times, then asleep."""
    cdef Py_ssize_t i
    for i in range(looks):
        if PyThread_acquire_lock(lock, NOWAIT_LOCK):
            return
    PyThread_acquire_lock(lock, WAIT_LOCK)


@final
cdef class Pool:
    """A number of worker threads, and the one job they work on.

    ``start[i]`` is released to wake worker i; it releases ``done[i]`` when no task is left. Whoever
    is free takes the next task, so a worker that the system does not run delays nobody. ``looks``
    is how many times a waiting thread looks for its lock before it goes to sleep.
    """

    cdef PyThread_type_lock start[MAX_WORKERS]
    cdef PyThread_type_lock done[MAX_WORKERS]
    cdef PyThread_type_lock counter
    cdef TaskFunction function
    cdef void* job
    cdef Py_ssize_t next_task
    cdef Py_ssize_t n_tasks
    cdef Py_ssize_t looks
    cdef bint closing
    cdef readonly Py_ssize_t n_workers

    def __cinit__(self, Py_ssize_t n_workers, Py_ssize_t looks):
        self.looks = looks
        self.closing = False
        self.counter = PyThread_allocate_lock()
        self.n_workers = min(n_workers, <Py_ssize_t> MAX_WORKERS)
        for i in range(self.n_workers):
            self.start[i] = PyThread_allocate_lock()
            self.done[i] = PyThread_allocate_lock()
            PyThread_acquire_lock(self.start[i], WAIT_LOCK)
            PyThread_acquire_lock(self.done[i], WAIT_LOCK)

    def __dealloc__(self):
        PyThread_free_lock(self.counter)
        for i in range(self.n_workers):
            PyThread_free_lock(self.start[i])
            PyThread_free_lock(self.done[i])

    def work(self, Py_ssize_t worker):
        """Work as worker number `worker` until the pool is closed: the body of its thread."""
        with nogil:
            while True:
                wait(self.start[worker], self.looks)
                if self.closing:
                    break
                self.take_tasks(worker + 1)
                PyThread_release_lock(self.done[worker])

    def close(self):
        """End all workers; they must not be at work."""
        self.closing = True
        for i in range(self.n_workers):
            PyThread_release_lock(self.start[i])

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
        """Run all tasks on at most n_threads threads, the caller among them; return when done."""
        cdef Py_ssize_t i, n_helpers = min(min(n_threads, n_tasks) - 1, self.n_workers)
        self.function = function
        self.job = job
        self.n_tasks = n_tasks
        self.next_task = 0
        for i in range(n_helpers):
            PyThread_release_lock(self.start[i])
        self.take_tasks(0)
        for i in range(n_helpers):
            # A worker that has not even woken up is called off instead of waited for.
            if not PyThread_acquire_lock(self.start[i], NOWAIT_LOCK):
                wait(self.done[i], self.looks)
