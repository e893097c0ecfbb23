"""Images as they might have been taken, before they are packed."""


cdef void move_image(
    const pixel* image, const Operation* op, const int8_t* move, pixel* out
) noexcept nogil:
    """out (C, inner_H, inner_W) = the image, moved as its row of moves says.

    That is down, right, and whether it is mirrored left to right before. Where nothing comes from,
    the nearest pixel is repeated.
    """
    cdef Py_ssize_t C = op.C, H = op.inner_H, W = op.inner_W, down = move[0]
    # Further than to the last column would look the same.
    cdef Py_ssize_t right = min(max(<Py_ssize_t> move[1], 1 - W), W - 1)
    cdef bint mirrored = move[2]
    cdef Py_ssize_t left = max(right, <Py_ssize_t> 0), skipped = max(-right, <Py_ssize_t> 0)
    cdef Py_ssize_t kept = W - left - skipped, c, h, w
    cdef const pixel* row
    for c in range(C):
        for h in range(H):
            row = image + (c * H + min(max(h - down, <Py_ssize_t> 0), H - 1)) * W
            if mirrored:
                for w in range(kept):
                    out[left + w] = row[W - 1 - skipped - w]
            else:
                memcpy(out + left, row + skipped, kept * sizeof(pixel))
            for w in range(left):
                out[w] = out[left]
            for w in range(left + kept, W):
                out[w] = out[left + kept - 1]
            out += W
