"""Images before they are packed: with a border, and as they might have been taken."""


cdef void pad_image(
    const pixel* image, Py_ssize_t C, Py_ssize_t H, Py_ssize_t W, Py_ssize_t padding, pixel* out
) noexcept nogil:
    """out (C, H + 2 * padding, W + 2 * padding) = the image with zeros around it."""
    cdef Py_ssize_t c, h, wide = W + 2 * padding
    memset(out, 0, C * (H + 2 * padding) * wide * sizeof(pixel))
    for c in range(C):
        out += padding * wide + padding
        for h in range(H):
            memcpy(out, image, W * sizeof(pixel))
            image += W
            out += wide
        out += padding * wide - padding


cdef void move_image(
    const pixel* image, Py_ssize_t C, Py_ssize_t H, Py_ssize_t W, Py_ssize_t down,
    Py_ssize_t right, bint mirrored, pixel* out
) noexcept nogil:
    """out (C, H, W) = the image, mirrored left to right if asked, then moved down and right.

    It moves by less than its size. Where nothing comes from, the nearest pixel is repeated.
    """
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
