/* What is done for one unit of a job: one stored value is read and placed, or made and written. */

#include "_kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_BYTES (1 << 15) /* small inner chunks are read together up to this */

/* ci/fuzz sets these low, for its arrays are small. */
#ifndef LINE_BYTES
#define LINE_BYTES 512 /* shorter lines are sooner copied than read one by one */
#endif
#ifndef PIECES_BYTES
#define PIECES_BYTES (1 << 20) /* larger chunks are decoded piece by piece */
#endif

#define CHECKSUM 4

/* --- geometry -------------------------------------------------------------------------------- */

/* Split the number of a cell into its place along each axis, and give the shares there. */
static void find_shares(int n_axes, const run_t *runs, const int64_t *edges, const int64_t *counts,
                        int64_t number, share_t *shares) {
    for (int axis = n_axes - 1; axis >= 0; axis--) {
        shares[axis] = share_of(runs[axis], edges[axis], number % counts[axis]);
        number /= counts[axis];
    }
}

/* Describe the copy of one chunk's share between the chunk and the array.
 *
 * `step` is that of the run; *at becomes the byte offset in the chunk of the first element. */
static char *describe(const job_t *job, const share_t *shares, char *origin, copy_t *copy,
                      size_t *at) {
    const chunks_t *chunks = job->chunks;
    *at = 0;
    copy->n_axes = chunks->n_axes;
    copy->itemsize = chunks->itemsize;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        const share_t *share = &shares[axis];
        copy->n[axis] = share->n;
        copy->to_step[axis] = job->strides[axis];
        /* A step beyond the chunk is never taken, and could overflow. */
        copy->from_step[axis] =
            share->n == 1 ? 0 : job->runs[axis].step * chunks->chunk_strides[axis];
        origin += share->done * job->strides[axis];
        *at += (size_t)(share->first * chunks->chunk_strides[axis]);
    }
    simplify(copy);
    return origin;
}

/* Bytes from the first element of a copy to the end of its last, on the side of the chunk. */
static size_t reach(const copy_t *copy) {
    size_t n = copy->itemsize;
    for (int axis = 0; axis < copy->n_axes; axis++) {
        n += (size_t)((copy->n[axis] - 1) * copy->from_step[axis]);
    }
    return n;
}

static int is_line(const copy_t *copy, int axis) {
    const int64_t itemsize = (int64_t)copy->itemsize;
    return copy->to_step[axis] == itemsize && copy->from_step[axis] == itemsize;
}

/* Whether both sides are one stretch of memory. */
static int is_straight(const copy_t *copy) {
    return copy->n_axes == 0 || (copy->n_axes == 1 && is_line(copy, 0));
}

static void fill_in(const chunks_t *chunks, const copy_t *copy, char *to) {
    copy_t fill = *copy;
    memset(fill.from_step, 0, sizeof fill.from_step);
    run_copy(&fill, to, chunks->fill);
}

/* Write the path of a unit: prefix, then its coordinates with a separator between. */
static int unit_path(const chunks_t *chunks, const share_t *shares, char *path) {
    size_t at = chunks->n_prefix;
    if (at + (size_t)chunks->n_axes * 21 + 2 > MAX_PATH) {
        return -1;
    }
    memcpy(path, chunks->prefix, at);
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        char digits[21];
        int n = 0;
        uint64_t value = (uint64_t)shares[axis].cell;
        if (axis > 0) {
            path[at++] = chunks->separator;
        }
        do {
            digits[n++] = (char)('0' + value % 10);
            value /= 10;
        } while (value != 0);
        while (n > 0) {
            path[at++] = digits[--n];
        }
    }
    path[at] = '\0';
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Whether a copy takes all bytes of a chunk in their order, in lines of equal length. */
static int is_lines(const chunks_t *chunks, const copy_t *copy) {
    return copy->n_axes == 2 && is_line(copy, 1) &&
           copy->from_step[0] == copy->n[1] * (int64_t)copy->itemsize &&
           (size_t)(copy->from_step[0] * copy->n[0]) == chunks->chunk_nbytes;
}

/* Decode a large chunk piece by piece, so that each is still in the processor's cache when it is
 * placed, line by line. */
