"""From lane blocks to images one by one, channels last, and back."""


cdef inline Py_ssize_t next_value(Py_ssize_t at, Py_ssize_t size, Py_ssize_t n) noexcept nogil:
    """From one of n values (C, size) to the next one in the order of (size, C); the last stays."""
    at += size
    return at if at < n else min(at - n + 1, n - 1)


cdef void split_lanes(
    const floating* lanes, Py_ssize_t size, Py_ssize_t n, Py_ssize_t step, floating* images
) noexcept nogil:
    """lanes (C, size, L) -> images (L, size, C) of n values each, step apart.

    They come in groups of 8; what the last group has too many goes where nobody reads.
    """
    cdef Py_ssize_t i, j, l, at = 0, L = VECTOR_BYTES // sizeof(floating)
    cdef floating a[8 * MAX_LANES]
    cdef floating* y
    for i in range((n + 7) // 8):
        for j in range(8):
            for l in range(L):
                a[j * L + l] = lanes[at * L + l]
            at = next_value(at, size, n)
        riffle(a, L)
        riffle(a, L)
        riffle(a, L)
        y = images + 8 * i
        for l in range(L):
            for j in range(8):
                y[j] = a[8 * l + j]
            y += step


# Maps (C, size) of n values.
cdef struct Maps:
    Py_ssize_t size, n


cdef void join_lanes(
    const floating* images, Py_ssize_t step, const Maps* maps, Py_ssize_t at, Py_ssize_t n,
    floating* lanes
) noexcept nogil:
    """images (L, size, C) -> lanes (C, size, L): the way back, for n values from position `at` on.
    """
    cdef Py_ssize_t i, j, l, L = VECTOR_BYTES // sizeof(floating)
    cdef floating a[8 * MAX_LANES]
    cdef const floating* x
    for i in range((n + 7) // 8):
        x = images + 8 * i
        for l in range(L):
            for j in range(8):
                a[8 * l + j] = x[j]
            x += step
        unriffle(a, L)
        unriffle(a, L)
        unriffle(a, L)
        for j in range(min(<Py_ssize_t> 8, n - 8 * i)):
            for l in range(L):
                lanes[at * L + l] = a[j * L + l]
            at = next_value(at, maps.size, maps.n)


cdef void copy_images(
    Py_ssize_t n, Py_ssize_t C, Py_ssize_t step, floating* images
) noexcept nogil:
    """Beside each image of n values, in (L, 2, step), a copy from its second position on."""
    cdef Py_ssize_t l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        memcpy(images + step, images + C, (n - C) * sizeof(floating))
        images += 2 * step
