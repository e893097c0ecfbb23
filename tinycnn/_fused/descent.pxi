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


cdef void descend(
    floating* flat, const floating* gradient, Py_ssize_t n, floating lr, floating weight_decay
) noexcept nogil:
    """One step of SGD without momentum."""
    cdef Py_ssize_t i
    for i in range(n):
        flat[i] -= lr * with_penalty(gradient[i], weight_decay, flat[i])


cdef void descend_with_momentum(
    floating* flat, const floating* gradient, floating* velocity, Py_ssize_t n, floating lr,
    floating momentum, floating weight_decay, bint nesterov
) noexcept nogil:
    """One step of SGD with momentum."""
    cdef floating slope, speed
    cdef Py_ssize_t i
    for i in range(n):
        slope = with_penalty(gradient[i], weight_decay, flat[i])
        speed = momentum * velocity[i] + slope
        velocity[i] = without_trace(speed)
        flat[i] -= lr * (slope + momentum * speed if nesterov else speed)


cdef void descend_by_adam(
    floating* flat, const floating* gradient, floating* gradient_sum, floating* square_sum,
    Py_ssize_t n, floating lr, floating beta, floating square_beta, floating eps,
    floating weight_decay, floating kept
) noexcept nogil:
    """One step of Adam; kept is what decoupled decay leaves of a parameter."""
    cdef floating slope, total, square
    cdef Py_ssize_t i
    for i in range(n):
        slope = with_penalty(gradient[i], weight_decay, flat[i])
        total = beta * gradient_sum[i] + slope
        square = square_beta * square_sum[i] + slope * slope
        gradient_sum[i] = without_trace(total)
        square_sum[i] = square  # whatever its size: it divides
        flat[i] = kept * flat[i] - lr * (total / (root(square) + eps))


# What the table has: these find the type of the parameters.


cdef void sgd_step(
    Py_ssize_t item, void* flat, const void* gradient, Py_ssize_t n, double lr, double weight_decay
) noexcept nogil:
    if item == sizeof(float):
        descend(<float*> flat, <const float*> gradient, n, <float> lr, <float> weight_decay)
    else:
        descend(<double*> flat, <const double*> gradient, n, lr, weight_decay)


cdef void momentum_step(
    Py_ssize_t item, void* flat, const void* gradient, void* velocity, Py_ssize_t n, double lr,
    double momentum, double weight_decay, bint nesterov
) noexcept nogil:
    if item == sizeof(float):
        descend_with_momentum(
            <float*> flat, <const float*> gradient, <float*> velocity, n, <float> lr,
            <float> momentum, <float> weight_decay, nesterov
        )
    else:
        descend_with_momentum(
            <double*> flat, <const double*> gradient, <double*> velocity, n, lr, momentum,
            weight_decay, nesterov
        )


cdef void adam_step(
    Py_ssize_t item, void* flat, const void* gradient, void* gradient_sum, void* square_sum,
    Py_ssize_t n, double lr, double beta, double square_beta, double eps, double weight_decay,
    double kept
) noexcept nogil:
    if item == sizeof(float):
        descend_by_adam(
            <float*> flat, <const float*> gradient, <float*> gradient_sum, <float*> square_sum, n,
            <float> lr, <float> beta, <float> square_beta, <float> eps, <float> weight_decay,
            <float> kept
        )
    else:
        descend_by_adam(
            <double*> flat, <const double*> gradient, <double*> gradient_sum, <double*> square_sum,
            n, lr, beta, square_beta, eps, weight_decay, kept
        )