static enum status decode_lines(const chunks_t *chunks, const char *in, size_t n_in,
                                const copy_t *copy, char *to, worker_t *worker) {
    const size_t n_chunk = chunks->chunk_nbytes, n_line = (size_t)copy->from_step[0];
    const size_t n_piece = blosc_piece(in, n_in, n_chunk);
    if (n_piece == 0 || reserve(&worker->chunk, n_piece) < 0) {
        return FAILED;
    }
    for (size_t done = 0; done < n_chunk;) {
        const size_t n = n_chunk - done < n_piece ? n_chunk - done : n_piece;
        if (decompress_part(in, n_in, worker->chunk.data, n_chunk, done, n) != DONE) {
            return FAILED;
        }
        for (const char *from = worker->chunk.data, *end = from + n; from < end;) {
            const size_t within = done % n_line;
            size_t part = n_line - within;
            part = part < (size_t)(end - from) ? part : (size_t)(end - from);
            memcpy(to + (int64_t)(done / n_line) * copy->to_step[0] + within, from, part);
            from += part;
            done += part;
        }
    }
    return DONE;
}

/* Decode one value that is in memory and place what is selected of it. */
static enum status decode_value(const chunks_t *chunks, const char *in, size_t n_in,
                                const copy_t *copy, char *to, size_t at, worker_t *worker) {
    const size_t n_chunk = chunks->chunk_nbytes, n = reach(copy);
    const char step = compressor_of(&chunks->codec);
    if (strip_checksums(&chunks->codec, in, &n_in) != DONE) {
        return FAILED;
    }
    if (step == '\0') {
        if (n_in != n_chunk) {
            return FAILED;
        }
        run_copy(copy, to, in + at);
        return DONE;
    }
    if (is_straight(copy) && n == n_chunk) {
        return decompress(step, in, n_in, to, n_chunk, worker);
    }
    if (step == 'b' && n_chunk >= PIECES_BYTES && is_lines(chunks, copy) &&
        decode_lines(chunks, in, n_in, copy, to, worker) == DONE) {
        return DONE;
    }
    if (reserve(&worker->chunk, n_chunk) < 0) {
        return FAILED;
    }
    char *chunk = worker->chunk.data;
    if (step == 'b' && n <= n_chunk / 2 &&
        decompress_part(in, n_in, chunk, n_chunk, at, n) == DONE) {
        run_copy(copy, to, chunk);
        return DONE;
    }
    if (decompress(step, in, n_in, chunk, n_chunk, worker) != DONE) {
        return FAILED;
    }
    run_copy(copy, to, chunk + at);
    return DONE;
}

/* Read what is selected of a chunk that is stored as it is, at `offset` of a file. */
static enum status read_plain(int handle, size_t offset, const copy_t *copy, char *to, size_t at,
                              worker_t *worker) {
    const size_t n = reach(copy);
    if (is_straight(copy)) {
        return read_at(handle, to, n, offset + at);
    }
    if (copy->n_axes == 2 && is_line(copy, 1)) {
        size_t n_line = (size_t)copy->n[1] * copy->itemsize;
        if (n_line >= LINE_BYTES && copy->from_step[0] == (int64_t)n_line) {
            return read_lines(handle, to, copy->n[0], n_line, copy->to_step[0], offset + at);
        }
    }
    if (reserve(&worker->value, n) < 0 ||
        read_at(handle, worker->value.data, n, offset + at) != DONE) {
        return FAILED;
    }
    run_copy(copy, to, worker->value.data);
    return DONE;
}

/* Read a chunk that is the `size` bytes of a file from `offset`. */
static enum status read_chunk(const chunks_t *chunks, int handle, size_t offset, size_t size,
                              const copy_t *copy, char *to, size_t at, worker_t *worker) {
    if (chunks->codec.steps[0] == '\0') {
        return size != chunks->chunk_nbytes ? FAILED
                                            : read_plain(handle, offset, copy, to, at, worker);
    }
    if (size > chunks->codec.bound || reserve(&worker->value, size) < 0 ||
        read_at(handle, worker->value.data, size, offset) != DONE) {
        return FAILED;
    }
    return decode_value(chunks, worker->value.data, size, copy, to, at, worker);
}

