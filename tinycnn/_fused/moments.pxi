"""Mean and spread of images, to standardise them."""

from libc.stdint cimport uint64_t

cdef enum:
    BYTES_SUMMED = 65536  # their squares' sum fits 32 bits


def plane_moments(const pixel[:, ::1] planes, double[::1] mean, double[::1] squares):
    """mean[i] = that of planes[i, :]; squares[i] = the sum of squared deviations from it.

    Floats are summed as differences from the first of them: where all are equal, the mean is
    exactly that, and the deviations are 0.
    """
    cdef Py_ssize_t i, n = planes.shape[1]
    with nogil:
        for i in range(planes.shape[0]):
            if pixel is uint8_t:
                byte_moments(&planes[i, 0], n, &mean[i], &squares[i])
            else:
                mean[i] = sum_of_differences(&planes[i, 0], n, planes[i, 0], False) / n
                mean[i] += planes[i, 0]
                squares[i] = sum_of_differences(&planes[i, 0], n, mean[i], True)


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
    const pixel* x, Py_ssize_t n, double center, bint squared
) noexcept nogil:
    """The sum over n of x - center, or of its square.

    Several sums side by side: vector instructions may not change the order of additions.
    """
    cdef double sums[MAX_LANES]
    cdef double value, total = 0
    cdef Py_ssize_t i, l
    for l in range(MAX_LANES):
        sums[l] = 0
    for i in range(n // MAX_LANES):
        for l in range(MAX_LANES):
            value = x[i * MAX_LANES + l] - center
            sums[l] += value * value if squared else value
    for l in range(MAX_LANES):
        total += sums[l]
    for i in range(n - n % MAX_LANES, n):
        value = x[i] - center
        total += value * value if squared else value
    return total
