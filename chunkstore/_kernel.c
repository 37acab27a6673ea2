/* Optional batch path of the engine: read, decode and place many chunks in one call.
 *
 * The interpreter lock is released once for a whole batch, where Python threads would hand it back
 * and forth at every system call. Everything here is optimistic: a chunk that is not exactly what
 * was expected gets a status other than DONE, and the engine does it again in Python, which finds
 * the right words for the error. So there is one place for error messages and none here.
 *
 * The decompressors are those of numcodecs and google-crc32c: their shared libraries export the C
 * functions, which are looked up when the module is set up. No library of our own is shipped, and
 * the bytes are decoded by the very code that the Python path calls.
 *
 * Hostile bytes: every length is checked before it is used; see ci/fuzz.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_AXES 32
#define MAX_STEPS 8
#define MAX_PATH 4096

enum status { DONE = 0, MISSING = 1, FAILED = 2 };

/* --- functions of other libraries ------------------------------------------------------------ */

typedef int (*blosc_fn)(const void *src, void *dest, size_t destsize, int numinternalthreads);
typedef void (*blosc_sizes_fn)(const void *src, size_t *nbytes, size_t *cbytes, size_t *blocksize);
typedef size_t (*zstd_fn)(void *dst, size_t capacity, const void *src, size_t size);
typedef unsigned long long (*zstd_size_fn)(const void *src, size_t size);
typedef int (*lz4_fn)(const char *src, char *dst, int compressed, int capacity);
typedef uint32_t (*crc32c_fn)(const uint8_t *data, size_t size);

static blosc_fn blosc_decode;
static blosc_sizes_fn blosc_sizes;
static zstd_fn zstd_decode;
static zstd_size_fn zstd_size;
static lz4_fn lz4_decode;
static crc32c_fn crc32c_value;

/* --- what a batch is ------------------------------------------------------------------------- */

/* All chunks of a batch have one shape and one list of codecs. `regions` holds for each chunk and
 * axis: first element, number of elements and step within the chunk; `places` the byte offset in
 * the destination of the first of them. */
typedef struct {
    int n_axes;
    Py_ssize_t itemsize;
    Py_ssize_t chunk_nbytes;
    int64_t chunk_shape[MAX_AXES];
    int64_t chunk_strides[MAX_AXES];
    int64_t out_strides[MAX_AXES];
    int is_plain; /* a whole chunk has the same layout in the destination */
    char steps[MAX_STEPS + 1];
    const char *fill; /* NULL: leave the destination of a missing chunk alone */
} layout_t;

/* Memory that grows and is used again from chunk to chunk of one call. */
typedef struct {
    char *data;
    size_t size;
} scratch_t;

static int reserve(scratch_t *scratch, size_t size) {
    if (scratch->size < size) {
        char *data = realloc(scratch->data, size);
        if (data == NULL) {
            return -1;
        }
        scratch->data = data;
        scratch->size = size;
    }
    return 0;
}

/* --- placing --------------------------------------------------------------------------------- */

static void copy_line(char *out, int64_t out_step, const char *in, int64_t in_step, int64_t n,
                      Py_ssize_t itemsize) {
    if (out_step == itemsize && in_step == itemsize) {
        memcpy(out, in, (size_t)(n * itemsize));
        return;
    }
#define COPY_AS(type)                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
        memcpy(out + i * out_step, in + i * in_step, sizeof(type));                                \
    }                                                                                              \
    return
    switch (itemsize) {
    case 1: COPY_AS(uint8_t);
    case 2: COPY_AS(uint16_t);
    case 4: COPY_AS(uint32_t);
    case 8: COPY_AS(uint64_t);
    default:
        for (int64_t i = 0; i < n; i++) {
            memcpy(out + i * out_step, in + i * in_step, (size_t)itemsize);
        }
    }
#undef COPY_AS
}

