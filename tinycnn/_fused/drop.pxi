"""Dropout: in training, what an operation sees is dropped in its place, before it runs.

Whether a value is dropped is computed from a key, the image's place in the order and the value's
place in the image, forward and once more backward: so nothing has to be kept, and neither threads
nor the cut into lane blocks change it.
"""


cdef inline bint drops(const Prepared* op, const Slot* slot) noexcept nogil:
    """Tell whether some of what an operation sees is dropped."""
    return slot.keys != NULL and op.op.dropout >= 0


cdef void drop(
    const Prepared* op, const Slot* slot, vec* x, Py_ssize_t n, Py_ssize_t first
) noexcept nogil:
    """x[n] *= 0 or 1 / (1 - rate): what an operation sees, from the first value on."""
    cdef uint64_t key = slot.keys[op.op.dropout]
    cdef bits low = image_words(<uint32_t> key, <uint32_t> slot.place)
    cdef bits high = image_words(<uint32_t> (key >> 32), <uint32_t> slot.place)
    cdef whole threshold = <whole> (op.op.rate * 2147483648.0)
    cdef real kept = 1 / (<real> (1 - op.op.rate))
    cdef Py_ssize_t i
    for i in range(n):
        x[i] *= kept_or_0(low, high, <uint32_t> (first + i), threshold, kept)


cdef void drop_inputs(const Prepared* op, Slot* slot, Py_ssize_t b) noexcept nogil:
    """Drop some of what an operation sees of lane block b; its border stays zero."""
    cdef Py_ssize_t width = op.op.inner_W, c, h
    cdef real[:, :, :, ::1] x = inside(
        maps_of(op, input_of(op, slot, b)), op.op.top, op.op.left, op.op.inner_H, width
    )
    for c in range(x.shape[0]):
        for h in range(x.shape[1]):
            drop(op, slot, <vec*> &x[c, h, 0, 0], width, (c * x.shape[1] + h) * width)
    slot.bound /= 1 - op.op.rate
