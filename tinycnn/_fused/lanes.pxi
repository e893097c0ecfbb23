"""Lanes: several images side by side in one vector register.

The files of this folder that ``_kernels.pyx`` includes work on *lane blocks*: L images whose values
stand side by side, as an array (C, H, W, L). The same instruction then works on L images at once,
for any kernel size and any number of channels. L is what one vector register holds: 16 floats where
there is AVX-512. The lanes behind the last image of a batch hold zeros.

Letters: C channels, H x W pixels; K filters of T = C * R * S taps; P x Q pooled, F = K * P * Q
features; M classes; L lanes.

The loops over lanes have a length known to the compiler and bodies without branches: that is what
lets it turn each of them into vector instructions and keep small local arrays in registers. They
have L turns and name several vectors one by one, except where little time is spent: an array that a
longer loop walks through stays in memory with clang, which is told not to unroll. Each writes to
local arrays, or from those to one place elsewhere: what might overlap clang leaves alone. A loop
around them that sums up ends in a `break` if it turns at least once: of one that might not turn at
all, the compiler writes the sums to memory before and after it.
"""

cdef extern from *:
    """
    #ifndef TINYCNN_VECTOR_BYTES       /* of one vector register; setup.py sets it for each level */
    #define TINYCNN_VECTOR_BYTES 16
    #endif
    #ifndef TINYCNN_MANY_REGISTERS     /* 32 of them instead of 16 */
    #define TINYCNN_MANY_REGISTERS 0
    #endif
    """
    enum: VECTOR_BYTES "TINYCNN_VECTOR_BYTES"
    enum: MAX_LANES "(TINYCNN_VECTOR_BYTES / 4)"
    enum: MANY_REGISTERS "TINYCNN_MANY_REGISTERS"

cdef enum:
    # Filters and taps that one step of the gradients works on; weights are padded to multiples.
    FILTER_TILE = 4
    TAP_TILE = 3
    # Filters and patches are padded to whole tiles of so many runs. One step works on up to two
    # tiles of a filter, or three of a patch.
    RUN_TILE = 3
    # Of the first-level cache, what images take while all filters pass over them; and filters that
    # pass over an image together, so that a tile of all of them stays there.
    CACHED_BYTES = 24576
    FILTER_GROUP = 32


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """Return the next multiple of tile."""
    return (n + tile - 1) // tile * tile


cdef inline void fill_zero(floating* a, Py_ssize_t n) noexcept nogil:
    """a[i] = 0 for all i < n."""
    cdef Py_ssize_t i
    for i in range(n):
        a[i] = 0


cdef inline void fill3(floating* a, floating value) noexcept nogil:
    """a[3, L] = value."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        a[l] = value
        a[l + L] = value
        a[l + 2 * L] = value


cdef inline void fill4(floating* a, floating value) noexcept nogil:
    """a[4, L] = value."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        a[l] = value
        a[l + L] = value
        a[l + 2 * L] = value
        a[l + 3 * L] = value


cdef inline void fill5(floating* a, floating value) noexcept nogil:
    """a[5, L] = value."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        a[l] = value
        a[l + L] = value
        a[l + 2 * L] = value
        a[l + 3 * L] = value
        a[l + 4 * L] = value


cdef inline void copy3(const floating* a, floating* out) noexcept nogil:
    """out[3, L] = a[3, L]; one of them is a local array."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        out[l] = a[l]
        out[l + L] = a[l + L]
        out[l + 2 * L] = a[l + 2 * L]


cdef inline void copy5(const floating* a, floating* out) noexcept nogil:
    """out[5, L] = a[5, L]; one of them is a local array."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        out[l] = a[l]
        out[l + L] = a[l + L]
        out[l + 2 * L] = a[l + 2 * L]
        out[l + 3 * L] = a[l + 3 * L]
        out[l + 4 * L] = a[l + 4 * L]


cdef inline void add3(const floating* a, floating* out) noexcept nogil:
    """out[3, L] += a[3, L], which is a local array."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        out[l] += a[l]
        out[l + L] += a[l + L]
        out[l + 2 * L] += a[l + 2 * L]


cdef inline floating choose(bint condition, floating a, floating b) noexcept nogil:
    """Return a if the condition holds, else b.

    Called, it has two values to choose from; of an expression that chooses between elements of two
    arrays, clang makes a choice between their addresses.
    """
    return a if condition else b


ctypedef fused word:
    uint32_t
    float
    double


cdef inline void riffle(word* a, Py_ssize_t L) noexcept nogil:
    """Interleave the two halves of a[8 * L]; done three times, this transposes a[8, L]."""
    cdef Py_ssize_t i
    cdef word s[8 * MAX_LANES]
    for i in range(4 * L):
        s[2 * i] = a[i]
        s[2 * i + 1] = a[i + 4 * L]
    for i in range(8 * L):
        a[i] = s[i]


cdef inline void unriffle(word* a, Py_ssize_t L) noexcept nogil:
    """The way back; done three times, this transposes a[L, 8]."""
    cdef Py_ssize_t i
    cdef word s[8 * MAX_LANES]
    for i in range(4 * L):
        s[i] = a[2 * i]
        s[i + 4 * L] = a[2 * i + 1]
    for i in range(8 * L):
        a[i] = s[i]
