"""Steps down the gradient, each in one pass over all parameters; ``optim.py`` has the formulas.

A running sum whose gradients have become 0 (a filter that died) shrinks until it is subnormal, and
stays so: 0.9 times the smallest float32 rounds to the smallest float32. Subnormal numbers are slow:
with one of eight filters dead, SGD on 13,530 float32 values took 23 instead of 3.6 microseconds on
an Emerald Rapids. So a sum next to them is kept as 0, which costs nothing.
"""


cdef inline floating root(floating x) noexcept nogil:
    """Return the square root of x, computed in its type."""
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline floating without_trace(floating x) noexcept nogil:
    """Return x, but 0 for what is next to the subnormal numbers: it moves no parameter."""
    cdef floating tiny = 1e-30 if sizeof(floating) == sizeof(float) else 1e-290
    cdef floating size = fabs(x)
    return 0 if size < tiny else x


cdef inline floating with_penalty(
    floating gradient, floating weight_decay, floating value
) noexcept nogil:
    """Return the gradient with that of the penalty, if there is one: 0 * infinity is NaN."""
    return gradient + weight_decay * value if weight_decay > 0 else gradient


cdef void descend(floating* flat, const floating* gradient, const Descent* descent) noexcept nogil:
    """One step of SGD without momentum."""
    cdef floating lr = <floating> descent.lr, weight_decay = <floating> descent.weight_decay
    cdef Py_ssize_t i
    for i in range(descent.n):
        flat[i] -= lr * with_penalty(gradient[i], weight_decay, flat[i])


cdef void descend_with_momentum(
    floating* flat, const floating* gradient, const Descent* descent
) noexcept nogil:
    """One step of SGD with momentum."""
    cdef floating lr = <floating> descent.lr, weight_decay = <floating> descent.weight_decay
    cdef floating momentum = <floating> descent.beta, slope, speed
    cdef floating* velocity = <floating*> descent.sum
    cdef bint nesterov = descent.nesterov
    cdef Py_ssize_t i
    for i in range(descent.n):
        slope = with_penalty(gradient[i], weight_decay, flat[i])
        speed = momentum * velocity[i] + slope
        velocity[i] = without_trace(speed)
        flat[i] -= lr * (slope + momentum * speed if nesterov else speed)


cdef void descend_by_adam(
    floating* flat, const floating* gradient, const Descent* descent
) noexcept nogil:
    """One step of Adam."""
    cdef floating lr = <floating> descent.lr, weight_decay = <floating> descent.weight_decay
    cdef floating beta = <floating> descent.beta, square_beta = <floating> descent.square_beta
    cdef floating eps = <floating> descent.eps, kept = <floating> descent.kept
    cdef floating slope, total, square
    cdef floating* gradient_sum = <floating*> descent.sum
    cdef floating* square_sum = <floating*> descent.square_sum
    cdef Py_ssize_t i
    for i in range(descent.n):
        slope = with_penalty(gradient[i], weight_decay, flat[i])
        total = beta * gradient_sum[i] + slope
        square = square_beta * square_sum[i] + slope * slope
        gradient_sum[i] = without_trace(total)
        square_sum[i] = square  # whatever its size: it divides
        flat[i] = kept * flat[i] - lr * (total / (root(square) + eps))


# What the table has: these find the type of the parameters.


cdef void sgd_step(const Descent* descent) noexcept nogil:
    if descent.item == sizeof(float):
        descend(<float*> descent.flat, <const float*> descent.gradient, descent)
    else:
        descend(<double*> descent.flat, <const double*> descent.gradient, descent)


cdef void momentum_step(const Descent* descent) noexcept nogil:
    if descent.item == sizeof(float):
        descend_with_momentum(<float*> descent.flat, <const float*> descent.gradient, descent)
    else:
        descend_with_momentum(<double*> descent.flat, <const double*> descent.gradient, descent)


cdef void adam_step(const Descent* descent) noexcept nogil:
    if descent.item == sizeof(float):
        descend_by_adam(<float*> descent.flat, <const float*> descent.gradient, descent)
    else:
        descend_by_adam(<double*> descent.flat, <const double*> descent.gradient, descent)
