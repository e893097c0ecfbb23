"""The fully connected layers and the loss, on lane blocks.

A weight stands as (M, F), a row for each output, as the rest of the package has it. What is said of
logits here holds for the outputs of every linear operation, and what is said of pooled values for
its inputs.
"""

cdef enum:
    # Features whose pooled values stay in the first-level cache while all classes pass over them.
    FEATURE_PIECE = 256


cdef inline void logits5(
    const floating* pooled, Py_ssize_t n, const floating* w, Py_ssize_t F, floating* logits
) noexcept nogil:
    """logits[5, L] += sum over n features of pooled[f, L] * w[5, f].

    Even and odd features have sums of their own: ten chains of additions hide their latency.
    """
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating acc[10 * MAX_LANES]
    cdef floating x, w0, w1, w2, w3, w4
    cdef const floating* last = pooled + (n - 1) * L
    cdef Py_ssize_t f, l
    fill5(acc, 0)
    fill5(acc + 5 * L, 0)
    for f in range(n // 2):
        # One feature after the other: ten weights at once would not find registers everywhere.
        w0 = w[0]
        w1 = w[F]
        w2 = w[2 * F]
        w3 = w[3 * F]
        w4 = w[4 * F]
        for l in range(L):
            x = pooled[l]
            acc[l] += w0 * x
            acc[l + L] += w1 * x
            acc[l + 2 * L] += w2 * x
            acc[l + 3 * L] += w3 * x
            acc[l + 4 * L] += w4 * x
        w0 = w[1]
        w1 = w[F + 1]
        w2 = w[2 * F + 1]
        w3 = w[3 * F + 1]
        w4 = w[4 * F + 1]
        for l in range(L):
            x = pooled[l + L]
            acc[l + 5 * L] += w0 * x
            acc[l + 6 * L] += w1 * x
            acc[l + 7 * L] += w2 * x
            acc[l + 8 * L] += w3 * x
            acc[l + 9 * L] += w4 * x
        pooled += 2 * L
        w += 2
    if n % 2:
        w0 = w[0]
        w1 = w[F]
        w2 = w[2 * F]
        w3 = w[3 * F]
        w4 = w[4 * F]
        for l in range(L):
            x = last[l]
            acc[l] += w0 * x
            acc[l + L] += w1 * x
            acc[l + 2 * L] += w2 * x
            acc[l + 3 * L] += w3 * x
            acc[l + 4 * L] += w4 * x
    for l in range(L):
        logits[l] += acc[l] + acc[l + 5 * L]
        logits[l + L] += acc[l + L] + acc[l + 6 * L]
        logits[l + 2 * L] += acc[l + 2 * L] + acc[l + 7 * L]
        logits[l + 3 * L] += acc[l + 3 * L] + acc[l + 8 * L]
        logits[l + 4 * L] += acc[l + 4 * L] + acc[l + 9 * L]


cdef inline void logits1(
    const floating* pooled, Py_ssize_t n, const floating* w, floating* logits
) noexcept nogil:
    """The same for one class, with four chains of additions."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating acc[4 * MAX_LANES]
    cdef floating w0, w1, w2, w3
    cdef Py_ssize_t f, l
    fill4(acc, 0)
    for f in range(n // 4):
        w0 = w[0]
        w1 = w[1]
        w2 = w[2]
        w3 = w[3]
        for l in range(L):
            acc[l] += w0 * pooled[l]
            acc[l + L] += w1 * pooled[l + L]
            acc[l + 2 * L] += w2 * pooled[l + 2 * L]
            acc[l + 3 * L] += w3 * pooled[l + 3 * L]
        pooled += 4 * L
        w += 4
    for f in range(n % 4):
        w0 = w[f]
        for l in range(L):
            acc[l] += w0 * pooled[f * L + l]
    for l in range(L):
        logits[l] += (acc[l] + acc[l + L]) + (acc[l + 2 * L] + acc[l + 3 * L])


cdef void lanes_linear_forward(
    const Prepared* linear, const floating* flat, const floating* pooled, floating* logits
) noexcept nogil:
    """pooled (F, L) -> logits (M, L) of one lane block."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t F = linear.T, M = linear.op.K, f, m, l, n
    cdef const floating* w = flat + linear.op.weight_at
    for m in range(M):
        for l in range(L):
            logits[m * L + l] = 0 if linear.op.bias_at < 0 else flat[linear.op.bias_at + m]
    f = 0
    while f < F:
        n = min(<Py_ssize_t> FEATURE_PIECE, F - f)
        for m in range(M // 5):
            logits5(pooled + f * L, n, w + 5 * m * F + f, F, logits + 5 * m * L)
        for m in range(M - M % 5, M):
            logits1(pooled + f * L, n, w + m * F + f, logits + m * L)
        f += n


cdef void lanes_relu(floating* a, Py_ssize_t n) noexcept nogil:
    """a[n] = 0 where it is negative; NaN stays NaN."""
    cdef Py_ssize_t i
    cdef floating value
    for i in range(n):
        value = a[i]
        a[i] = 0 if value < 0 else value


cdef void lanes_relu_backward(const floating* a, Py_ssize_t n, floating* d) noexcept nogil:
    """d[n] = 0 where a, what ReLU gave, is not above 0."""
    cdef Py_ssize_t i
    cdef floating value
    for i in range(n):
        value = d[i]
        d[i] = value if a[i] > 0 else 0


cdef inline void dpooled10(
    const floating* w, Py_ssize_t F, Py_ssize_t n, const floating* dlogits, floating* d
) noexcept nogil:
    """d[n features, L] = the sum over ten classes of w[m, feature] * dlogits[m, L]."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating v[10 * MAX_LANES]
    cdef floating w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, a, b
    cdef Py_ssize_t l, f
    copy5(dlogits, v)
    copy5(dlogits + 5 * L, v + 5 * L)
    for f in range(n):
        w0 = w[0]
        w1 = w[F]
        w2 = w[2 * F]
        w3 = w[3 * F]
        w4 = w[4 * F]
        w5 = w[5 * F]
        w6 = w[6 * F]
        w7 = w[7 * F]
        w8 = w[8 * F]
        w9 = w[9 * F]
        for l in range(L):
            a = w0 * v[l]
            b = w5 * v[l + 5 * L]
            a += w1 * v[l + L]
            b += w6 * v[l + 6 * L]
            a += w2 * v[l + 2 * L]
            b += w7 * v[l + 7 * L]
            a += w3 * v[l + 3 * L]
            b += w8 * v[l + 8 * L]
            a += w4 * v[l + 4 * L]
            b += w9 * v[l + 9 * L]
            d[l] = a + b
        w += 1
        d += L


cdef inline void dpooled5(
    const floating* w, Py_ssize_t F, Py_ssize_t n, const floating* dlogits, floating* d
) noexcept nogil:
    """d[n features, L] += the sum over five classes of w[m, feature] * dlogits[m, L]."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating v[5 * MAX_LANES]
    cdef floating w0, w1, w2, w3, w4, a, b
    cdef Py_ssize_t l, f
    copy5(dlogits, v)
    for f in range(n):
        w0 = w[0]
        w1 = w[F]
        w2 = w[2 * F]
        w3 = w[3 * F]
        w4 = w[4 * F]
        for l in range(L):
            a = d[l] + w0 * v[l]
            b = w2 * v[l + 2 * L]
            a += w1 * v[l + L]
            b += w3 * v[l + 3 * L]
            b += w4 * v[l + 4 * L]
            d[l] = a + b
        w += 1
        d += L


cdef inline void dpooled1(
    const floating* w, Py_ssize_t n, const floating* dlogits, floating* d
) noexcept nogil:
    """The same for one class."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating v[MAX_LANES]
    cdef floating w0
    cdef Py_ssize_t l, f
    for l in range(L):
        v[l] = dlogits[l]
    for f in range(n):
        w0 = w[f]
        for l in range(L):
            d[f * L + l] += w0 * v[l]


cdef void dpooled_row(
    const Prepared* linear, const floating* flat, Py_ssize_t feature, Py_ssize_t n,
    const floating* dlogits, floating* d
) noexcept nogil:
    """d[n, L] = the gradient of n pooled values, from feature on, from dlogits (M, L)."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), F = linear.T, M = linear.op.K, m = 0
    cdef const floating* w = flat + linear.op.weight_at + feature
    if MANY_REGISTERS and M >= 10:
        dpooled10(w, F, n, dlogits, d)
        m = 10
    else:
        fill_zero(d, n * L)
    while M - m >= 5:
        dpooled5(w + m * F, F, n, dlogits + m * L, d)
        m += 5
    while m < M:
        dpooled1(w + m * F, n, dlogits + m * L, d)
        m += 1


cdef inline void read_gradient(
    const Source* dout, const floating* flat, Py_ssize_t first, Py_ssize_t n, floating* d
) noexcept nogil:
    """d[n, L] = the gradient of n values of an operation's output, from the first one on."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    if dout.values == NULL:
        dpooled_row(dout.linear, flat, first, n, <const floating*> dout.dlinear, d)
    else:
        memcpy(d, <const floating*> dout.values + first * L, n * L * sizeof(floating))


cdef inline void halve(floating* a, Py_ssize_t n) noexcept nogil:
    """a[i] = a[2i] + a[2i + 1] for i < n."""
    cdef Py_ssize_t i
    cdef floating s[8 * MAX_LANES]
    for i in range(n):
        s[i] = a[2 * i] + a[2 * i + 1]
    for i in range(n):
        a[i] = s[i]


cdef inline void sum_lanes8(floating* a) noexcept nogil:
    """a[0:8] = the sums over the lanes of a[8, L], in pairs."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    halve(a, 8 * L // 2)
    if L > 2:
        halve(a, 8 * L // 4)
    if L > 4:
        halve(a, 8 * L // 8)
    if L > 8:
        halve(a, 8 * L // 16)


cdef inline void sum_lanes16(floating* a) noexcept nogil:
    """a[0:16] = the sums over the lanes of a[16, L], in pairs."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    halve(a, 16 * L // 2)
    if L > 2:
        halve(a, 16 * L // 4)
    if L > 4:
        halve(a, 16 * L // 8)
    if L > 8:
        halve(a, 16 * L // 16)


# n lane blocks of a group: so many values lie between their inputs, and between their gradients.
cdef struct Kept:
    Py_ssize_t n, step, dstep


cdef inline void dlinear8(
    const Kept* kept, const floating* pooled, const floating* dlogits, Py_ssize_t F, floating* dw
) noexcept nogil:
    """dw[2 classes, 4 features] = the sums over the images of some lane blocks."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating acc[8 * MAX_LANES]
    cdef floating d0, d1, x0, x1, x2, x3
    cdef Py_ssize_t b = 0, n = kept.n, l, step = kept.step, dstep = kept.dstep
    fill4(acc, 0)
    fill4(acc + 4 * L, 0)
    while True:
        for l in range(L):
            d0 = dlogits[l]
            d1 = dlogits[l + L]
            x0 = pooled[l]
            x1 = pooled[l + L]
            x2 = pooled[l + 2 * L]
            x3 = pooled[l + 3 * L]
            acc[l] += d0 * x0
            acc[l + L] += d0 * x1
            acc[l + 2 * L] += d0 * x2
            acc[l + 3 * L] += d0 * x3
            acc[l + 4 * L] += d1 * x0
            acc[l + 5 * L] += d1 * x1
            acc[l + 6 * L] += d1 * x2
            acc[l + 7 * L] += d1 * x3
        pooled += step
        dlogits += dstep
        b += 1
        if b == n:
            break
    sum_lanes8(acc)
    for b in range(4):
        dw[b] = acc[b]
        dw[F + b] = acc[4 + b]


cdef inline void dlinear16(
    const Kept* kept, const floating* pooled, const floating* dlogits, Py_ssize_t F, floating* dw
) noexcept nogil:
    """The same for 8 features: the sums over 16 lanes of 16 accumulators fill one vector."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef floating acc[16 * MAX_LANES]
    cdef floating d0, d1, x0, x1, x2, x3, x4, x5, x6, x7
    cdef Py_ssize_t b = 0, n = kept.n, l, step = kept.step, dstep = kept.dstep
    fill4(acc, 0)
    fill4(acc + 4 * L, 0)
    fill4(acc + 8 * L, 0)
    fill4(acc + 12 * L, 0)
    while True:
        for l in range(L):
            d0 = dlogits[l]
            d1 = dlogits[l + L]
            x0 = pooled[l]
            x1 = pooled[l + L]
            x2 = pooled[l + 2 * L]
            x3 = pooled[l + 3 * L]
            x4 = pooled[l + 4 * L]
            x5 = pooled[l + 5 * L]
            x6 = pooled[l + 6 * L]
            x7 = pooled[l + 7 * L]
            acc[l] += d0 * x0
            acc[l + L] += d0 * x1
            acc[l + 2 * L] += d0 * x2
            acc[l + 3 * L] += d0 * x3
            acc[l + 4 * L] += d0 * x4
            acc[l + 5 * L] += d0 * x5
            acc[l + 6 * L] += d0 * x6
            acc[l + 7 * L] += d0 * x7
            acc[l + 8 * L] += d1 * x0
            acc[l + 9 * L] += d1 * x1
            acc[l + 10 * L] += d1 * x2
            acc[l + 11 * L] += d1 * x3
            acc[l + 12 * L] += d1 * x4
            acc[l + 13 * L] += d1 * x5
            acc[l + 14 * L] += d1 * x6
            acc[l + 15 * L] += d1 * x7
        pooled += step
        dlogits += dstep
        b += 1
        if b == n:
            break
    sum_lanes16(acc)
    for b in range(8):
        dw[b] = acc[b]
    for b in range(8):
        dw[F + b] = acc[8 + b]


cdef inline floating dlinear1(
    const Kept* kept, const floating* pooled, const floating* dlogits
) noexcept nogil:
    """The same for one class and one feature."""
    cdef floating acc[MAX_LANES]
    cdef floating total = 0
    cdef Py_ssize_t b, l, L = VECTOR_BYTES // sizeof(floating)
    for l in range(L):
        acc[l] = 0
    for b in range(kept.n):
        for l in range(L):
            acc[l] += dlogits[b * kept.dstep + l] * pooled[b * kept.step + l]
    for l in range(L):
        total += acc[l]
    return total


cdef void dlinear(
    const Prepared* linear, const Kept* kept, const floating* pooled, const floating* dlogits,
    floating* dw
) noexcept nogil:
    """dw (M, F) of pooled (n, F, L) and dlogits (n, M, L)."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t F = linear.T, M = linear.op.K, f = 0, m, i, width, pairs
    while f < F:
        # So many features at a time, for two classes; what is left over goes one by one.
        width = 8 if MANY_REGISTERS and F - f >= 8 else 4 if F - f >= 4 else 1
        pairs = M // 2 if width > 1 else 0
        for m in range(pairs):
            if MANY_REGISTERS and width == 8:
                dlinear16(kept, pooled + f * L, dlogits + 2 * m * L, F, dw + 2 * m * F + f)
            else:
                dlinear8(kept, pooled + f * L, dlogits + 2 * m * L, F, dw + 2 * m * F + f)
        for m in range(2 * pairs, M):
            for i in range(f, f + width):
                dw[m * F + i] = dlinear1(kept, pooled + i * L, dlogits + m * L)
        f += width


cdef void sum_dlogits(
    const Kept* kept, const floating* dlogits, Py_ssize_t M, floating* db
) noexcept nogil:
    """db (M,) = the sums of dlogits (n, M, L)."""
    cdef Py_ssize_t L = VECTOR_BYTES // sizeof(floating), b, m, l
    cdef floating total
    for m in range(M):
        total = 0
        for b in range(kept.n):
            for l in range(L):
                total += dlogits[b * kept.dstep + m * L + l]
        db[m] = total


cdef void linear_forward(
    const Prepared* linear, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation LINEAR, of lane block b."""
    lanes_linear_forward(
        linear, flat, <const floating*> input_of(slot, linear.index, b),
        <floating*> input_of(slot, linear.index + 1, b)
    )


cdef void linear_backward(
    const Prepared* linear, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation LINEAR backward: what comes before it computes its gradient from dlogits.

    Those of the last operation are there already.
    """
    cdef floating* dlogits = <floating*> gradient_of(slot, linear.index + 1, b)
    if slot.dout.linear != NULL:
        read_gradient(&slot.dout, flat, 0, linear.op.K, dlogits)
    slot.dout = Source(values=NULL, linear=linear, dlinear=dlogits)


cdef void linear_relu_forward(
    const Prepared* linear, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation LINEAR_RELU, of lane block b."""
    linear_forward(linear, flat, slot, b)
    lanes_relu(
        <floating*> input_of(slot, linear.index + 1, b),
        linear.op.K * (VECTOR_BYTES // sizeof(floating))
    )


cdef void linear_relu_backward(
    const Prepared* linear, const floating* flat, Slot* slot, Py_ssize_t b
) noexcept nogil:
    """The operation LINEAR_RELU backward; it is never the last one."""
    linear_backward(linear, flat, slot, b)
    lanes_relu_backward(
        <const floating*> input_of(slot, linear.index + 1, b),
        linear.op.K * (VECTOR_BYTES // sizeof(floating)),
        <floating*> gradient_of(slot, linear.index + 1, b)
    )


cdef void linear_collect(
    const Prepared* linear, Slot* slot, Py_ssize_t n, floating* gradient
) noexcept nogil:
    """Put the gradients of a linear operation's parameters, of n lane blocks, into their places."""
    cdef Py_ssize_t i = linear.index, item = sizeof(floating)
    cdef Kept kept = Kept(n=n, step=slot.x_step[i] // item, dstep=slot.d_step[i + 1] // item)
    cdef const floating* dlogits = <const floating*> gradient_of(slot, i + 1, 0)
    dlinear(
        linear, &kept, <const floating*> input_of(slot, i, 0), dlogits,
        gradient + linear.op.weight_at
    )
    if linear.op.bias_at >= 0:
        sum_dlogits(&kept, dlogits, linear.op.K, gradient + linear.op.bias_at)


cdef double lanes_cross_entropy(
    const Loss* loss, floating* z, Py_ssize_t M, const int64_t* order, Py_ssize_t first,
    Py_ssize_t count
) noexcept nogil:
    """z (M, L): logits become their scaled gradients; return the weighted sum of count losses.

    Labels and weights belong to the images as in ``pack``; lanes from count on get a gradient of
    0. So does a class that is next to impossible: its gradient would make the whole backward pass
    compute with subnormal numbers, which takes ten times as long and moves no parameter.
    """
    cdef Py_ssize_t m, l, index, L = VECTOR_BYTES // sizeof(floating)
    cdef Py_ssize_t label[MAX_LANES]
    cdef double weight[MAX_LANES]
    cdef floating top[MAX_LANES]
    cdef floating total[MAX_LANES]
    cdef floating value
    cdef floating lowest = -80 if sizeof(floating) == sizeof(float) else -700
    cdef floating tiny = 1e-30 if sizeof(floating) == sizeof(float) else 1e-290
    cdef double even = loss.smoothing / M, hit = 1 - loss.smoothing, result = 0
    for l in range(L):
        top[l] = z[l]
        total[l] = 0
    for m in range(1, M):
        for l in range(L):
            value = z[m * L + l]
            top[l] = value if value > top[l] else top[l]
    for l in range(count):
        index = first + l if order == NULL else order[first + l]
        label[l] = loss.labels[index]
        weight[l] = 1 if loss.weights == NULL else loss.weights[index]
        result -= weight[l] * hit * (z[label[l] * L + l] - top[l])
    if even > 0:
        for l in range(count):
            for m in range(M):
                result -= weight[l] * even * (z[m * L + l] - top[l])
    for m in range(M):
        for l in range(L):
            value = z[m * L + l] - top[l]
            value = lowest if value < lowest else value
            if floating is float:
                z[m * L + l] = expf(value)
            else:
                z[m * L + l] = exp(value)
    for m in range(M):
        for l in range(L):
            total[l] += z[m * L + l]
    for l in range(count):
        result += weight[l] * log(total[l])
        weight[l] *= loss.scale
    for l in range(L):
        total[l] = <floating> weight[l] / total[l] if l < count else 0
    for m in range(M):
        for l in range(L):
            value = z[m * L + l] * total[l]
            z[m * L + l] = 0 if value < tiny else value
    for l in range(count):
        z[label[l] * L + l] -= <floating> (weight[l] * hit)
    if even > 0:
        for l in range(count):
            for m in range(M):
                z[m * L + l] -= <floating> (weight[l] * even)
    return result
