"""The block kernels, one by one, for `test_blocks.py`, which builds this."""

from libc.math cimport INFINITY, exp, expf, fabs, log, sqrt, sqrtf
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from tinycnn._kernels cimport (
    BLOCK, CONV, CONV_RELU, Filters, Images, LINEAR, LINEAR_RELU, Loss, Network, Operation, Prepared
)

include "_fused/vec.pxi"
include "_fused/memory.pxi"
include "_fused/pack.pxi"
include "_fused/conv.pxi"
include "_fused/winograd.pxi"
include "_fused/drop.pxi"
include "_fused/linear.pxi"
include "_fused/single.pxi"
include "_fused/loss.pxi"
include "_fused/dweight.pxi"
include "_fused/maps.pxi"
include "_fused/later.pxi"

L = LANES
DTYPE = np.float32 if sizeof(real) == 4 else np.float64


def aligned(*shape, dtype=DTYPE):
    """Zeros that begin at a whole cache line."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + 64, np.uint8)
    start = (64 - memory.ctypes.data % 64) % 64
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


cdef void* address(real[::1] a):
    return &a[0]


cdef object tables(const Operation* op, Filters* filters):
    """Give filters their memory, which lives as long as what is returned."""
    cdef Py_ssize_t end = 0
    cdef char[::1] memory
    lay_out_filters(op, filters, NULL, &end)
    memory = kept = aligned(end, dtype=np.int8)
    end = 0
    lay_out_filters(op, filters, &memory[0], &end)
    return kept


cdef class Block:
    """Conv, ReLU and pool of one lane block; as the first block, or as a later one."""

    cdef Prepared block
    cdef object kept
    cdef readonly object x, pooled, winner, d, rows, planes, winners, noted, images

    def __init__(self, x, weight, bias):
        cdef Prepared* block = &self.block
        cdef real[::1] flat = np.concatenate([weight.ravel(), bias])
        C, H, W, _ = x.shape
        K, _, R, S = weight.shape
        P, Q = (H - R + 1) // 2, (W - S + 1) // 2
        self.x = x
        block.op.C, block.op.H, block.op.W = C, H, W
        block.op.K, block.op.R, block.op.S, block.op.P, block.op.Q = K, R, S, P, Q
        block.op.bias_at = weight.size
        block.op.kind, block.op.weight_at = BLOCK, 0
        block.index = 1
        u, u_back = aligned(tiles_of(4, K), 16, C, 4), aligned(tiles_of(4, C), 16, K, 4)
        frames = aligned(K * frame_size(block))
        taps = aligned(4 * C * R * S, dtype=np.int64)
        cdef int64_t[::1] tap = taps
        self.kept = tables(&block.op, &block.filters), u, u_back, frames, taps
        block.u_back, block.frames, block.alone.tap = address(u_back.ravel()), address(frames), &tap[0]
        fill_filters(&block.op, &block.filters, &flat[0], &flat[weight.size], NULL)
        fill_frames(block, &flat[0])
        if R == S == 3:  # however few the channels
            winograd_weights(weight, u, u_back)
            block.filters.u = address(u.ravel())
        self.pooled, self.winner, self.d = (aligned(K, P, Q, L) for _ in range(3))
        self.rows, self.planes = aligned(4, 4, Q, L), aligned(16, max(C, K), 3, L)
        self.winners = aligned(3, L, padded_maps(block))
        self.noted = aligned(2, noted_size(block))
        self.images = aligned(L, padded_image(block))
        # The gradient of the pooled values stands in maps without a border.
        block.op.top = block.op.left = 0
        block.op.inner_H, block.op.inner_W = H, W
        fill_phases(block)

    def direct(self, careful):
        """Fill pooled and winner."""
        conv_direct(&self.block.filters, careful, self.x, self.pooled, self.winner)

    def winograd(self):
        """Fill pooled and winner."""
        cdef real[:, :, :, ::1] planes = self.planes
        convolve(
            &self.block.filters, False, self.x, <vec*> &planes[0, 0, 0, 0], self.pooled, self.winner
        )

    def alone(self, l, way):
        """Return the pooled values of image l by itself: "direct", "careful" or "winograd"."""
        cdef Prepared[2] ops
        cdef Prepared* block = &ops[0]
        cdef Images how
        memset(ops, 0, sizeof(ops))
        ops[0], ops[1].op.kind = self.block, LINEAR
        n = window_vectors(block)
        cdef double[::1] scale = np.ones(block.op.C), shift = np.zeros(block.op.C)
        cdef double[::1] image = np.ascontiguousarray(self.x[..., l], np.float64).ravel()
        cdef real[::1] maps = aligned(single_size(block)), windows = aligned(window_size(block))
        cdef real[::1] out = aligned(self.pooled[..., 0].size + L)
        cdef real[:, :, :, ::1] pooled = view4(&windows[0], block.op.K, 1, n, L)
        cdef real[:, :, :, ::1] winner = aligned(block.op.K, 1, n, L)
        cdef real[:, :, :, ::1] planes = self.planes
        how.scale, how.shift = &scale[0], &shift[0]
        pack_single(&image[0], &how, block, &windows[0], &maps[0])
        if way == "winograd":
            convolve(
                &block.alone, False, view4(&maps[0], 1, 1, n, L), <vec*> &planes[0, 0, 0, 0],
                pooled, winner
            )
        else:
            conv_direct(
                &block.alone, way == "careful", view4(&maps[0], 1, 1, n, L), pooled, winner
            )
        put_maps(block, pooled, &out[0])
        return np.asarray(out)[:-L].reshape(self.pooled.shape[:3])

    def first(self, selecting):
        """Return dweight and dbias, given winner and d, as of the first block."""
        cdef Prepared[2] ops
        cdef Prepared* first = &ops[0]
        cdef Slot slot
        memset(ops, 0, sizeof(ops))
        memset(&slot, 0, sizeof(Slot))
        ops[0], first.index = self.block, 0
        ops[1].op.H, ops[1].op.W = first.op.P, first.op.Q
        values = np.concatenate([self.x.ravel(), self.winner.ravel()])
        x = aligned(values.size)
        x[:], first.winner_at = values, self.x.nbytes
        dweight_values = dweight_size(first)
        sums = aligned(dweight_values + padded_outputs(&first.op) * L)
        first.dw_at, first.dbias_at = 0, sums[:dweight_values].nbytes
        slot.x, slot.d = <char*> address(x), <char*> address(self.d.ravel())
        slot.sums, slot.rows = <char*> address(sums), address(self.rows.ravel())
        if selecting:
            dweight_by_selecting(first, &slot, 0)
        else:
            dweight_by_spreading(first, &slot, 0, view4(NULL, 0, 0, 0, LANES))
        cdef real[:, ::1] dweight = np.empty((first.op.K, first.filters.T), DTYPE)
        add_up_taps(first, &slot, &dweight[0, 0])
        return np.asarray(dweight), sums[dweight_values:].reshape(-1, L)

    def later(self):
        """Return dweight and dbias, given winner and d, as of a later block."""
        cdef real[:, :, :, ::1] x = self.x
        cdef Slot slot
        C, H, W, _ = self.x.shape
        dw = aligned(
            self.block.op.K, self.block.op.R, round_up(self.block.op.S * self.block.op.C, L)
        )
        dbias = aligned(padded_outputs(&self.block.op), L)
        spread_winners(&self.block, self.winner, self.d, self.winners, dbias)
        lanes_to_images(&x[0, 0, 0, 0], H * W, C * H * W, self.images)
        later_filters(&self.block, self.images, self.winners, self.noted, dw)
        slot.sums, self.block.dw_at = <char*> address(dw.ravel()), 0
        cdef real[:, ::1] dweight = np.empty((self.block.op.K, self.block.filters.T), DTYPE)
        read_filters(&self.block, &slot, &dweight[0, 0])
        return np.asarray(dweight), dbias

    def dx_by_patches(self):
        """Return the gradient of x, given winner and d."""
        cdef real[:, :, :, ::1] dx = aligned(*self.x.shape)
        cdef Py_ssize_t windows = self.block.op.P * self.block.op.Q, n = padded_maps(&self.block)
        C, H, W, _ = self.x.shape
        dbias = aligned(padded_outputs(&self.block.op), L)
        spread_winners(&self.block, self.winner, self.d, self.winners, dbias)
        self.images[:] = 0
        later_input(&self.block, self.winners, self.noted, self.images)
        images_to_lanes(self.images, H * W, C * H * W, &dx[0, 0, 0, 0])
        return np.asarray(dx)

    def dx_by_winograd(self):
        """Return the gradient of x, given winner and d."""
        cdef real[:, :, :, ::1] planes = self.planes
        dx = aligned(*self.x.shape)
        winograd_backward(
            self.d, self.winner, self.kept[2], <vec*> &planes[0, 0, 0, 0], dx
        )
        return dx


def maps(real[:, :, :, ::1] x, weight, bias, bint relu, real[:, :, :, ::1] dout):
    """A convolution without pool -> outputs, dweight, dbias in lanes, dx.

    x (C, H, W, L) has one row and column more than it takes, for odd numbers of outputs; the last
    ones of dx are no gradients.
    """
    cdef Prepared[2] ops
    cdef Prepared* conv = &ops[0]
    cdef Slot slot
    cdef real[::1] flat = np.concatenate([weight.ravel(), bias])
    cdef real[:, :, :, ::1] out
    K, C, R, S = weight.shape
    memset(ops, 0, sizeof(ops))
    memset(&slot, 0, sizeof(Slot))
    conv.index = 1
    conv.op.kind = CONV_RELU if relu else CONV
    conv.op.C, conv.op.H, conv.op.W = C, x.shape[1], x.shape[2]
    conv.op.inner_H, conv.op.inner_W = x.shape[1], x.shape[2]
    conv.op.K, conv.op.R, conv.op.S = K, R, S
    conv.op.P, conv.op.Q = ops[1].op.H, ops[1].op.W = dout.shape[1], dout.shape[2]
    ops[1].op.C = K
    cdef Operation back = turned(&conv.op)
    kept = tables(&conv.op, &conv.filters), tables(&back, &conv.turned)
    turned_weight = aligned(weight.size)
    conv.turned_weight = address(turned_weight)
    fill_filters(&conv.op, &conv.filters, &flat[0], &flat[weight.size], NULL)
    fill_turned(conv, &flat[0])
    # What it sees and what comes out, and the gradients of both.
    n = np.asarray(x).size
    values, gradients = aligned(n + np.asarray(dout).size), aligned(n + np.asarray(dout).size)
    values[:n], gradients[n:] = np.asarray(x).ravel(), np.asarray(dout).ravel()
    out, dx = values[n:].reshape(np.shape(dout)), gradients[:n].reshape(np.shape(x))
    ops[1].x_at = values[:n].nbytes
    sums = aligned(dweight_size(conv) + K * L)
    conv.dbias_at = sums.nbytes - K * L * sizeof(real)
    planes, rows = aligned(16 * max(C, K) * 3 * L), aligned(16 * tiles_of(2, conv.op.Q) * L)
    framed = aligned(back.C * back.H * back.W * L)
    convolve(
        &conv.filters, False, x, <vec*> address(planes), out, view4(NULL, 0, 0, 0, L)
    )
    slot.x, slot.d = <char*> address(values), <char*> address(gradients)
    slot.sums, slot.rows = <char*> address(sums), address(rows)
    slot.maps, slot.planes = address(framed), address(planes)
    maps_backward(conv, &slot, 0)
    cdef real[:, ::1] dweight = np.empty((K, conv.filters.T), DTYPE)
    add_up_taps(conv, &slot, &dweight[0, 0])
    return np.asarray(out), np.asarray(dweight), sums[-K * L :].reshape(K, L), dx


def linear(real[:, :, ::1] x, weight, bias, real[:, :, ::1] dout):
    """x (n, F, L), dout (n, M, L) -> outputs, dx, dweight; outputs (M,) of the first lane alone."""
    cdef Prepared[2] ops
    cdef Prepared* row = &ops[0]
    cdef Slot slot
    cdef Py_ssize_t n = x.shape[0], F = x.shape[1], M = dout.shape[1], b
    cdef real[::1] flat = np.concatenate([weight.ravel(), bias])
    cdef real[:, :, ::1] dx = aligned(n, F, L)
    tiles, biases = aligned(round_up(M, 10) * F + L), aligned(round_up(M, 10))
    out, dweight = aligned(n, M, L), aligned(M, F)
    row.op.kind, row.op.K, row.op.weight_at, row.op.bias_at = LINEAR, M, 0, M * F
    row.filters.tiles, row.filters.biases, row.filters.T = address(tiles), address(biases), F
    fill_linear(row, &flat[0])
    for b in range(n):
        linear_outputs(x[b], tiles[:-L].reshape(-1, F, 10), biases, out[b])
        linear_dx(row, <const vec*> &dout[b, 0, 0], 0, F, <vec*> &dx[b, 0, 0])
    linear_dweight(x, dout, dweight)
    alone = np.concatenate([np.asarray(x)[0, :, 0], np.zeros(M, DTYPE)])
    slot.single, row.single_at, ops[1].single_at = <char*> address(alone), 0, F * sizeof(real)
    linear_single(row, &slot)
    return out, np.asarray(dx), dweight, alone[F:]


def loss(real[:, ::1] logits, const int64_t[::1] labels, double smoothing, Py_ssize_t count):
    """Turn logits (M, L) into gradients; return the sum of count losses."""
    cdef Loss how
    how.labels, how.weights, how.smoothing, how.scale = &labels[0], NULL, smoothing, 0.25
    return cross_entropy(&how, logits, NULL, 0, count)


def packed(images, border, Py_ssize_t count):
    """Pack images (count, C, h, w) within a border, times 0.5, plus 0.25."""
    cdef Images how
    cdef Operation op
    cdef const uint8_t[::1] pixels = images.reshape(-1).view(np.uint8)
    cdef double[::1] scale = np.full(images.shape[1], 0.5)
    cdef double[::1] shift = np.full(images.shape[1], 0.25)
    cdef const uint8_t* bytes_[2 * LANES]
    cdef const float* floats[2 * LANES]
    cdef const double* doubles[2 * LANES]
    cdef Py_ssize_t l, size = images[0].size
    top, bottom, left, right = border
    _, op.C, op.inner_H, op.inner_W = images.shape
    op.top, op.left = top, left
    op.H, op.W = op.inner_H + top + bottom, op.inner_W + left + right
    how.scale, how.shift = &scale[0], &shift[0]
    cdef real[:, :, :, ::1] x = aligned(op.C, op.H, op.W, L)
    np.asarray(x)[:] = 7
    clear_border(&op, &x[0, 0, 0, 0])
    for l in range(2 * LANES):
        bytes_[l] = &pixels[0] + (l if l < count else 0) * size
        floats[l] = <const float*> &pixels[0] + (l if l < count else 0) * size
        doubles[l] = <const double*> &pixels[0] + (l if l < count else 0) * size
    if images.dtype == np.uint8:
        pack(bytes_, count, &how, &op, &x[0, 0, 0, 0])
    elif images.dtype == np.float32:
        pack(floats, count, &how, &op, &x[0, 0, 0, 0])
    else:
        pack(doubles, count, &how, &op, &x[0, 0, 0, 0])
    return np.asarray(x)


def dropped(uint64_t key, Py_ssize_t place, double rate, real[:, ::1] x, Py_ssize_t first):
    """x (n, L) *= what a dropout does to values from the first one on."""
    cdef Prepared op
    cdef Slot slot
    op.op.dropout, op.op.rate, slot.keys, slot.place = 0, rate, &key, place
    drop(&op, &slot, <vec*> &x[0, 0], x.shape[0], first)


def lanes(a):
    """The sums over the lanes of the rows of a (L, L), and its transpose."""
    cdef real[:, ::1] rows = aligned(L, L)
    cdef real[:, ::1] columns = aligned(L, L)
    cdef real[::1] sums = np.empty(L, DTYPE)
    np.asarray(rows)[:] = np.asarray(columns)[:] = a
    sum_rows(<const vec*> &rows[0, 0], L, &sums[0])
    transpose(<vec*> &columns[0, 0])
    return np.asarray(sums), np.asarray(columns)
