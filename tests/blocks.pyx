"""The block kernels, one by one, for `test_blocks.py`, which builds this."""

from libc.math cimport INFINITY, exp, expf, fabs, log, sqrt, sqrtf
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from tinycnn._kernels cimport (
    BLOCK, CONV, CONV_RELU, Filters, Images, LINEAR, Loss, MAX_OPERATIONS, Needs, Network,
    Operation, Prepared
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
    cdef char* end = NULL
    cdef char[::1] memory
    take_filters(op, filters, &end, sizeof(real))
    memory = kept = aligned(end - <char*> NULL, dtype=np.int8)
    end = &memory[0]
    take_filters(op, filters, &end, sizeof(real))
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
        block.index, block.T = 1, C * R * S
        u, u_back = aligned(tiles_of(4, K), 16, C, 4), aligned(tiles_of(4, C), 16, K, 4)
        frames = aligned(K * frame_size(block))
        seen = aligned((R + 1) * (S + 1), dtype=np.int64)
        cdef int64_t[::1] places = seen
        self.kept = tables(&block.op, &block.filters), u, u_back, frames, seen
        block.u_back, block.frames, block.seen = address(u_back.ravel()), address(frames), &places[0]
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
        fill_seen(block)

    def direct(self, careful):
        """Fill pooled and winner."""
        conv_direct(&self.block.filters, careful, self.x, self.pooled, self.winner)

    def winograd(self):
        """Fill pooled and winner."""
        cdef real[:, :, :, ::1] planes = self.planes
        winograd_forward(
            &self.block.filters, self.x, <vec*> &planes[0, 0, 0, 0], self.pooled, self.winner
        )

    def alone(self, l, way):
        """Return the pooled values of image l by itself: "direct", "careful" or "winograd"."""
        cdef const Prepared* block = &self.block
        cdef Prepared next_one
        cdef Images how
        cdef double[::1] scale = np.ones(block.op.C), shift = np.zeros(block.op.C)
        cdef double[::1] image = np.ascontiguousarray(self.x[..., l], np.float64).ravel()
        cdef real[::1] maps = aligned(single_size(block)), windows = aligned(window_size(block))
        cdef real[::1] out = aligned(self.pooled[..., 0].size + L)
        cdef real[:, ::1] pooled = view2(&windows[0], block.op.K, window_vectors(block) * L)
        cdef real[:, :, :, ::1] planes = self.planes
        memset(&next_one, 0, sizeof(Prepared))
        next_one.op.kind = LINEAR
        how.scale, how.shift = &scale[0], &shift[0]
        pack_single(&image[0], &how, block, &windows[0], &maps[0])
        if way == "winograd":
            windows_winograd(block, &maps[0], <vec*> &planes[0, 0, 0, 0], pooled)
        else:
            windows_direct(way == "careful", block, &maps[0], pooled)
        put_maps(block, &next_one, pooled, &out[0])
        return np.asarray(out)[:-L].reshape(self.pooled.shape[:3])

    def first(self, selecting):
        """Return dweight and dbias, given winner and d, as of the first block."""
        cdef Prepared next_one
        cdef Prepared first = self.block
        cdef real[:, :, :, ::1] d = self.d
        cdef Slot slot
        memset(&next_one, 0, sizeof(Prepared))
        memset(&slot, 0, sizeof(Slot))
        next_one.op.H, next_one.op.W = first.op.P, first.op.Q
        slot.dout = Source(values=&d[0, 0, 0, 0], next=&next_one, dlinear=NULL)
        first.index = 0
        dw = aligned(padded_filters(&first.op), padded_taps(&first.op), L)
        dbias = aligned(padded_filters(&first.op), L)
        slot.dw[0], slot.dbias[0] = address(dw.ravel()), address(dbias.ravel())
        slot.rows = address(self.rows.ravel())
        slot.x[0].first = <char*> address(self.x.ravel())
        slot.winner[0].first = <char*> address(self.winner.ravel())
        if selecting:
            dweight_by_selecting(&first, &slot, 0)
        else:
            dweight_by_spreading(&first, &slot, 0, view4(NULL, 0, 0, 0, LANES))
        cdef real[:, ::1] dweight = np.empty((first.op.K, first.T), DTYPE)
        add_up_taps(&first, &slot, &dweight[0, 0])
        return np.asarray(dweight), dbias

    def later(self):
        """Return dweight and dbias, given winner and d, as of a later block."""
        cdef real[:, :, :, ::1] x = self.x
        cdef Slot slot
        C, H, W, _ = self.x.shape
        dw = aligned(
            self.block.op.K, self.block.op.R, row_runs(self.block.op.S * self.block.op.C) * L
        )
        dbias = aligned(padded_filters(&self.block.op), L)
        spread_winners(&self.block, self.winner, self.d, self.winners, dbias)
        lanes_to_images(&x[0, 0, 0, 0], H * W, C * H * W, self.images)
        later_filters(&self.block, self.images, self.winners, self.noted, dw)
        slot.dw[1] = address(dw.ravel())
        cdef real[:, ::1] dweight = np.empty((self.block.op.K, self.block.T), DTYPE)
        read_filters(&self.block, &slot, &dweight[0, 0])
        return np.asarray(dweight), dbias

    def dx_by_patches(self):
        """Return the gradient of x, given winner and d."""
        cdef real[:, :, :, ::1] dx = aligned(*self.x.shape)
        cdef Py_ssize_t windows = self.block.op.P * self.block.op.Q, n = padded_maps(&self.block)
        C, H, W, _ = self.x.shape
        dbias = aligned(padded_filters(&self.block.op), L)
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
    cdef Prepared conv
    cdef Slot slot
    cdef real[::1] flat = np.concatenate([weight.ravel(), bias])
    K, C, R, S = weight.shape
    memset(&conv, 0, sizeof(Prepared))
    conv.index, conv.T = 1, C * R * S
    conv.op.kind = CONV_RELU if relu else CONV
    conv.op.C, conv.op.H, conv.op.W = C, x.shape[1], x.shape[2]
    conv.op.inner_H, conv.op.inner_W = x.shape[1], x.shape[2]
    conv.op.K, conv.op.R, conv.op.S = K, R, S
    conv.op.P, conv.op.Q = conv.out_H, conv.out_W = dout.shape[1], dout.shape[2]
    cdef Operation back = turned(&conv.op)
    kept = tables(&conv.op, &conv.filters), tables(&back, &conv.turned)
    turned_weight = aligned(weight.size)
    conv.turned_weight = address(turned_weight)
    fill_filters(&conv.op, &conv.filters, &flat[0], &flat[weight.size], NULL)
    fill_turned(&conv, &flat[0])
    out, dx = aligned(K, conv.op.P, conv.op.Q, L), aligned(C, x.shape[1], x.shape[2], L)
    dw, dbias = aligned(padded_filters(&conv.op), padded_taps(&conv.op), L), aligned(K, L)
    planes, rows = aligned(16 * max(C, K) * 3 * L), aligned(16 * tiles_of(2, conv.op.Q) * L)
    framed = aligned(back.C * back.H * back.W * L)
    convolve(
        &conv.filters, False, x, <vec*> address(planes), out, view4(NULL, 0, 0, 0, L)
    )
    memset(&slot, 0, sizeof(Slot))
    slot.x[1].first, slot.x[2].first = <char*> &x[0, 0, 0, 0], <char*> address(out.ravel())
    slot.d[1].first, slot.dw[1] = <char*> address(dx.ravel()), address(dw.ravel())
    slot.dbias[1], slot.rows = address(dbias.ravel()), address(rows)
    slot.maps, slot.planes = address(framed), address(planes)
    cdef Prepared next_one
    memset(&next_one, 0, sizeof(Prepared))
    next_one.op.H, next_one.op.W = conv.op.P, conv.op.Q
    slot.dout = Source(values=&dout[0, 0, 0, 0], next=&next_one, dlinear=NULL)
    maps_backward(&conv, &slot, 0)
    cdef real[:, ::1] dweight = np.empty((K, conv.T), DTYPE)
    add_up_taps(&conv, &slot, &dweight[0, 0])
    return out, np.asarray(dweight), dbias, dx


def linear(real[:, :, ::1] x, weight, bias, real[:, :, ::1] dout):
    """x (n, F, L), dout (n, M, L) -> outputs, dx, dweight; outputs (M,) of the first lane alone."""
    cdef Prepared row
    cdef Slot slot
    cdef Py_ssize_t n = x.shape[0], F = x.shape[1], M = dout.shape[1], b
    cdef real[::1] flat = np.concatenate([weight.ravel(), bias])
    cdef real[:, :, ::1] dx = aligned(n, F, L)
    tiles, biases = aligned(round_up(M, 10) * F + L), aligned(round_up(M, 10))
    out, dweight = aligned(n, M, L), aligned(M, F)
    row.op.K, row.T, row.op.weight_at, row.op.bias_at = M, F, 0, M * F
    row.filters.tiles, row.filters.biases, row.index = address(tiles), address(biases), 0
    fill_linear(&row, &flat[0])
    for b in range(n):
        linear_outputs(x[b], tiles[:-L].reshape(-1, F, 10), biases, out[b])
        linear_dx(&row, <const vec*> &dout[b, 0, 0], 0, F, <vec*> &dx[b, 0, 0])
    linear_dweight(x, dout, dweight)
    image, alone = np.ascontiguousarray(np.asarray(x)[0, :, 0]), aligned(M)
    slot.single[0], slot.single[1] = <char*> address(image), <char*> address(alone)
    linear_single(&row, &slot)
    return out, np.asarray(dx), dweight, alone


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
    op.key, op.op.rate = key, rate
    drop(&op, place, <vec*> &x[0, 0], x.shape[0], first)


def lanes(a):
    """The sums over the lanes of the rows of a (L, L), and its transpose."""
    cdef real[:, ::1] rows = aligned(L, L)
    cdef real[:, ::1] columns = aligned(L, L)
    cdef real[::1] sums = np.empty(L, DTYPE)
    np.asarray(rows)[:] = np.asarray(columns)[:] = a
    sum_rows(<const vec*> &rows[0, 0], L, &sums[0])
    transpose(<vec*> &columns[0, 0])
    return np.asarray(sums), np.asarray(columns)