static int by_offset(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Whether the inner chunks of an index lie within a value, apart from each other and from it. */
static enum status check_index(const chunks_t *chunks, const uint64_t *entries, size_t size,
                               size_t n_index) {
    const uint64_t low = chunks->index_first ? n_index : 0;
    const uint64_t high = chunks->index_first ? size : size - n_index;
    uint64_t end = low;
    int in_order = 1;
    for (size_t i = 0; i < chunks->n_inner; i++) {
        const uint64_t start = entries[2 * i], n = entries[2 * i + 1];
        if (start == UINT64_MAX && n == UINT64_MAX) {
            continue;
        }
        if (start < low || start > high || n > high - start) {
            return FAILED;
        }
        in_order &= start >= end;
        end = start + n;
    }
    if (in_order) {
        return DONE;
    }
    uint64_t *sorted = malloc(chunks->n_inner * 16);
    if (sorted == NULL) {
        return FAILED;
    }
    enum status status = DONE;
    memcpy(sorted, entries, chunks->n_inner * 16);
    qsort(sorted, chunks->n_inner, 16, by_offset);
    for (size_t i = 1; i < chunks->n_inner && sorted[2 * i] != UINT64_MAX; i++) {
        if (sorted[2 * i] - sorted[2 * i - 2] < sorted[2 * i - 1]) {
            status = FAILED;
        }
    }
    free(sorted);
    return status;
}

static size_t index_nbytes(const chunks_t *chunks) {
    return chunks->n_inner * 16 + (chunks->index_checked ? CHECKSUM : 0);
}

static enum status read_index(const chunks_t *chunks, int handle, size_t size, worker_t *worker) {
    const size_t n = index_nbytes(chunks);
    if (size < n || reserve(&worker->index, n) < 0 ||
        read_at(handle, worker->index.data, n, chunks->index_first ? 0 : size - n) != DONE) {
        return FAILED;
    }
    if (chunks->index_checked) {
        uint32_t stored;
        memcpy(&stored, worker->index.data + n - CHECKSUM, CHECKSUM);
        if (checksum_of(worker->index.data, n - CHECKSUM) != stored) {
            return FAILED;
        }
    }
    return check_index(chunks, (const uint64_t *)worker->index.data, size, n);
}

/* The inner chunks of one shard that a job touches. */
typedef struct {
    run_t runs[MAX_AXES];
    int64_t counts[MAX_AXES];
    int64_t n;
    char *origin;
} inner_t;

static void find_inner(const job_t *job, const share_t *unit, inner_t *inner) {
    const chunks_t *chunks = job->chunks;
    inner->n = 1;
    inner->origin = job->origin;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        inner->runs[axis] = (run_t){unit[axis].first, unit[axis].n, job->runs[axis].step};
        inner->counts[axis] = n_cells(inner->runs[axis], chunks->chunk_shape[axis]);
        inner->n *= inner->counts[axis];
        inner->origin += unit[axis].done * job->strides[axis];
    }
}

static size_t place_in_shard(const chunks_t *chunks, const share_t *shares) {
    size_t place = 0;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        place = place * (size_t)chunks->per_unit[axis] + (size_t)shares[axis].cell;
    }
    return place;
}

/* Bytes of a file that were read ahead of what was asked, for small inner chunks side by side. */
typedef struct {
    size_t start, n;
} window_t;

static enum status read_inner(const chunks_t *chunks, int handle, const uint64_t *entry,
                              size_t size, window_t *window, const copy_t *copy, char *to,
                              size_t at, worker_t *worker) {
    const size_t offset = entry[0], n = entry[1];
    if (n >= WINDOW_BYTES / 2 || window == NULL) {
        return read_chunk(chunks, handle, offset, n, copy, to, at, worker);
    }
    if (offset < window->start || offset + n > window->start + window->n) {
        window->start = offset;
        window->n = size - offset < WINDOW_BYTES ? size - offset : WINDOW_BYTES;
        if (reserve(&worker->encoded, WINDOW_BYTES) < 0 ||
            read_at(handle, worker->encoded.data, window->n, offset) != DONE) {
            return FAILED;
        }
    }
    return decode_value(chunks, worker->encoded.data + (offset - window->start), n, copy, to, at,
                        worker);
}

static enum status read_shard(const job_t *job, int handle, size_t size, const share_t *unit,
                              worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    inner_t inner;
    window_t window = {0, 0};
    if (read_index(chunks, handle, size, worker) != DONE) {
        return FAILED;
    }
    find_inner(job, unit, &inner);
    for (int64_t number = 0; number < inner.n; number++) {
        share_t shares[MAX_AXES];
        copy_t copy;
        size_t at;
        find_shares(chunks->n_axes, inner.runs, chunks->chunk_shape, inner.counts, number, shares);
        char *to = describe(job, shares, inner.origin, &copy, &at);
        const uint64_t *entry =
            (const uint64_t *)worker->index.data + 2 * place_in_shard(chunks, shares);
        if (entry[0] == UINT64_MAX) {
            fill_in(chunks, &copy, to);
        } else if (read_inner(chunks, handle, entry, size, inner.n > 1 ? &window : NULL, &copy, to,
                              at, worker) != DONE) {
            return FAILED;
        }
    }
    return DONE;
}

