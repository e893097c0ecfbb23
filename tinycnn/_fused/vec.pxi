"""Vectors, views of the work space, and what every kernel uses.

Everything in this folder but ``threads.pxi``, ``plan.pxi``, ``passes.pxi`` and
``optimisers.pxi`` is included in ``_kernels.pyx`` and works on *lane blocks*: L images side by
side, as an array (C, H, W, L), so that one instruction works on L images at once, for any kernel
size and any number of channels. L is how many values of ``real``, the type that this build computes
with, a vector register holds. The lanes behind the last image of a batch hold zeros.

Letters: C channels, H x W pixels; K filters of T = C * R * S taps; P x Q pool windows,
F = K * P * Q features; M outputs of a linear layer; L lanes.

A *tile* is what stays in registers: an inlined function with pointers whose size is a literal where
it is called. What is around tiles takes typed memoryviews and indexes them for every store, so that
the build that checks indices checks these. To Cython, which does not know vectors, one is a float;
the work space begins at whole cache lines, as ``vec*`` demands. A loop that sums up ends in a
`break`: of one that might not turn at all, the compiler writes the sums to memory before and after.
"""

cdef extern from "_fused/vec.h":
    ctypedef float real "REAL"
    ctypedef float vec
    ctypedef float loose
    ctypedef int whole  # as large as real
    ctypedef int wholes  # a vector of them
    ctypedef unsigned int bits  # likewise
    enum: VECTOR_BYTES "TINYCNN_VECTOR_BYTES"
    enum: LANES
    enum: MANY_REGISTERS
    enum: FILTERS
    enum: LINEAR_FEATURES
    void prefetch(const void* p) noexcept nogil
    vec splat(real x) noexcept nogil
    vec where_greater(vec a, vec b, vec yes, vec no) noexcept nogil
    vec where_equal(vec a, vec b, vec yes, vec no) noexcept nogil
    vec where_nan(vec a, vec b, vec yes, vec no) noexcept nogil
    vec larger(vec a, vec b) noexcept nogil
    wholes place_of(vec winner, whole start, whole right, whole down) noexcept nogil
    void lane_sums(vec* a) noexcept nogil
    void transpose(vec* a) noexcept nogil
    vec byte_of(vec a, int i) noexcept nogil
    bits image_words(uint32_t half, uint32_t first) noexcept nogil
    vec kept_or_0(
        bits low, bits high, uint32_t unit, whole threshold, real kept
    ) noexcept nogil


cdef extern from "_fused/views.h":
    real[::1] view1(const void* p, Py_ssize_t a) noexcept nogil
    real[:, ::1] view2(const void* p, Py_ssize_t a, Py_ssize_t b) noexcept nogil
    real[:, :, ::1] view3(const void* p, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c) noexcept nogil
    real[:, :, :, ::1] view4(
        const void* p, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, Py_ssize_t d
    ) noexcept nogil
    real[:, :, :, ::1] inside(
        real[:, :, :, ::1] maps, Py_ssize_t top, Py_ssize_t left, Py_ssize_t h, Py_ssize_t w
    ) noexcept nogil
    real[:, :, ::1] lane_blocks(
        const void* p, Py_ssize_t n, Py_ssize_t step, Py_ssize_t F
    ) noexcept nogil


cdef inline Py_ssize_t tiles_of(Py_ssize_t size, Py_ssize_t n) noexcept nogil:
    """Count the tiles of some size that n things take."""
    return (n + size - 1) // size


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """Return the next multiple of tile."""
    return tiles_of(tile, n) * tile


cdef inline void fill_zero(real* a, Py_ssize_t n) noexcept nogil:
    """a[i] = 0 for all i < n."""
    memset(a, 0, n * sizeof(real))


cdef void sum_rows(const vec* rows, Py_ssize_t n, real* out) noexcept nogil:
    """out[n] = the sums over the lanes of each row."""
    cdef Py_ssize_t i, j
    cdef vec a[LANES]
    for i in range(tiles_of(LANES, n)):
        for j in range(LANES):
            a[j] = rows[min(i * LANES + j, n - 1)]
        lane_sums(a)
        memcpy(out + i * LANES, a, min(<Py_ssize_t> LANES, n - i * LANES) * sizeof(real))


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
