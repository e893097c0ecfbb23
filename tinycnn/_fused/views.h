/* Typed memoryviews of work space, which no Python object owns: Cython counts no references of None.
   Macros, since Cython defines the struct after its includes. */
#define LIST(...) {__VA_ARGS__}
#define ITEM ((Py_ssize_t) sizeof(REAL))
#define VIEW(p, shape, strides) \
    ((__Pyx_memviewslice) {(void *) Py_None, (char *) (p), shape, strides, {-1, -1, -1, -1}})

#define view1(p, a) VIEW(p, LIST(a), LIST(ITEM))
#define view2(p, a, b) VIEW(p, LIST(a, b), LIST((b) * ITEM, ITEM))
#define view3(p, a, b, c) VIEW(p, LIST(a, b, c), LIST((b) * (c) * ITEM, (c) * ITEM, ITEM))
#define view4(p, a, b, c, d) \
    VIEW(p, LIST(a, b, c, d), LIST((b) * (c) * (d) * ITEM, (c) * (d) * ITEM, (d) * ITEM, ITEM))

/* (C, h, w, L) of maps (C, H, W, L), from row `top` and column `left` on */
#define inside(maps, top, left, h, w) \
    VIEW((maps).data + (top) * (maps).strides[1] + (left) * (maps).strides[2], \
         LIST((maps).shape[0], h, w, LANES), \
         LIST((maps).strides[0], (maps).strides[1], (maps).strides[2], ITEM))

/* (n, F, L) of lane blocks that are `step` bytes apart */
#define lane_blocks(p, n, step, F) \
    VIEW(p, LIST(n, F, LANES), LIST(step, TINYCNN_VECTOR_BYTES, ITEM))