static enum status read_unit(const job_t *job, const share_t *shares, worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    char path[MAX_PATH];
    copy_t copy;
    int handle;
    size_t size = 0, at;
    if (unit_path(chunks, shares, path) < 0) {
        return FAILED;
    }
    enum status status = open_file(path, &handle, &size);
    if (status == FAILED || (status == MISSING && job->keep)) {
        return status;
    }
    char *to = describe(job, shares, job->origin, &copy, &at);
    if (status == MISSING) {
        fill_in(chunks, &copy, to);
        return DONE;
    }
    status = chunks->is_sharded ? read_shard(job, handle, size, shares, worker)
                                : read_chunk(chunks, handle, 0, size, &copy, to, at, worker);
    close(handle);
    return status;
}

/* Decode one inner chunk of a value in memory; an offset of -1 stands for an empty one. */
static enum status decode_unit(const job_t *job, int64_t i, worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    const int64_t number = job->numbers[i];
    const int64_t start = job->ranges[2 * i];
    const int64_t n = job->ranges[2 * i + 1];
    int64_t n_all = 1;
    share_t shares[MAX_AXES];
    copy_t copy;
    size_t at;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        n_all *= job->counts[axis];
    }
    if (number < 0 || number >= n_all) {
        return FAILED;
    }
    find_shares(chunks->n_axes, job->runs, chunks->chunk_shape, job->counts, number, shares);
    char *to = describe(job, shares, job->origin, &copy, &at);
    if (start == -1) {
        fill_in(chunks, &copy, to);
        return DONE;
    }
    if (start < 0 || n < 0 || start > job->n_value || n > job->n_value - start) {
        return FAILED;
    }
    return decode_value(chunks, job->value + start, (size_t)n, &copy, to, at,
                        worker);
}

/* --- writing --------------------------------------------------------------------------------- */

/* Give a chunk as it is to be encoded: a view where it lies so in the array, else a copy, in which
 * fill value stands for what reaches beyond the array. NULL without memory. */
static const char *gather(const job_t *job, const share_t *shares, char *origin,
                          worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    copy_t copy;
    size_t at, n = chunks->itemsize;
    const char *from = describe(job, shares, origin, &copy, &at);
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        n *= (size_t)shares[axis].n;
    }
    if (is_straight(&copy) && n == chunks->chunk_nbytes) {
        return from;
    }
    if (reserve(&worker->chunk, chunks->chunk_nbytes) < 0) {
        return NULL;
    }
    char *chunk = worker->chunk.data;
    if (n != chunks->chunk_nbytes) {
        copy_t all = {.n_axes = 1, .itemsize = chunks->itemsize};
        all.n[0] = (int64_t)(chunks->chunk_nbytes / chunks->itemsize);
        all.to_step[0] = (int64_t)chunks->itemsize;
        run_copy(&all, chunk, chunks->fill);
    }
    for (int axis = 0; axis < copy.n_axes; axis++) {
        int64_t step = copy.to_step[axis];
        copy.to_step[axis] = copy.from_step[axis];
        copy.from_step[axis] = step;
    }
    run_copy(&copy, chunk + at, from);
    return chunk;
}

/* Encode one chunk behind what is there; *used grows by its length, or not if it is empty. */
static enum status encode_chunk(const job_t *job, const share_t *shares, char *origin,
                                size_t *used, worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    const char *chunk = gather(job, shares, origin, worker);
    if (chunk == NULL) {
        return FAILED;
    }
    if (!job->keep && is_all(chunk, chunks->chunk_nbytes, chunks->fill, chunks->itemsize)) {
        return DONE;
    }
    char *to = extend(&worker->encoded, *used, encoded_bound(&chunks->codec, chunks->chunk_nbytes));
    if (to == NULL) {
        return FAILED;
    }
    size_t n = encode(&chunks->codec, chunk, chunks->chunk_nbytes, to, worker);
    *used += n;
    return n > 0 ? DONE : FAILED;
}

static void put_index(const chunks_t *chunks, const uint64_t *entries, char *to) {
    const size_t n = chunks->n_inner * 16;
    memcpy(to, entries, n);
    if (chunks->index_checked) {
        uint32_t checksum = checksum_of(to, n);
        memcpy(to + n, &checksum, CHECKSUM);
    }
}

