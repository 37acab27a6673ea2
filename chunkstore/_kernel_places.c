/* Where elements lie: cells that a run of elements touches, and copies between strided places. */

#include "_kernel.h"

#include <string.h>

static int64_t divide_up(int64_t a, int64_t b) { return a / b + (a % b > 0); }

/* Count the cells that hold at least one element of a run. */
int64_t n_cells(run_t run, int64_t edge) {
    if (run.n == 0) {
        return 0;
    }
    if (run.step > edge) {
        return run.n; /* no two of them in one cell */
    }
    return (run.start + (run.n - 1) * run.step) / edge - run.start / edge + 1;
}

/* Give the share of the cell that is number `number` of those that the run touches. */
share_t share_of(run_t run, int64_t edge, int64_t number) {
    share_t share;
    if (run.step > edge) {
        int64_t element = run.start + number * run.step;
        share.cell = element / edge;
        share.first = element % edge;
        share.n = 1;
        share.done = number;
        return share;
    }
    share.cell = run.start / edge + number;
    int64_t low = share.cell * edge;
    share.done = low <= run.start ? 0 : divide_up(low - run.start, run.step);
    int64_t end = divide_up(low + edge - run.start, run.step);
    share.n = (end < run.n ? end : run.n) - share.done;
    share.first = run.start + share.done * run.step - low;
    return share;
}

/* Join axes that are one line on both sides, and leave out those of a single element. */
void simplify(copy_t *copy) {
    int kept = 0;
    for (int axis = 0; axis < copy->n_axes; axis++) {
        if (copy->n[axis] == 1) {
            continue;
        }
        int above = kept - 1;
        if (above >= 0 && copy->to_step[above] == copy->n[axis] * copy->to_step[axis] &&
            copy->from_step[above] == copy->n[axis] * copy->from_step[axis]) {
            copy->n[above] *= copy->n[axis];
            copy->to_step[above] = copy->to_step[axis];
            copy->from_step[above] = copy->from_step[axis];
            continue;
        }
        copy->n[kept] = copy->n[axis];
        copy->to_step[kept] = copy->to_step[axis];
        copy->from_step[kept] = copy->from_step[axis];
        kept++;
    }
    copy->n_axes = kept;
}

static void copy_line(const copy_t *copy, int axis, char *to, const char *from) {
    const int64_t n = copy->n[axis];
    const int64_t to_step = copy->to_step[axis], from_step = copy->from_step[axis];
    const size_t itemsize = copy->itemsize;
    if (to_step == (int64_t)itemsize && from_step == (int64_t)itemsize) {
        memcpy(to, from, (size_t)n * itemsize);
        return;
    }
#define COPY_AS(type)                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
        memcpy(to + i * to_step, from + i * from_step, sizeof(type));                              \
    }                                                                                              \
    return
    switch (itemsize) {
    case 1: COPY_AS(uint8_t);
    case 2: COPY_AS(uint16_t);
    case 4: COPY_AS(uint32_t);
    case 8: COPY_AS(uint64_t);
    default:
        for (int64_t i = 0; i < n; i++) {
            memcpy(to + i * to_step, from + i * from_step, itemsize);
        }
    }
#undef COPY_AS
}

static void copy_axis(const copy_t *copy, int axis, char *to, const char *from) {
    if (axis == copy->n_axes - 1) {
        copy_line(copy, axis, to, from);
        return;
    }
    for (int64_t i = 0; i < copy->n[axis]; i++) {
        copy_axis(copy, axis + 1, to + i * copy->to_step[axis], from + i * copy->from_step[axis]);
    }
}

void run_copy(const copy_t *copy, char *to, const char *from) {
    if (copy->n_axes == 0) {
        memcpy(to, from, copy->itemsize);
        return;
    }
    copy_axis(copy, 0, to, from);
}

/* Whether all elements have the bits of one; the first settles it for most chunks of data. */
int is_all(const char *data, size_t n_bytes, const char *element, size_t itemsize) {
    if (memcmp(data, element, itemsize) != 0) {
        return 0;
    }
    /* Every element is the one before it. */
    return memcmp(data + itemsize, data, n_bytes - itemsize) == 0;
}
