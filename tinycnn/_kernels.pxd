"""What lies between ``_bindings.pyx`` and ``_kernels.pyx``: a table of functions, and their words.

``_kernels.pyx``, compiled for each level of instruction sets, fills the table; ``_bindings.pyx``,
compiled once, calls through it. Both must be built from the same file.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t

cdef enum:
    MAX_BLOCKS = 16

cdef enum PixelKind:
    BYTES
    FLOATS
    DOUBLES

cdef struct Linear:
    Py_ssize_t F
    Py_ssize_t M
    Py_ssize_t weight_at  # in the flat vector of parameters
    Py_ssize_t bias_at
    const void* weight  # (M, F)
    const void* bias  # (M,), or NULL

cdef struct Block:
    Py_ssize_t C, H, W, K, R, S, P, Q, T
    Py_ssize_t weight_at  # in the flat vector of parameters
    Py_ssize_t bias_at
    int64_t* tap  # offset of each tap in (C, H, W, L); the last one again up to a whole tile
    void* filters  # [tile of 4 filters, tap, filter], 0 behind the last filter and tap
    void* biases  # (K,), 0 behind the last filter
    # Of a block after the first, see `winner.pxi`: offsets of the windows in (H, W, C), and from
    # there on those of the runs of a filter and of a patch; the filters in frames.
    int64_t* window
    int64_t* run
    int64_t* patch_run
    void* frames
    double largest_weight
    double largest_bias

cdef struct Network:
    Py_ssize_t n_blocks
    Py_ssize_t n_parameters
    Py_ssize_t padding  # zeros around every image; the first block's H and W count them
    bint bias
    Linear hidden  # M is 0 where there is none
    Linear linear
    Block blocks[MAX_BLOCKS]

cdef struct Loss:
    const int64_t* labels  # of all images
    const double* weights  # of all images, or NULL where each counts the same
    double smoothing  # share of the target that is spread evenly over all classes
    double scale  # of the gradient

# What one call of the fused path works on, or one batch after the other. Parameters, gradients and
# logits are floats of `item` bytes.
cdef struct Job:
    Network net
    Py_ssize_t item
    const void* flat  # the parameters
    PixelKind kind
    const void* images
    const int64_t* order  # NULL: the images as they stand
    const int8_t* moves  # (images, 3), or NULL: see `move_image`
    const double* scale  # of each channel
    const double* shift
    double bound  # of bytes, scaled
    Py_ssize_t first, count  # of the images
    Py_ssize_t group  # lane blocks, at most
    Py_ssize_t most_chunks
    Py_ssize_t lane_blocks, n_groups, n_chunks  # how `prepare` divides the images
    Loss loss
    char* tables
    char* slots
    Py_ssize_t slot_bytes
    void* out  # logits (count, M), or gradients (n_chunks, n_parameters)
    double* losses  # (n_chunks,)
    void* gradient  # (n_parameters,), the sum over the chunks
    bint all_finite

# What a pool runs: task number `task` of a job, by the participant `slot` (0 is the caller).
ctypedef void (*TaskFunction)(void* job, Py_ssize_t task, Py_ssize_t slot) noexcept nogil

# The single layers. Twice, since a memoryview's type has that of its values in it.
cdef struct FloatLayers:
    void (*conv2d_forward)(
        const float[:, :, :, ::1], const float[:, :, :, ::1], const float[::1],
        float[:, :, :, ::1]
    ) noexcept nogil
    void (*conv2d_backward_weight)(
        const float[:, :, :, ::1], const float[:, :, :, ::1], float[:, :, :, ::1]
    ) noexcept nogil
    void (*conv2d_backward_bias)(const float[:, :, :, ::1], float[::1]) noexcept nogil
    void (*conv2d_backward_input)(
        const float[:, :, :, ::1], const float[:, :, :, ::1], float[:, :, :, ::1]
    ) noexcept nogil
    void (*relu_forward)(const float[::1], float[::1]) noexcept nogil
    void (*relu_backward)(const float[::1], const float[::1], float[::1]) noexcept nogil
    void (*max_pool2d_forward)(
        const float[:, :, :, ::1], float[:, :, :, ::1], uint8_t[:, :, :, ::1]
    ) noexcept nogil
    void (*max_pool2d_backward)(
        const float[:, :, :, ::1], const uint8_t[:, :, :, ::1], float[:, :, :, ::1]
    ) noexcept nogil

cdef struct DoubleLayers:
    void (*conv2d_forward)(
        const double[:, :, :, ::1], const double[:, :, :, ::1], const double[::1],
        double[:, :, :, ::1]
    ) noexcept nogil
    void (*conv2d_backward_weight)(
        const double[:, :, :, ::1], const double[:, :, :, ::1], double[:, :, :, ::1]
    ) noexcept nogil
    void (*conv2d_backward_bias)(const double[:, :, :, ::1], double[::1]) noexcept nogil
    void (*conv2d_backward_input)(
        const double[:, :, :, ::1], const double[:, :, :, ::1], double[:, :, :, ::1]
    ) noexcept nogil
    void (*relu_forward)(const double[::1], double[::1]) noexcept nogil
    void (*relu_backward)(const double[::1], const double[::1], double[::1]) noexcept nogil
    void (*max_pool2d_forward)(
        const double[:, :, :, ::1], double[:, :, :, ::1], uint8_t[:, :, :, ::1]
    ) noexcept nogil
    void (*max_pool2d_backward)(
        const double[:, :, :, ::1], const uint8_t[:, :, :, ::1], double[:, :, :, ::1]
    ) noexcept nogil

cdef struct Kernels:
    Py_ssize_t vector_bytes  # of one register: as many lanes as values fit in
    FloatLayers of_float
    DoubleLayers of_double
    void (*plane_moments)(
        const uint8_t[::1] images, int kind, Py_ssize_t n, double[::1] mean, double[::1] squares
    ) noexcept nogil
    void (*memory_needs)(
        Network* net, Py_ssize_t item, Py_ssize_t group, Py_ssize_t* needs
    ) noexcept nogil
    void (*prepare)(Job* job) noexcept nogil
    TaskFunction chunk_gradient  # n_chunks tasks
    TaskFunction group_outputs  # n_groups tasks
    void (*add_chunks)(Job* job) noexcept nogil
    # Of parameters that are floats of `item` bytes.
    void (*sgd_step)(
        Py_ssize_t item, void* flat, const void* gradient, Py_ssize_t n, double lr,
        double weight_decay
    ) noexcept nogil
    void (*momentum_step)(
        Py_ssize_t item, void* flat, const void* gradient, void* velocity, Py_ssize_t n, double lr,
        double momentum, double weight_decay, bint nesterov
    ) noexcept nogil
    void (*adam_step)(
        Py_ssize_t item, void* flat, const void* gradient, void* gradient_sum, void* square_sum,
        Py_ssize_t n, double lr, double beta, double square_beta, double eps, double weight_decay,
        double kept
    ) noexcept nogil