/* Copy a region of a chunk to its place; with `in` NULL, the fill value goes there instead. */
static void place(const layout_t *layout, const int64_t *region, const char *in, char *out,
                  int axis) {
    int64_t n = region[3 * axis + 1];
    if (layout->n_axes == 0) {
        memcpy(out, in != NULL ? in : layout->fill, (size_t)layout->itemsize);
        return;
    }
    int64_t in_step = in != NULL ? region[3 * axis + 2] * layout->chunk_strides[axis] : 0;
    int64_t out_step = layout->out_strides[axis];
    if (in != NULL) {
        in += region[3 * axis] * layout->chunk_strides[axis];
    }
    if (axis == layout->n_axes - 1) {
        if (in != NULL) {
            copy_line(out, out_step, in, in_step, n, layout->itemsize);
        } else {
            copy_line(out, out_step, layout->fill, 0, n, layout->itemsize);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        place(layout, region, in != NULL ? in + i * in_step : NULL, out + i * out_step, axis + 1);
    }
}

static int covers_chunk(const layout_t *layout, const int64_t *region) {
    for (int axis = 0; axis < layout->n_axes; axis++) {
        if (region[3 * axis + 1] != layout->chunk_shape[axis] || region[3 * axis + 2] != 1) {
            return 0;
        }
    }
    return 1;
}

/* --- decoding -------------------------------------------------------------------------------- */

/* Run one decompressor into memory of exactly the expected length. */
static enum status decompress(char step, const char *in, size_t n_in, char *out, size_t n_out) {
    if (step == 'b') {
        size_t n_bytes = 0, n_stored = 0, blocksize = 0;
        if (n_in < 16 || n_out > INT32_MAX) {
            return FAILED;
        }
        blosc_sizes(in, &n_bytes, &n_stored, &blocksize);
        if (n_bytes != n_out || n_stored != n_in) {
            return FAILED;
        }
        return blosc_decode(in, out, n_out, 1) == (int)n_out ? DONE : FAILED;
    }
    if (step == 'z') {
        if (zstd_size(in, n_in) != n_out) {
            return FAILED;
        }
        return zstd_decode(out, n_out, in, n_in) == n_out ? DONE : FAILED;
    }
    if (step == 'l') {
        uint32_t n_bytes;
        if (n_in < 4 || n_in > INT32_MAX || n_out > INT32_MAX) {
            return FAILED;
        }
        memcpy(&n_bytes, in, 4);
        if (n_bytes != n_out) {
            return FAILED;
        }
        return lz4_decode(in + 4, out, (int)(n_in - 4), (int)n_out) == (int)n_out ? DONE : FAILED;
    }
    return FAILED;
}

/* Decode one stored value and place what is selected of it. */
static enum status decode_and_place(const layout_t *layout, const char *in, size_t n_in,
                                    const int64_t *region, char *out, scratch_t *scratch) {
    size_t n_chunk = (size_t)layout->chunk_nbytes;
    const char *step = layout->steps;
    for (; *step == 'c'; step++) {
        uint32_t stored;
        if (n_in < 4) {
            return FAILED;
        }
        n_in -= 4;
        memcpy(&stored, in + n_in, 4);
        if (crc32c_value((const uint8_t *)in, n_in) != stored) {
            return FAILED;
        }
    }
    int direct = layout->is_plain && covers_chunk(layout, region);
    if (*step == '\0') {
        if (n_in != n_chunk) {
            return FAILED;
        }
        if (in == out) {
            return DONE; /* it was read to its place */
        }
        if (direct) {
            memcpy(out, in, n_chunk);
        } else {
            place(layout, region, in, out, 0);
        }
        return DONE;
    }
    if (direct) {
        return decompress(*step, in, n_in, out, n_chunk);
    }
    if (reserve(scratch, n_chunk) < 0 ||
        decompress(*step, in, n_in, scratch->data, n_chunk) != DONE) {
        return FAILED;
    }
    place(layout, region, scratch->data, out, 0);
    return DONE;
}

/* --- reading files --------------------------------------------------------------------------- */

/* Read a whole file, into `into` if that is given and just as long, else into the scratch memory. */
static enum status read_file(const char *path, char *into, size_t n_into, scratch_t *scratch,
                             size_t *n_bytes, const char **data) {
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    enum status status = FAILED;
    if (handle < 0) {
        return errno == ENOENT || errno == ENOTDIR ? MISSING : FAILED;
    }
    if (fstat(handle, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size >= 0) {
        size_t size = (size_t)facts.st_size, total = 0;
        char *to = into;
        if (into == NULL || size != n_into) {
            to = reserve(scratch, size + 1) == 0 ? scratch->data : NULL;
        }
        status = to == NULL ? FAILED : DONE;
        while (status == DONE && total < size) {
            ssize_t got = read(handle, to + total, size - total);
            if (got <= 0) {
                if (got < 0 && errno == EINTR) {
                    continue;
                }
                status = FAILED;
                break;
            }
            total += (size_t)got;
        }
        *n_bytes = total;
        *data = to;
    }
    close(handle);
    return status;
}

/* Write the path of a chunk: prefix, then its coordinates with a separator between. */
static int chunk_path(char *path, const char *prefix, Py_ssize_t n_prefix, char separator,
                      const int64_t *coords, int n_axes) {
    Py_ssize_t at = n_prefix;
    if (n_prefix + n_axes * 21 + 2 > MAX_PATH) {
        return -1;
    }
    memcpy(path, prefix, (size_t)n_prefix);
    for (int axis = 0; axis < n_axes; axis++) {
        char digits[21];
        int n = 0;
        uint64_t value = (uint64_t)coords[axis];
        if (axis > 0) {
            path[at++] = separator;
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

/* --- from Python ----------------------------------------------------------------------------- */

static int as_int64s(PyObject *sequence, int64_t *values, int *n) {
    PyObject *fast = PySequence_Fast(sequence, "expected a sequence of integers");
    if (fast == NULL) {
        return -1;
    }
    Py_ssize_t size = PySequence_Fast_GET_SIZE(fast);
    if (size > MAX_AXES) {
        PyErr_SetString(PyExc_ValueError, "too many axes");
        Py_DECREF(fast);
        return -1;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        values[i] = PyLong_AsLongLong(PySequence_Fast_GET_ITEM(fast, i));
        if (values[i] == -1 && PyErr_Occurred()) {
            Py_DECREF(fast);
            return -1;
        }
    }
    *n = (int)size;
    Py_DECREF(fast);
    return 0;
}

static int as_layout(PyObject *tuple, layout_t *layout) {
    PyObject *shape, *chunk_strides, *out_strides;
    const char *steps;
    Py_ssize_t n_steps, n_fill;
    int n_chunk, n_out;
    if (!PyArg_ParseTuple(tuple, "nOOOs#z#:layout", &layout->itemsize, &shape, &chunk_strides,
                          &out_strides, &steps, &n_steps, &layout->fill, &n_fill)) {
        return -1;
    }
    if (as_int64s(shape, layout->chunk_shape, &layout->n_axes) < 0 ||
        as_int64s(chunk_strides, layout->chunk_strides, &n_chunk) < 0 ||
        as_int64s(out_strides, layout->out_strides, &n_out) < 0) {
        return -1;
    }
    if (n_chunk != layout->n_axes || n_out != layout->n_axes || n_steps > MAX_STEPS ||
        layout->itemsize < 1 || (layout->fill != NULL && n_fill != layout->itemsize)) {
        PyErr_SetString(PyExc_ValueError, "the parts of the layout do not fit together");
        return -1;
    }
    memcpy(layout->steps, steps, (size_t)n_steps);
    layout->steps[n_steps] = '\0';
    layout->chunk_nbytes = layout->itemsize;
    for (int axis = 0; axis < layout->n_axes; axis++) {
        layout->chunk_nbytes *= (Py_ssize_t)layout->chunk_shape[axis];
    }
    layout->is_plain = 1;
    int64_t stride = layout->itemsize;
    for (int axis = layout->n_axes - 1; axis >= 0; axis--) {
        if (layout->chunk_strides[axis] != stride || layout->out_strides[axis] != stride) {
            layout->is_plain = 0;
        }
        stride *= layout->chunk_shape[axis];
    }
    return 0;
}

/* Whether the last byte that a region reaches lies within the destination, and in the chunk. */
static int fits(const layout_t *layout, const int64_t *region, int64_t at, Py_ssize_t n_out) {
    int64_t low = at, high = at;
    for (int axis = 0; axis < layout->n_axes; axis++) {
        int64_t first = region[3 * axis], n = region[3 * axis + 1], step = region[3 * axis + 2];
        if (first < 0 || n < 1 || step < 1 || first + (n - 1) * step >= layout->chunk_shape[axis]) {
            return 0;
        }
        int64_t reach = (n - 1) * layout->out_strides[axis];
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    return low >= 0 && high + layout->itemsize <= n_out;
}

static int same_length(Py_ssize_t n, int n_axes, const Py_buffer *regions, const Py_buffer *places,
                       const Py_buffer *more, Py_ssize_t more_item, Py_ssize_t low,
                       Py_ssize_t high) {
    if (regions->len != n * n_axes * 3 * 8 || places->len != n * 8 || more->len != n * more_item ||
        low < 0 || high > n || low > high) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the batch do not fit together");
        return 0;
    }
    return 1;
}

PyDoc_STRVAR(read_files_doc,
"read_files(layout, prefix, separator, coords, regions, places, out, origin, status, low, high)\n"
"--\n\n"
"Read chunks low to high of a batch, each a file of its own, and place them.");

static PyObject *read_files(PyObject *self, PyObject *args) {
    PyObject *layout_tuple;
    const char *prefix;
    Py_ssize_t n_prefix, origin, low, high;
    int separator;
    Py_buffer coords, regions, places, out, status;
    layout_t layout;
    if (!PyArg_ParseTuple(args, "Oy#Cy*y*y*w*nw*nn:read_files", &layout_tuple, &prefix, &n_prefix,
                          &separator, &coords, &regions, &places, &out, &origin, &status, &low,
                          &high)) {
        return NULL;
    }
    PyObject *result = NULL;
    Py_ssize_t n_done = 0;
    if (as_layout(layout_tuple, &layout) < 0 ||
        !same_length(status.len, layout.n_axes, &regions, &places, &coords, layout.n_axes * 8, low,
                     high)) {
        goto finish;
    }
    {
        const int n_axes = layout.n_axes;
        scratch_t value = {NULL, 0}, chunk = {NULL, 0};
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = low; i < high; i++) {
            const int64_t *region = (const int64_t *)regions.buf + i * n_axes * 3;
            const int64_t at = origin + ((const int64_t *)places.buf)[i];
            char path[MAX_PATH];
            enum status result_of = FAILED;
            size_t n_bytes = 0;
            if (fits(&layout, region, at, out.len) &&
                chunk_path(path, prefix, n_prefix, (char)separator,
                           (const int64_t *)coords.buf + i * n_axes, n_axes) == 0) {
                char *target = (char *)out.buf + at;
                const char *data = NULL;
                int straight = layout.steps[0] == '\0' && layout.is_plain &&
                               covers_chunk(&layout, region);
                result_of = read_file(path, straight ? target : NULL, (size_t)layout.chunk_nbytes,
                                      &value, &n_bytes, &data);
                if (result_of == DONE) {
                    result_of = decode_and_place(&layout, data, n_bytes, region, target, &chunk);
                } else if (result_of == MISSING && layout.fill != NULL) {
                    place(&layout, region, NULL, target, 0);
                    result_of = DONE;
                }
            }
            n_done += result_of == DONE;
            ((char *)status.buf)[i] = (char)result_of;
        }
        free(value.data);
        free(chunk.data);
        Py_END_ALLOW_THREADS
    }
    result = PyLong_FromSsize_t(n_done);
finish:
    PyBuffer_Release(&coords);
    PyBuffer_Release(&regions);
    PyBuffer_Release(&places);
    PyBuffer_Release(&out);
    PyBuffer_Release(&status);
    return result;
}

PyDoc_STRVAR(decode_parts_doc,
"decode_parts(layout, value, ranges, regions, places, out, origin, status, low, high)\n"
"--\n\n"
"Decode chunks low to high of a batch, each a range of one value in memory, and place them.\n"
"An offset of -1 stands for a chunk that is not stored.");

static PyObject *decode_parts(PyObject *self, PyObject *args) {
    PyObject *layout_tuple;
    Py_ssize_t origin, low, high;
    Py_buffer value, ranges, regions, places, out, status;
    layout_t layout;
    if (!PyArg_ParseTuple(args, "Oy*y*y*y*w*nw*nn:decode_parts", &layout_tuple, &value, &ranges,
                          &regions, &places, &out, &origin, &status, &low, &high)) {
        return NULL;
    }
    PyObject *result = NULL;
    Py_ssize_t n_done = 0;
    if (as_layout(layout_tuple, &layout) < 0 ||
        !same_length(status.len, layout.n_axes, &regions, &places, &ranges, 16, low, high)) {
        goto finish;
    }
    {
        scratch_t chunk = {NULL, 0};
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = low; i < high; i++) {
            const int64_t *region = (const int64_t *)regions.buf + i * layout.n_axes * 3;
            const int64_t at = origin + ((const int64_t *)places.buf)[i];
            const int64_t start = ((const int64_t *)ranges.buf)[2 * i];
            const int64_t n_bytes = ((const int64_t *)ranges.buf)[2 * i + 1];
            enum status result_of = FAILED;
            if (!fits(&layout, region, at, out.len)) {
                result_of = FAILED;
            } else if (start == -1) {
                result_of = MISSING;
                if (layout.fill != NULL) {
                    place(&layout, region, NULL, (char *)out.buf + at, 0);
                    result_of = DONE;
                }
            } else if (start >= 0 && n_bytes >= 0 && start <= value.len &&
                       n_bytes <= value.len - start) {
                result_of = decode_and_place(&layout, (const char *)value.buf + start,
                                             (size_t)n_bytes, region, (char *)out.buf + at, &chunk);
            }
            n_done += result_of == DONE;
            ((char *)status.buf)[i] = (char)result_of;
        }
        free(chunk.data);
        Py_END_ALLOW_THREADS
    }
    result = PyLong_FromSsize_t(n_done);
finish:
    PyBuffer_Release(&value);
    PyBuffer_Release(&ranges);
    PyBuffer_Release(&regions);
    PyBuffer_Release(&places);
    PyBuffer_Release(&out);
    PyBuffer_Release(&status);
    return result;
}

PyDoc_STRVAR(connect_doc,
"connect(blosc, zstd, lz4, crc32c)\n"
"--\n\n"
"Look up the functions of other libraries, given the files of modules that contain or need them.\n"
"Returns the letters of the codec steps that can be run: c, b, z, l.");

static void *symbol(PyObject *file, const char *name) {
    if (file == Py_None) {
        return NULL;
    }
    const char *path = PyUnicode_AsUTF8(file);
    if (path == NULL) {
        PyErr_Clear();
        return NULL;
    }
    void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    return library == NULL ? NULL : dlsym(library, name);
}

static PyObject *connect(PyObject *self, PyObject *args) {
    PyObject *blosc, *zstd, *lz4, *crc32c;
    char steps[5];
    int n = 0;
    if (!PyArg_ParseTuple(args, "OOOO:connect", &blosc, &zstd, &lz4, &crc32c)) {
        return NULL;
    }
    *(void **)&crc32c_value = symbol(crc32c, "crc32c_value");
    *(void **)&blosc_decode = symbol(blosc, "blosc_decompress_ctx");
    *(void **)&blosc_sizes = symbol(blosc, "blosc_cbuffer_sizes");
    *(void **)&zstd_decode = symbol(zstd, "ZSTD_decompress");
    *(void **)&zstd_size = symbol(zstd, "ZSTD_getFrameContentSize");
    *(void **)&lz4_decode = symbol(lz4, "LZ4_decompress_safe");
    if (crc32c_value != NULL) {
        steps[n++] = 'c';
    }
    if (blosc_decode != NULL && blosc_sizes != NULL) {
        steps[n++] = 'b';
    }
    if (zstd_decode != NULL && zstd_size != NULL) {
        steps[n++] = 'z';
    }
    if (lz4_decode != NULL) {
        steps[n++] = 'l';
    }
    return PyUnicode_FromStringAndSize(steps, n);
}

static PyMethodDef methods[] = {
    {"connect", connect, METH_VARARGS, connect_doc},
    {"decode_parts", decode_parts, METH_VARARGS, decode_parts_doc},
    {"read_files", read_files, METH_VARARGS, read_files_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "chunkstore._kernel",
    "Read, decode and place batches of chunks with the interpreter lock released once.", -1,
    methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModule_Create(&module); }
