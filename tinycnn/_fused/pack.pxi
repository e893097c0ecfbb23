"""Packing: from images anywhere in a data set to a lane block, scaled on the way."""

ctypedef fused pixel:
    uint8_t
    float
    double

ctypedef fused float_pixel:
    float
    double


cdef inline void gather8(
    const uint8_t** image, Py_ssize_t L, Py_ssize_t at, word* a
) noexcept nogil:
    """a[8, L] = 8 words of each of L images, from byte `at` on.

    Each image's words come in one piece, and shuffles send them to their lanes: one by one, words
    take several times as long.
    """
    cdef Py_ssize_t l
    for l in range(L):
        memcpy(a + 8 * l, image[l] + at, 8 * sizeof(word))
    unriffle(a, L)
    unriffle(a, L)
    unriffle(a, L)


cdef inline void gather_words(
    const uint8_t** image, Py_ssize_t L, Py_ssize_t size, uint32_t* words
) noexcept nogil:
    """words[i, l] = bytes 4i to 4i + 3 of image l; the last word ends in zeros."""
    cdef Py_ssize_t i, l, whole = size // 4, tail = size % 4
    cdef uint32_t a[8 * MAX_LANES]
    for i in range(whole // 8):
        gather8(image, L, 32 * i, a)
        for l in range(8 * L):
            words[8 * i * L + l] = a[l]
    for i in range(whole - whole % 8, whole):
        for l in range(L):
            memcpy(words + i * L + l, image[l] + 4 * i, 4)
    if tail:
        for l in range(L):
            words[whole * L + l] = 0
            memcpy(words + whole * L + l, image[l] + 4 * whole, tail)


cdef void unpack_words(
    const uint32_t* words, Py_ssize_t size, floating scale, floating shift, floating* x
) noexcept nogil:
    """x[i, l] = byte i of image l * scale + shift."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t i, l, whole = size // 4
    cdef uint32_t one = 1
    cdef bint little = (<uint8_t*> &one)[0] == 1
    cdef int s0 = 0 if little else 24
    cdef int s1 = 8 if little else 16
    cdef int s2 = 16 if little else 8
    cdef int s3 = 24 if little else 0
    cdef const uint32_t* v
    cdef floating* y
    for i in range(whole):
        v = words + i * L
        y = x + 4 * i * L
        for l in range(L):
            y[l] = <int> ((v[l] >> s0) & 255) * scale + shift
            y[l + L] = <int> ((v[l] >> s1) & 255) * scale + shift
            y[l + 2 * L] = <int> ((v[l] >> s2) & 255) * scale + shift
            y[l + 3 * L] = <int> ((v[l] >> s3) & 255) * scale + shift
    v = words + whole * L
    for i in range(4 * whole, size):
        for l in range(L):
            x[i * L + l] = (<const uint8_t*> (v + l))[i - 4 * whole] * scale + shift


cdef void pack_bytes(
    const uint8_t** image, Py_ssize_t size, floating scale, floating shift,
    uint32_t* words, floating* x
) noexcept nogil:
    """Bytes to lanes, four at a time: a word moves to its lane as one."""
    gather_words(image, VECTOR_BYTES // sizeof(floating), size, words)
    unpack_words(words, size, scale, shift, x)


cdef void pack_values(
    const float_pixel** image, Py_ssize_t size, floating scale, floating shift, floating* x
) noexcept nogil:
    """Floats to lanes."""
    cdef Py_ssize_t i, l, L = VECTOR_BYTES // sizeof(floating)
    cdef float_pixel a[8 * MAX_LANES]
    for i in range(size // 8):
        gather8(<const uint8_t**> image, L, 8 * i * sizeof(float_pixel), a)
        for l in range(8 * L):
            x[8 * i * L + l] = <floating> a[l] * scale + shift
    for i in range(size - size % 8, size):
        for l in range(L):
            x[i * L + l] = <floating> image[l][i] * scale + shift


cdef inline void pack_plane(
    const pixel** image, Py_ssize_t size, floating scale, floating shift, uint32_t* words,
    floating* x
) noexcept nogil:
    """x[i, l] = pixel i of image l * scale + shift."""
    if pixel is uint8_t:
        pack_bytes(image, size, scale, shift, words, x)
    else:
        pack_values(image, size, scale, shift, x)


cdef void clear_border(const Operation* op, floating* x) noexcept nogil:
    """x (C, H, W, L) = 0 outside the inner rows and columns."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), W = op.W * L, c, h
    cdef Py_ssize_t below = op.top + op.inner_H, right = (op.left + op.inner_W) * L
    for c in range(op.C):
        fill_zero(x, op.top * W)
        for h in range(op.top, below):
            fill_zero(x + h * W, op.left * L)
            fill_zero(x + h * W + right, W - right)
        fill_zero(x + below * W, (op.H - below) * W)
        x += op.H * W


cdef void copy_inside(const Operation* op, const floating* plane, floating* x) noexcept nogil:
    """x (H, W, L) = plane (inner_H, inner_W, L), inside its border."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), row = op.inner_W * L, h
    x += (op.top * op.W + op.left) * L
    for h in range(op.inner_H):
        memcpy(x, plane, row * sizeof(floating))
        x += op.W * L
        plane += row


cdef void pack(
    const pixel** image, Py_ssize_t count, const Images* images, const Operation* op, Slot* slot,
    floating* x
) noexcept nogil:
    """x[c, h, w, l] = pixel (h, w) of channel c of image l, times scale[c], plus shift[c].

    Lanes from count on become zero. The border of x, if it has one, is left as it is.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), size = op.inner_H * op.inner_W
    cdef bint border = has_border(op)
    cdef floating* plane
    cdef Py_ssize_t c, i, l
    for c in range(op.C):
        plane = <floating*> slot.plane if border else x
        pack_plane(
            image, size, <floating> images.scale[c], <floating> images.shift[c],
            <uint32_t*> slot.words, plane
        )
        for l in range(count, L):
            for i in range(size):
                plane[i * L + l] = 0
        if border:
            copy_inside(op, plane, x)
        for l in range(L):
            image[l] += size
        x += op.H * op.W * L
