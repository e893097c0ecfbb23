/* Typed memoryviews of work space, which no Python object owns: Cython counts no references of None.
   Macros, since Cython defines the struct after its includes. */
#define WORK_SPACE ((void *) Py_None)
#define ROW_BYTES TINYCNN_VECTOR_BYTES /* the last axis of all but the flat ones has L values */
#define view1(p, a) ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(a)}, {sizeof(REAL)}, {-1}})
#define view2(p, a, b) \
    ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(a), (b)}, \
                           {(b) * (Py_ssize_t) sizeof(REAL), sizeof(REAL)}, {-1, -1}})
#define view3(p, a, b, c) \
    ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(a), (b), (c)}, \
                           {(b) * (c) * (Py_ssize_t) sizeof(REAL), \
                            (c) * (Py_ssize_t) sizeof(REAL), sizeof(REAL)}, {-1, -1, -1}})
#define view4(p, a, b, c, d) \
    ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(a), (b), (c), (d)}, \
                           {(b) * (c) * (d) * (Py_ssize_t) sizeof(REAL), \
                            (c) * (d) * (Py_ssize_t) sizeof(REAL), \
                            (d) * (Py_ssize_t) sizeof(REAL), sizeof(REAL)}, {-1, -1, -1, -1}})
#define offsets(p, a) ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(a)}, {8}, {-1}})
/* (C, h, w, L) inside maps of H x W, from row `top` and column `left` on */
#define inside(p, C, h, w, H, W, top, left) \
    ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p) + ((top) * (W) + (left)) * ROW_BYTES, \
                           {(C), (h), (w), LANES}, \
                           {(H) * (W) * ROW_BYTES, (W) * ROW_BYTES, ROW_BYTES, sizeof(REAL)}, \
                           {-1, -1, -1, -1}})
/* filters (K, C, 3, 3) as (C, K, 3, 3) */
#define exchanged(p, K, C) \
    ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(C), (K), 3, 3}, \
                           {9 * sizeof(REAL), 9 * (C) * (Py_ssize_t) sizeof(REAL), \
                            3 * sizeof(REAL), sizeof(REAL)}, {-1, -1, -1, -1}})
/* (n, F, L) of lane blocks that are some bytes apart */
#define lane_blocks(p, n, step, F) \
    ((__Pyx_memviewslice) {WORK_SPACE, (char *) (p), {(n), (F), LANES}, \
                           {(step), ROW_BYTES, sizeof(REAL)}, {-1, -1, -1}})
