"""Softmax and cross-entropy of a lane block."""


cdef double cross_entropy(
    const Loss* loss, real[:, ::1] out, const int64_t* order, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    """out (M, L): logits become their scaled gradients; return the weighted sum of count losses.

    Labels and weights belong to images first, first + 1, ... of the order; lanes from count on get
    a gradient of 0. So does a class that is next to impossible: its gradient would make the whole
    backward pass compute with subnormal numbers, which takes ten times as long and moves nothing.
    """
    cdef Py_ssize_t M = out.shape[0], m, l, index
    cdef Py_ssize_t label[LANES]
    cdef double weight[LANES]
    cdef vec top, total, factor, tiny = splat(1e-30 if sizeof(real) == 4 else 1e-290)
    cdef vec lowest = splat(-80 if sizeof(real) == 4 else -700)
    cdef vec* z = <vec*> &out[0, 0]
    cdef double even = loss.smoothing / M, hit = 1 - loss.smoothing, result = 0
    top = z[0]
    for m in range(1, M):
        top = larger(z[m], top)
    for l in range(count):
        index = first + l if order == NULL else order[first + l]
        label[l] = loss.labels[index]
        weight[l] = 1 if loss.weights == NULL else loss.weights[index]
        result -= weight[l] * hit * (out[label[l], l] - (<real*> &top)[l])
        if even > 0:
            for m in range(M):
                result -= weight[l] * even * (out[m, l] - (<real*> &top)[l])
    total = splat(0)
    for m in range(M):
        z[m] = z[m] - top
        z[m] = where_greater(lowest, z[m], lowest, z[m])
        for l in range(LANES):
            if sizeof(real) == 4:
                out[m, l] = expf(out[m, l])
            else:
                out[m, l] = exp(out[m, l])
        total += z[m]
    factor = splat(0)
    for l in range(count):
        result += weight[l] * log((<real*> &total)[l])
        weight[l] *= loss.scale
        (<real*> &factor)[l] = <real> weight[l] / (<real*> &total)[l]
    for m in range(M):
        z[m] *= factor
        z[m] = where_greater(tiny, z[m], splat(0), z[m])
    for l in range(count):
        out[label[l], l] -= <real> (weight[l] * hit)
        if even > 0:
            for m in range(M):
                out[m, l] -= <real> (weight[l] * even)
    return result
