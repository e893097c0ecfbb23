"""Steps down the gradient, each in one pass over all parameters; ``optim.py`` has the formulas.

A running sum whose gradients have become 0 (a filter that died) shrinks until it is subnormal, and
stays so: 0.9 times the smallest float32 rounds to the smallest float32. Subnormal numbers are slow:
with one of eight filters dead, SGD on 13,530 float32 values took 23 instead of 3.6 microseconds on
an Emerald Rapids. So a sum next to them is kept as 0, which costs nothing.
"""


cdef inline real root(real x) noexcept nogil:
    """Return the square root of x, computed in its type."""
    if sizeof(real) == sizeof(float):
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline real without_trace(real x) noexcept nogil:
    """Return x, but 0 for what is next to the subnormal numbers: it moves no parameter."""
    cdef real tiny = 1e-30 if sizeof(real) == sizeof(float) else 1e-290
    cdef real size = fabs(x)
    return 0 if size < tiny else x


cdef inline real with_penalty(
    real gradient, real weight_decay, real value
) noexcept nogil:
    """Return the gradient with that of the penalty, if there is one: 0 * infinity is NaN."""
    return gradient + weight_decay * value if weight_decay > 0 else gradient


cdef void sgd_step(const Descent* descent) noexcept nogil:
    """One step of SGD, with momentum where there are velocities."""
    cdef real* flat = <real*> descent.flat
    cdef const real* gradient = <const real*> descent.gradient
    cdef real lr = <real> descent.lr, weight_decay = <real> descent.weight_decay
    cdef real momentum = <real> descent.beta, slope, speed
    cdef real* velocity = <real*> descent.sum
    cdef bint nesterov = descent.nesterov
    cdef Py_ssize_t i
    for i in range(descent.n):
        slope = with_penalty(gradient[i], weight_decay, flat[i])
        speed = slope
        if velocity != NULL:
            speed = momentum * velocity[i] + slope
            velocity[i] = without_trace(speed)
        flat[i] -= lr * (slope + momentum * speed if nesterov else speed)


cdef void adam_step(const Descent* descent) noexcept nogil:
    """One step of Adam."""
    cdef real* flat = <real*> descent.flat
    cdef const real* gradient = <const real*> descent.gradient
    cdef real lr = <real> descent.lr, weight_decay = <real> descent.weight_decay
    cdef real beta = <real> descent.beta, square_beta = <real> descent.square_beta
    cdef real eps = <real> descent.eps, kept = <real> descent.kept
    cdef real slope, total, square
    cdef real* gradient_sum = <real*> descent.sum
    cdef real* square_sum = <real*> descent.square_sum
    cdef Py_ssize_t i
    for i in range(descent.n):
        slope = with_penalty(gradient[i], weight_decay, flat[i])
        total = beta * gradient_sum[i] + slope
        square = square_beta * square_sum[i] + slope * slope
        gradient_sum[i] = without_trace(total)
        square_sum[i] = square  # whatever its size: it divides
        flat[i] = kept * flat[i] - lr * (total / (root(square) + eps))
