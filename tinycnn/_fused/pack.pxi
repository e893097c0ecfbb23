"""Packing: from images anywhere in a data set to a lane block, scaled on the way.

Meanwhile the images of the next lane block are fetched into the cache: main memory is slow, and
what an image needs besides is computed in the time that its bytes would take to come.
"""

ctypedef fused pixel:
    uint8_t
    float
    double

ctypedef fused float_pixel:
    float
    double

# Where the next pixel goes: into rows of some width, with a border between one and the next.
cdef struct Cursor:
    vec* at
    Py_ssize_t column, width, border


cdef inline void put(bint bordered, vec value, Cursor* to) noexcept nogil:
    to.at[0] = value
    to.at += 1
    if bordered:
        to.column += 1
        if to.column == to.width:
            to.column = 0
            to.at += to.border


cdef inline void put_bytes(
    bint bordered, int n, const vec* a, vec scale, vec shift, Cursor* to
) noexcept nogil:
    """The first n bytes of each lane of a row of words."""
    cdef int i
    for i in range(n):
        put(
            bordered, byte_of(a[i // <int> sizeof(real)], i % <int> sizeof(real)) * scale + shift,
            to
        )


cdef void pack_bytes(
    const uint8_t** image, Py_ssize_t size, vec scale, vec shift, Cursor* to
) noexcept nogil:
    """Bytes of L images to lanes: words as large as a lane are transposed, then taken apart.

    image has 2 L pointers: to these images, and to those to come.
    """
    cdef Py_ssize_t at = 0
    cdef int l
    cdef vec a[LANES]
    while at + VECTOR_BYTES <= size:
        for l in range(LANES):
            prefetch(image[LANES + l] + at)
            memcpy(&a[l], image[l] + at, VECTOR_BYTES)
        transpose(a)
        if to.border > 0:
            put_bytes(True, VECTOR_BYTES, a, scale, shift, to)
        else:
            put_bytes(False, VECTOR_BYTES, a, scale, shift, to)
        at += VECTOR_BYTES
    if at < size:
        for l in range(LANES):
            a[l] = splat(0)
            memcpy(&a[l], image[l] + at, size - at)
        transpose(a)
        put_bytes(True, size - at, a, scale, shift, to)


cdef void pack_floats(
    const float_pixel** image, Py_ssize_t size, vec scale, vec shift, Cursor* to
) noexcept nogil:
    """Floats of L images to lanes; image as for bytes."""
    cdef Py_ssize_t at = 0, n
    cdef int l, i
    cdef vec a[LANES]
    while at < size:
        n = min(<Py_ssize_t> LANES, size - at)
        for l in range(LANES):
            prefetch(image[LANES + l] + at)
            for i in range(n):
                (<real*> &a[l])[i] = <real> image[l][at + i]
        transpose(a)
        for l in range(n):
            put(True, a[l] * scale + shift, to)
        at += LANES


cdef void pack(
    const pixel** image, Py_ssize_t count, const Images* images, const Operation* op, real* x
) noexcept nogil:
    """x[c, h, w, l] = pixel (h, w) of channel c of image l, times scale[c], plus shift[c].

    Lanes from count on become zero. The border of x, if it has one, is left as it is. image has 2 L
    pointers, which are moved behind the images: the first L to these, the others to those to come.
    """
    cdef Py_ssize_t size = op.inner_H * op.inner_W, c
    cdef int l
    cdef vec scale = splat(0), shift = splat(0)
    cdef Cursor to
    for c in range(op.C):
        for l in range(count):
            (<real*> &scale)[l] = <real> images.scale[c]
            (<real*> &shift)[l] = <real> images.shift[c]
        to.at = <vec*> x + (c * op.H + op.top) * op.W + op.left
        to.column, to.width, to.border = 0, op.inner_W, op.W - op.inner_W
        if pixel is uint8_t:
            pack_bytes(image, size, scale, shift, &to)
        else:
            pack_floats(image, size, scale, shift, &to)
        for l in range(2 * LANES):
            image[l] += size


cdef void clear_border(const Operation* op, real* x) noexcept nogil:
    """x (C, H, W, L) = 0 outside the inner rows and columns."""
    cdef Py_ssize_t W = op.W * LANES, c, h
    cdef Py_ssize_t below = op.top + op.inner_H, right = (op.left + op.inner_W) * LANES
    for c in range(op.C):
        fill_zero(x, op.top * W)
        for h in range(op.top, below):
            fill_zero(x + h * W, op.left * LANES)
            fill_zero(x + h * W + right, W - right)
        fill_zero(x + below * W, (op.H - below) * W)
        x += op.H * W
