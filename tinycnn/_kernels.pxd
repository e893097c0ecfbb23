"""What lies between ``_bindings.pyx`` and ``_kernels.pyx``: a table of functions, and their words.

``_kernels.pyx``, compiled for each level of instruction sets, fills the table; ``_bindings.pyx``,
compiled once, calls through it. The table's name tells the sources that both were compiled from.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint64_t

cdef extern from *:
    """
    #define TINYCNN_WORD(number) #number
    #define TINYCNN_TABLE_OF(number) "tinycnn.Kernels of build " TINYCNN_WORD(number)
    #define TINYCNN_TABLE TINYCNN_TABLE_OF(TINYCNN_BUILD)
    """
    const char* TABLE_NAME "TINYCNN_TABLE"

cdef enum:
    MAX_OPERATIONS = 32

cdef enum PixelKind:
    BYTES
    FLOATS
    DOUBLES

# The numbers of the operations in a plan's table; `plan.py` has them too.
cdef enum:
    BLOCK  # conv, ReLU and 2x2 max pool
    CONV
    CONV_RELU
    LINEAR
    LINEAR_RELU
    N_KINDS

# A row of a plan's table: equal to a NumPy dtype in `plan.py`, where its fields are explained.
cdef packed struct Operation:
    int64_t kind
    int64_t C, H, W
    int64_t inner_H, inner_W, top, left
    int64_t K, R, S, P, Q
    int64_t weight_at, bias_at
    int64_t dropout
    double rate

# The filters of a convolution as its kernels want them, and what becomes of its outputs. Or the
# weights of a linear operation.
cdef struct Filters:
    Py_ssize_t T  # taps of a filter; of a linear operation its inputs
    int64_t* tap  # offset of each tap in (C, H, W, L); the last one again up to a whole tile
    bint phases  # or of four positions of each, for one image by itself: see `single.pxi`
    void* tiles  # (T, 2 to 4 filters), or (T, 10 outputs)
    void* biases  # (K,), 0 behind the last filter
    void* u  # for Winograd, see `winograd.pxi`; or NULL
    double largest_weight, largest_bias
    double least  # outputs below it become it: 0 for a ReLU

# An operation that is ready to run.
cdef struct Prepared:
    Operation op
    Py_ssize_t index  # among the operations
    Py_ssize_t x_at, winner_at, dw_at, dbias_at, single_at  # bytes: see `memory.pxi`
    Filters filters
    Filters alone  # of a block: the same for one image by itself
    # For the gradient of the input. Of a block, the filters for Winograd on the way back, or in
    # frames of zeros: see `later.pxi`. Of a conv without pool, turned around: see `maps.pxi`.
    void* u_back
    void* frames
    Filters turned
    void* turned_weight  # (C, K, R, S)

# Behind the last operation stands what would see the logits.
cdef struct Network:
    Py_ssize_t n_operations
    Py_ssize_t n_parameters
    Py_ssize_t group  # lane blocks in a group, at most
    Prepared operations[MAX_OPERATIONS + 1]
    # Bytes of the parts of a slot, see `memory.pxi`; and of all that a network takes.
    Py_ssize_t map_bytes, linear_bytes, sums_bytes, single_bytes, scratch_bytes
    Py_ssize_t table_bytes
    Py_ssize_t predicting_bytes, training_bytes  # of a slot
    Py_ssize_t kept_bytes  # what backward needs of a lane block

cdef struct Images:
    PixelKind kind
    const void* pixels  # (images, C, inner_H, inner_W)
    const int64_t* order  # NULL: the images as they stand
    const int8_t* moves  # (images, 3), or NULL: see `move_image`
    const double* scale  # of each channel
    const double* shift
    double bound  # of bytes, scaled

cdef struct Loss:
    const int64_t* labels  # of all images
    const double* weights  # of all images, or NULL where each counts the same
    double smoothing  # share of the target that is spread evenly over all classes
    double scale  # of the gradient

# What one call of the fast path works on, or one batch after the other. Parameters, gradients and
# logits are of the type that the network computes in.
cdef struct Job:
    const Network* net  # with its tables
    const void* flat  # the parameters
    Images images
    Loss loss
    Py_ssize_t first, count  # of the images
    Py_ssize_t most_chunks
    Py_ssize_t lane_blocks, n_groups, n_chunks  # how `divide` cuts the images
    Py_ssize_t n_run  # operations whose outputs are asked for; forward only
    char* slots
    Py_ssize_t slot_bytes
    char* kept  # what backward needs of forward, a lane block after the other; or NULL
    const void* dlogits  # (M, count)
    void* out  # outputs: see `write_outputs`; or gradients (n_chunks, n_parameters)
    double* losses  # (n_chunks,)
    void* gradient  # (n_parameters,), the sum over the chunks
    const uint64_t* keys  # of each Dropout, see `drop.pxi`; NULL: nothing is dropped
    bint all_finite

# What threads run: task number `task` of a job, by the participant `slot` (0 is the caller).
ctypedef void (*TaskFunction)(void* job, Py_ssize_t task, Py_ssize_t slot) noexcept nogil

# What a step of an optimiser works on: n parameters that are floats of `item` bytes, and numbers
# that mean what `optim.py` calls by these names.
cdef struct Descent:
    Py_ssize_t item
    Py_ssize_t n
    void* flat
    const void* gradient
    void* sum  # of gradients: SGD's velocity, or NULL; Adam's first sum
    void* square_sum
    double lr
    double weight_decay
    double beta  # SGD's momentum, Adam's first beta
    double square_beta
    double eps
    double kept  # what decoupled decay leaves of a parameter
    bint nesterov

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
    const void* layers  # FloatLayers or DoubleLayers, as the type that this build computes with
    void (*plane_moments)(
        const uint8_t[::1] images, int kind, Py_ssize_t n, double[::1] mean, double[::1] squares
    ) noexcept nogil
    void (*lay_out)(Network* net) noexcept nogil
    void (*prepare)(Network* net, const void* flat, char* tables) noexcept nogil
    void (*divide)(Job* job) noexcept nogil
    TaskFunction group_forward  # n_groups tasks
    TaskFunction chunk_gradient  # n_chunks tasks
    void (*add_chunks)(Job* job) noexcept nogil
    void (*sgd_step)(const Descent* descent) noexcept nogil
    void (*adam_step)(const Descent* descent) noexcept nogil
