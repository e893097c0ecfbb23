"""The optimisers' steps; ``optim.py`` has the formulas.

Included in ``_bindings.pyx``. Each one moves flat (n,), and its running sums (n,) as well; all are
float32, or all are float64.
"""


cdef int enter_arrays(Descent* descent, flat, gradient) except -1:
    """Tell a step, of which nothing is known yet, where the parameters and their gradient are."""
    memset(descent, 0, sizeof(Descent))
    descent.item = flat.itemsize
    descent.n = flat.size
    descent.flat = floats_of(flat, descent.n, descent.item, PyBUF_WRITABLE)
    descent.gradient = floats_of(gradient, descent.n, descent.item, 0)
    return 0


def sgd_step(flat, gradient, numbers, /):
    """One step of SGD without momentum; numbers are lr, weight_decay."""
    cdef Descent descent
    enter_arrays(&descent, flat, gradient)
    descent.lr, descent.weight_decay = numbers
    with nogil:
        kernels_of(descent.item).sgd_step(&descent)


def momentum_step(flat, gradient, velocity, numbers, /):
    """One step of SGD; numbers are lr, momentum, weight_decay, nesterov."""
    cdef Descent descent
    enter_arrays(&descent, flat, gradient)
    descent.sum = floats_of(velocity, descent.n, descent.item, PyBUF_WRITABLE)
    descent.lr, descent.beta, descent.weight_decay, descent.nesterov = numbers
    with nogil:
        kernels_of(descent.item).sgd_step(&descent)


def adam_step(flat, gradient, gradient_sum, square_sum, numbers, /):
    """One step of Adam; numbers are lr, beta, square_beta, eps, weight_decay, kept.

    flat becomes kept * flat - lr * gradient_sum / (sqrt(square_sum) + eps).
    """
    cdef Descent descent
    enter_arrays(&descent, flat, gradient)
    descent.sum = floats_of(gradient_sum, descent.n, descent.item, PyBUF_WRITABLE)
    descent.square_sum = floats_of(square_sum, descent.n, descent.item, PyBUF_WRITABLE)
    descent.lr, descent.beta, descent.square_beta, descent.eps = numbers[:4]
    descent.weight_decay, descent.kept = numbers[4:]
    with nogil:
        kernels_of(descent.item).adam_step(&descent)