/* Encode a shard; *used stays 0 where all of it is empty. */
static enum status encode_shard(const job_t *job, const share_t *unit, size_t *used,
                                worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    const size_t n_index = index_nbytes(chunks), head = chunks->index_first ? n_index : 0;
    inner_t inner;
    size_t end = head;
    find_inner(job, unit, &inner);
    if (reserve(&worker->index, n_index) < 0 || extend(&worker->encoded, 0, n_index) == NULL) {
        return FAILED;
    }
    uint64_t *entries = (uint64_t *)worker->index.data;
    memset(entries, 0xff, n_index);
    for (int64_t number = 0; number < inner.n; number++) {
        share_t shares[MAX_AXES];
        const size_t start = end;
        find_shares(chunks->n_axes, inner.runs, chunks->chunk_shape, inner.counts, number, shares);
        if (encode_chunk(job, shares, inner.origin, &end, worker) != DONE) {
            return FAILED;
        }
        if (end > start) {
            uint64_t *entry = entries + 2 * place_in_shard(chunks, shares);
            entry[0] = start;
            entry[1] = end - start;
        }
    }
    if (end == head) {
        return DONE;
    }
    char *to = chunks->index_first ? worker->encoded.data : extend(&worker->encoded, end, n_index);
    if (to == NULL) {
        return FAILED;
    }
    put_index(chunks, entries, to);
    *used = chunks->index_first ? end : end + n_index;
    return DONE;
}

/* Whether every element of a unit that lies in the array is written, in order. */
static int covers_unit(const job_t *job, const share_t *shares) {
    const chunks_t *chunks = job->chunks;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        const int64_t edge = chunks->chunk_shape[axis] * chunks->per_unit[axis];
        const int64_t rest = job->extents[axis] - shares[axis].cell * edge;
        if (job->runs[axis].step != 1 || shares[axis].n != (rest < edge ? rest : edge)) {
            return 0;
        }
    }
    return 1;
}

/* Give a chunk without codecs as lines of the array where it lies there so, else as a copy. */
static enum status plain_lines(const job_t *job, const share_t *shares, lines_t *lines,
                               worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    copy_t copy;
    size_t at;
    char *origin = describe(job, shares, job->origin, &copy, &at);
    if (is_lines(chunks, &copy) && copy.from_step[0] >= LINE_BYTES) {
        *lines = (lines_t){origin, copy.n[0], copy.to_step[0], (size_t)copy.from_step[0]};
        return DONE;
    }
    *lines = (lines_t){gather(job, shares, job->origin, worker), 1, 0, chunks->chunk_nbytes};
    return lines->data == NULL ? FAILED : DONE;
}

/* Whether all lines are fill value. */
static int are_empty(const chunks_t *chunks, const lines_t *lines) {
    if (!is_all(lines->data, lines->n_line, chunks->fill, chunks->itemsize)) {
        return 0;
    }
    for (int64_t i = 1; i < lines->n_lines; i++) {
        if (memcmp(lines->data + i * lines->step, lines->data, lines->n_line) != 0) {
            return 0;
        }
    }
    return 1;
}

static enum status write_unit(const job_t *job, int64_t number, const share_t *shares,
                              worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    char path[MAX_PATH], temporary[2 * MAX_PATH];
    size_t used = 0;
    lines_t lines;
    enum status status;
    if (!covers_unit(job, shares) || unit_path(chunks, shares, path) < 0) {
        return MISSING;
    }
    if (chunks->is_sharded || chunks->codec.steps[0] != '\0') {
        status = chunks->is_sharded ? encode_shard(job, shares, &used, worker)
                                    : encode_chunk(job, shares, job->origin, &used, worker);
        lines = (lines_t){worker->encoded.data, 1, 0, used};
    } else {
        status = plain_lines(job, shares, &lines, worker);
        used = status != DONE || (!job->keep && are_empty(chunks, &lines)) ? 0 : lines.n_line;
    }
    if (status != DONE) {
        return status;
    }
    if (used == 0) {
        return remove_file(path);
    }
    const char *slash = strrchr(path, '/');
    const int n_folder = slash == NULL ? 0 : (int)(slash - path) + 1;
    const unsigned long long salt = (job->salt + (uint64_t)number) & 0xffffffffffffULL;
    snprintf(temporary, sizeof temporary, "%.*s%s%012llx", n_folder, path, job->temporary, salt);
    return replace_file(path, temporary, lines);
}

enum status do_unit(const job_t *job, int64_t number, worker_t *worker) {
    const chunks_t *chunks = job->chunks;
    int64_t edges[MAX_AXES];
    share_t shares[MAX_AXES];
    if (job->kind == DECODING) {
        return decode_unit(job, number, worker);
    }
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        edges[axis] = chunks->chunk_shape[axis] * chunks->per_unit[axis];
    }
    find_shares(chunks->n_axes, job->runs, edges, job->counts, number, shares);
    return job->kind == READING ? read_unit(job, shares, worker)
                                : write_unit(job, number, shares, worker);
}
