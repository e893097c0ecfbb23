"""Mean and spread of images, to standardise them."""

cdef enum:
    BYTES_SUMMED = 65536  # their squares' sum fits 32 bits


cdef void plane_moments(
    const uint8_t[::1] images, int kind, Py_ssize_t n, double[::1] mean, double[::1] squares
) noexcept nogil:
    """mean[i] = that of the n pixels of plane i; squares[i] = its sum of squared deviations.

    images are the bytes of all planes, of pixels of a PixelKind.
    """
    cdef Py_ssize_t i
    for i in range(mean.shape[0]):
        if kind == BYTES:
            byte_moments(&images[i * n], n, &mean[i], &squares[i])
        elif kind == FLOATS:
            float_moments(<const float*> &images[0] + i * n, n, &mean[i], &squares[i])
        else:
            float_moments(<const double*> &images[0] + i * n, n, &mean[i], &squares[i])


cdef void float_moments(
    const floating* x, Py_ssize_t n, double* mean, double* squares
) noexcept nogil:
    """Moments of n floats, from differences from the first of them.

    Where all are equal, the mean is exactly that, and the deviations are 0.
    """
    mean[0] = sum_of_differences(x, n, x[0], False) / n
    mean[0] += x[0]
    squares[0] = sum_of_differences(x, n, mean[0], True)


cdef void byte_moments(
    const uint8_t* x, Py_ssize_t n, double* mean, double* squares
) noexcept nogil:
    """Moments of n bytes, from exact sums."""
    cdef uint64_t total = 0, total_square = 0
    cdef uint32_t part, part_square, value
    cdef Py_ssize_t i, first = 0, last
    while first < n:
        last = min(first + BYTES_SUMMED, n)
        part = part_square = 0
        for i in range(first, last):
            value = x[i]
            part += value
            part_square += value * value
        total += part
        total_square += part_square
        first = last
    mean[0] = <double> total / n
    squares[0] = total_square - total * mean[0]


cdef double sum_of_differences(
    const floating* x, Py_ssize_t n, double center, bint squared
) noexcept nogil:
    """The sum over n of x - center, or of its square.

    Several sums side by side: vector instructions may not change the order of additions.
    """
    cdef double sums[LANES]
    cdef double value, total = 0
    cdef Py_ssize_t i, l
    for l in range(LANES):
        sums[l] = 0
    for i in range(n // LANES):
        for l in range(LANES):
            value = x[i * LANES + l] - center
            sums[l] += value * value if squared else value
    for l in range(LANES):
        total += sums[l]
    for i in range(n - n % LANES, n):
        value = x[i] - center
        total += value * value if squared else value
    return total
