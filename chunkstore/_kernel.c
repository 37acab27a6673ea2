/* Optional fast path of the engine: chunks that are files, read, decoded and placed, or encoded
 * and written, with the interpreter lock released for as long as a thread has work.
 *
 * Python threads would hand the lock back and forth at every system call. Everything here is
 * optimistic: what is not exactly as expected gets a status other than DONE, and the engine does
 * it again in Python, which finds the right words for the error. So there is one place for error
 * messages and none here.
 *
 * `Chunks` is what does not change from request to request; a `Job` is one request. Any number of
 * threads run a job, each drawing one unit - one stored value - after the other.
 *
 *     _kernel.c          from Python and back, and the threads of a job
 *     _kernel_units.c    what is done for one unit
 *     _kernel_places.c   cells, runs and strided copies
 *     _kernel_codecs.c   decompressors and checksums, borrowed from other libraries
 *     _kernel_files.c    reading and replacing files
 *
 * Hostile bytes: every length is checked before it is used; ci/fuzz feeds damaged ones.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Counts up when what Python calls changes: a module built from other sources is refused. */
#define VERSION 3

#define SLICE_NS 50000000L     /* after so long a thread looks for interrupts */
#define MAX_STRIPES 64
#define KEPT_BYTES (1 << 20) /* memory that an array keeps between reads of single chunks */

typedef struct {
    PyObject_HEAD
    chunks_t chunks;
    _Atomic(worker_t *) spare; /* kept from one request of a single unit to the next */
} chunks_object_t;

typedef struct {
    PyObject_HEAD
    job_t job;
    PyObject *chunks;
    Py_buffer array, value, ranges, numbers;
    int64_t n_units;
    unsigned char *status;
    /* Each thread begins in a stripe of its own, and goes on to the next when that is done: two
     * that fill neighbouring places would both clear the same new pages of memory. */
    int n_stripes;
    _Atomic int64_t next[MAX_STRIPES];
    _Atomic(worker_t *) spare[MAX_STRIPES]; /* of threads that look for interrupts */
} job_object_t;

/* --- running a job --------------------------------------------------------------------------- */

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000L + now.tv_nsec;
}

typedef _Atomic(worker_t *) slot_t;

static void drop_worker(worker_t *worker) {
    if (worker != NULL) {
        free_worker(worker);
        free(worker);
    }
}

/* Take the memory that another call has left, or new memory. */
static worker_t *take_worker(slot_t *spare, int n) {
    for (int i = 0; i < n; i++) {
        worker_t *worker = atomic_exchange(&spare[i], NULL);
        if (worker != NULL) {
            return worker;
        }
    }
    return calloc(1, sizeof(worker_t));
}

static void leave_worker(slot_t *spare, int n, worker_t *worker) {
    for (int i = 0; i < n; i++) {
        worker_t *none = NULL;
        if (atomic_compare_exchange_strong(&spare[i], &none, worker)) {
            return;
        }
    }
    drop_worker(worker);
}

/* Whether little enough memory to keep it while nothing is read. */
static int is_small(const worker_t *worker) {
    return worker->value.size + worker->chunk.size + worker->index.size + worker->encoded.size <=
           KEPT_BYTES;
}

/* Draw the next unit, beginning in a stripe; -1 when all are taken. */
static int64_t draw(job_object_t *job, int *stripe) {
    const int64_t n = job->n_units, n_stripes = job->n_stripes;
    for (int tried = 0; tried < job->n_stripes; tried++) {
        const int64_t low = n / n_stripes * *stripe, last = *stripe == n_stripes - 1;
        const int64_t high = last ? n : low + n / n_stripes;
        /* Looked at first, so that no counter runs on for ever. */
        if (low + atomic_load(&job->next[*stripe]) < high) {
            const int64_t number = low + atomic_fetch_add(&job->next[*stripe], 1);
            if (number < high) {
                return number;
            }
        }
        *stripe = (*stripe + 1) % job->n_stripes;
    }
    return -1;
}

PyDoc_STRVAR(run_doc,
"run(number)\n--\n\n"
"Work on units until there are none left or some time has passed; True if there may be more.\n"
"Each thread gives a number of its own, from 0.");

static PyObject *job_run(PyObject *self, PyObject *thread) {
    job_object_t *job = (job_object_t *)self;
    const long first = PyLong_AsLong(thread);
    if (first < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a negative number");
    }
    int stripe = (int)(first % job->n_stripes);
    const int is_short = job->n_units <= 1;
    int more = !is_short;
    slot_t *spare = is_short ? &((chunks_object_t *)job->chunks)->spare : job->spare;
    Py_BEGIN_ALLOW_THREADS
    const int64_t end = is_short ? 0 : now_ns() + SLICE_NS;
    worker_t *worker = take_worker(spare, is_short ? 1 : MAX_STRIPES);
    do {
        int64_t number = draw(job, &stripe);
        if (number < 0 || worker == NULL) {
            more = 0;
            break;
        }
        job->status[number] = (unsigned char)do_unit(&job->job, number, worker);
    } while (!is_short && now_ns() < end);
    if (is_short && worker != NULL && !is_small(worker)) {
        drop_worker(worker);
    } else if (worker != NULL) {
        leave_worker(spare, is_short ? 1 : MAX_STRIPES, worker);
    }
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(more);
}

PyDoc_STRVAR(stop_doc, "stop()\n--\n\nLet no thread begin another unit.");

static PyObject *job_stop(PyObject *self, PyObject *unused) {
    job_object_t *job = (job_object_t *)self;
    for (int i = 0; i < job->n_stripes; i++) {
        atomic_store(&job->next[i], job->n_units);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(left_doc, "left()\n--\n\nGive the numbers of the units that are left to Python.");

static PyObject *job_left(PyObject *self, PyObject *unused) {
    job_object_t *job = (job_object_t *)self;
    PyObject *left = PyList_New(0);
    for (int64_t i = 0; left != NULL && i < job->n_units; i++) {
        if (job->status[i] != DONE) {
            PyObject *number = PyLong_FromLongLong(i);
            if (number == NULL || PyList_Append(left, number) < 0) {
                Py_CLEAR(left);
            }
            Py_XDECREF(number);
        }
    }
    return left;
}

static PyObject *job_n_units(PyObject *self, void *unused) {
    return PyLong_FromLongLong(((job_object_t *)self)->n_units);
}

static void job_dealloc(PyObject *self) {
    job_object_t *job = (job_object_t *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyBuffer_Release(&job->array);
    PyBuffer_Release(&job->value);
    PyBuffer_Release(&job->ranges);
    PyBuffer_Release(&job->numbers);
    for (int i = 0; i < MAX_STRIPES; i++) {
        drop_worker(atomic_load(&job->spare[i]));
    }
    free(job->job.temporary);
    free(job->status);
    Py_XDECREF(job->chunks);
    type->tp_free(self);
    Py_DECREF(type);
}

/* --- from Python ----------------------------------------------------------------------------- */

typedef struct {
    PyTypeObject *chunks_type, *job_type;
} state_t;

static struct PyModuleDef module;

static int as_int64(PyObject *number, int64_t *value) {
    *value = PyLong_AsLongLong(number);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Read so many integers from a tuple. */
static int as_int64s(PyObject *tuple, int n, int64_t *values) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != n) {
        PyErr_SetString(PyExc_ValueError, "expected a tuple of an integer for each axis");
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if (as_int64(PyTuple_GET_ITEM(tuple, i), &values[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int refuse(const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

/* Take the array of a job, and runs (axis, start, n, step) that fit its shape. */
static int take_array(job_object_t *job, PyObject *array, PyObject *runs, int flags) {
    const chunks_t *chunks = job->job.chunks;
    if (PyObject_GetBuffer(array, &job->array, flags | PyBUF_STRIDES) < 0) {
        return -1;
    }
    if (job->array.ndim != chunks->n_axes ||
        job->array.itemsize != (Py_ssize_t)chunks->itemsize || !PyTuple_Check(runs) ||
        PyTuple_GET_SIZE(runs) != chunks->n_axes) {
        return refuse("the array and the runs do not fit the chunks");
    }
    job->job.origin = job->array.buf;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        int64_t run[4], last;
        if (as_int64s(PyTuple_GET_ITEM(runs, axis), 4, run) < 0) {
            return -1;
        }
        if (run[0] != axis || run[1] < 0 || run[2] != job->array.shape[axis] || run[3] < 1 ||
            (run[2] > 0 && (__builtin_mul_overflow(run[2] - 1, run[3], &last) ||
                            __builtin_add_overflow(last, run[1], &last) || last > INT64_MAX / 4))) {
            return refuse("a run does not fit its axis of the array");
        }
        job->job.runs[axis] = (run_t){run[1], run[2], run[3]};
        job->job.strides[axis] = job->array.strides[axis];
    }
    return 0;
}

static int set_units(job_object_t *job, int64_t n, PyObject *n_threads) {
    const long asked = n_threads == NULL ? 1 : PyLong_AsLong(n_threads);
    if (asked < 1) {
        return PyErr_Occurred() ? -1 : refuse("a job needs a thread");
    }
    job->n_stripes = (int)(asked < MAX_STRIPES ? asked : MAX_STRIPES);
    job->n_units = n;
    job->status = malloc((size_t)n + 1);
    if (job->status == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(job->status, FAILED, (size_t)n);
    return 0;
}

/* Count the cells along each axis; gives their product, or -1. */
static int64_t count_cells(job_object_t *job, int of_units) {
    const chunks_t *chunks = job->job.chunks;
    int64_t n = 1;
    for (int axis = 0; axis < chunks->n_axes; axis++) {
        int64_t edge = chunks->chunk_shape[axis] * (of_units ? chunks->per_unit[axis] : 1);
        job->job.counts[axis] = n_cells(job->job.runs[axis], edge);
        if (__builtin_mul_overflow(n, job->job.counts[axis], &n)) {
            return refuse("too many chunks");
        }
    }
    return n;
}

static job_object_t *new_job(PyObject *self, PyTypeObject *defining, enum kind kind) {
    state_t *state = PyType_GetModuleState(defining);
    PyTypeObject *type = state == NULL ? NULL : state->job_type;
    job_object_t *job = type == NULL ? NULL : (job_object_t *)type->tp_alloc(type, 0);
    if (job != NULL) {
        job->job.kind = kind;
        job->chunks = Py_NewRef(self);
        job->job.chunks = &((chunks_object_t *)self)->chunks;
    }
    return job;
}

static PyObject *finished(job_object_t *job, int failed) {
    if (failed && job != NULL) {
        Py_CLEAR(job);
    }
    return (PyObject *)job;
}

static int has_arguments(Py_ssize_t given, Py_ssize_t wanted, PyObject *names) {
    if (given != wanted || (names != NULL && PyTuple_GET_SIZE(names) > 0)) {
        PyErr_Format(PyExc_TypeError, "expected %zd positional arguments", wanted);
        return 0;
    }
    return 1;
}

PyDoc_STRVAR(reading_doc,
"reading(out, runs, keep_missing, n_threads)\n--\n\n"
"Make the job of reading the files of the elements that the runs take from each axis.");

static PyObject *chunks_reading(PyObject *self, PyTypeObject *defining, PyObject *const *args,
                                Py_ssize_t n_args, PyObject *names) {
    if (!has_arguments(n_args, 4, names)) {
        return NULL;
    }
    job_object_t *job = new_job(self, defining, READING);
    int64_t n = 0;
    if (job == NULL || take_array(job, args[0], args[1], PyBUF_WRITABLE) < 0 ||
        (n = count_cells(job, 1)) < 0 || set_units(job, n, args[3]) < 0) {
        return finished(job, 1);
    }
    job->job.keep = PyObject_IsTrue(args[2]);
    return finished(job, 0);
}

PyDoc_STRVAR(decoding_doc,
"decoding(out, runs, value, ranges, numbers)\n--\n\n"
"Make the job of decoding chunks that are ranges (offset, length) of one value in memory.\n"
"`numbers` says which of the chunks that the runs touch each of them is.");

static PyObject *chunks_decoding(PyObject *self, PyTypeObject *defining, PyObject *const *args,
                                 Py_ssize_t n_args, PyObject *names) {
    if (!has_arguments(n_args, 5, names)) {
        return NULL;
    }
    job_object_t *job = new_job(self, defining, DECODING);
    if (job == NULL || take_array(job, args[0], args[1], PyBUF_WRITABLE) < 0 ||
        PyObject_GetBuffer(args[2], &job->value, PyBUF_SIMPLE) < 0 ||
        PyObject_GetBuffer(args[3], &job->ranges, PyBUF_SIMPLE) < 0 ||
        PyObject_GetBuffer(args[4], &job->numbers, PyBUF_SIMPLE) < 0 || count_cells(job, 0) < 0 ||
        (job->ranges.len != 2 * job->numbers.len &&
         refuse("each chunk has an offset and a length") < 0) ||
        set_units(job, job->numbers.len / 8, NULL) < 0) {
        return finished(job, 1);
    }
    job->job.value = job->value.buf;
    job->job.n_value = job->value.len;
    job->job.ranges = job->ranges.buf;
    job->job.numbers = job->numbers.buf;
    return finished(job, 0);
}

PyDoc_STRVAR(writing_doc,
"writing(values, runs, extents, temporary, salt, keep_empty, n_threads)\n--\n\n"
"Make the job of writing the files that the runs cover; others are left.\n"
"A file is first written under the name `temporary` and 12 digits, which count up from `salt`.");

static PyObject *chunks_writing(PyObject *self, PyTypeObject *defining, PyObject *const *args,
                                Py_ssize_t n_args, PyObject *names) {
    if (!has_arguments(n_args, 7, names)) {
        return NULL;
    }
    job_object_t *job = new_job(self, defining, WRITING);
    const char *temporary = job == NULL ? NULL : PyUnicode_AsUTF8(args[3]);
    int64_t n = 0, salt = 0;
    if (temporary == NULL || take_array(job, args[0], args[1], 0) < 0 ||
        as_int64s(args[2], job->job.chunks->n_axes, job->job.extents) < 0 ||
        as_int64(args[4], &salt) < 0 || (n = count_cells(job, 1)) < 0 ||
        set_units(job, n, args[6]) < 0) {
        return finished(job, 1);
    }
    if (strlen(temporary) > 255 || !can_encode(&job->job.chunks->codec)) {
        refuse("these chunks cannot be written");
        return finished(job, 1);
    }
    job->job.temporary = strdup(temporary);
    job->job.salt = (uint64_t)salt;
    job->job.keep = PyObject_IsTrue(args[5]);
    if (job->job.temporary == NULL) {
        PyErr_NoMemory();
        return finished(job, 1);
    }
    return finished(job, 0);
}

/* Check what the shape comes to, so that no product below can overflow. */
static int set_shape(chunks_t *chunks, PyObject *shape, PyObject *strides, PyObject *per_unit) {
    if (!PyTuple_Check(shape) || PyTuple_GET_SIZE(shape) < 1 ||
        PyTuple_GET_SIZE(shape) > MAX_AXES) {
        return refuse("expected 1 to 32 axes");
    }
    const int n_axes = chunks->n_axes = (int)PyTuple_GET_SIZE(shape);
    if (as_int64s(shape, n_axes, chunks->chunk_shape) < 0 ||
        as_int64s(strides, n_axes, chunks->chunk_strides) < 0 ||
        as_int64s(per_unit, n_axes, chunks->per_unit) < 0) {
        return -1;
    }
    int64_t n_bytes = (int64_t)chunks->itemsize, n_inner = 1, last = n_bytes;
    for (int axis = 0; axis < n_axes; axis++) {
        const int64_t edge = chunks->chunk_shape[axis];
        int64_t unit, reached;
        if (edge < 1 || chunks->per_unit[axis] < 1 || chunks->chunk_strides[axis] < 0 ||
            __builtin_mul_overflow(n_bytes, edge, &n_bytes) ||
            __builtin_mul_overflow(n_inner, chunks->per_unit[axis], &n_inner) ||
            __builtin_mul_overflow(edge, chunks->per_unit[axis], &unit) || unit > INT64_MAX / 4 ||
            __builtin_mul_overflow(edge - 1, chunks->chunk_strides[axis], &reached) ||
            __builtin_add_overflow(last, reached, &last)) {
            return refuse("chunks of this shape are too large");
        }
    }
    if (n_bytes > INT64_MAX / 4 || n_inner > INT64_MAX / 64 || last > n_bytes) {
        return refuse("chunks of this shape are too large");
    }
    chunks->chunk_nbytes = (size_t)n_bytes;
    chunks->n_inner = (size_t)n_inner;
    return 0;
}

static char *copied(const char *data, Py_ssize_t n) {
    char *copy = malloc((size_t)n + 1);
    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(copy, data, (size_t)n);
    copy[n] = '\0';
    return copy;
}

PyDoc_STRVAR(chunks_doc,
"Chunks(itemsize, shape, strides, per_unit, fill, codec, index, prefix, separator)\n--\n\n"
"The chunks of one array, as files.\n\n"
"`shape` and `strides` (bytes) are of a decoded chunk, `per_unit` counts those in one file along\n"
"each axis; `codec` is (steps, bound, name, level, shuffle, typesize, blocksize, checksum);\n"
"`index` is None without shards, else (whether it comes first, whether it has a checksum).");

static PyObject *chunks_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *shape, *strides, *per_unit, *index;
    const char *fill, *steps, *name, *prefix;
    Py_ssize_t itemsize, n_fill, bound, n_prefix;
    int separator, level, shuffle, typesize, blocksize, checksum, first = 0, checked = 0;
    if (!PyArg_ParseTuple(args, "nO!O!O!y#(snsiiiip)Oy#C:Chunks", &itemsize, &PyTuple_Type, &shape,
                          &PyTuple_Type, &strides, &PyTuple_Type, &per_unit, &fill, &n_fill,
                          &steps, &bound, &name, &level, &shuffle, &typesize, &blocksize,
                          &checksum, &index, &prefix, &n_prefix, &separator) ||
        (index != Py_None && !PyArg_ParseTuple(index, "pp", &first, &checked))) {
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    chunks_t *chunks = &((chunks_object_t *)self)->chunks;
    chunks->itemsize = (size_t)itemsize;
    codec_t *codec = &chunks->codec;
    if (itemsize < 1 || itemsize > INT32_MAX || n_fill != itemsize || bound < 0 ||
        strlen(steps) > MAX_STEPS || strlen(name) >= sizeof codec->name || separator > 127 ||
        n_prefix >= MAX_PATH || memchr(prefix, 0, (size_t)n_prefix) != NULL) {
        refuse("the parts of the chunks do not fit together");
        Py_DECREF(self);
        return NULL;
    }
    chunks->is_sharded = index != Py_None;
    chunks->index_first = first;
    chunks->index_checked = checked;
    chunks->separator = (char)separator;
    chunks->n_prefix = (size_t)n_prefix;
    strcpy(codec->steps, steps);
    strcpy(codec->name, name);
    codec->bound = (size_t)bound;
    codec->level = level;
    codec->shuffle = shuffle;
    codec->typesize = typesize;
    codec->blocksize = blocksize;
    codec->checksum = checksum;
    if (set_shape(chunks, shape, strides, per_unit) < 0 ||
        (chunks->fill = copied(fill, n_fill)) == NULL ||
        (chunks->prefix = copied(prefix, n_prefix)) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

static void chunks_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    drop_worker(atomic_load(&((chunks_object_t *)self)->spare));
    free(((chunks_object_t *)self)->chunks.fill);
    free(((chunks_object_t *)self)->chunks.prefix);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(connect_doc,
"connect(blosc, zstd, crc32c)\n--\n\n"
"Look up the functions of other libraries, given the files of modules that contain or need them.\n"
"Returns the letters of the codec steps that can be run.");

static PyObject *connect(PyObject *self, PyObject *args) {
    const char *blosc, *zstd, *crc32c;
    if (!PyArg_ParseTuple(args, "zzz:connect", &blosc, &zstd, &crc32c)) {
        return NULL;
    }
    return PyUnicode_FromString(connect_codecs(blosc, zstd, crc32c));
}

/* --- the module ------------------------------------------------------------------------------ */

#define WITH_CLASS (METH_METHOD | METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef chunks_methods[] = {
    {"reading", (PyCFunction)(void (*)(void))chunks_reading, WITH_CLASS, reading_doc},
    {"decoding", (PyCFunction)(void (*)(void))chunks_decoding, WITH_CLASS, decoding_doc},
    {"writing", (PyCFunction)(void (*)(void))chunks_writing, WITH_CLASS, writing_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef job_methods[] = {
    {"run", job_run, METH_O, run_doc},
    {"stop", job_stop, METH_NOARGS, stop_doc},
    {"left", job_left, METH_NOARGS, left_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef job_members[] = {
    {"n_units", job_n_units, NULL, "Number of units.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot chunks_slots[] = {
    {Py_tp_new, chunks_new},
    {Py_tp_dealloc, chunks_dealloc},
    {Py_tp_methods, chunks_methods},
    {Py_tp_doc, (void *)chunks_doc},
    {0, NULL},
};

static PyType_Slot job_slots[] = {
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_methods, job_methods},
    {Py_tp_getset, job_members},
    {Py_tp_doc, "One request for chunks, which any number of threads run."},
    {0, NULL},
};

static PyType_Spec chunks_spec = {
    "chunkstore._kernel.Chunks", sizeof(chunks_object_t), 0, Py_TPFLAGS_DEFAULT, chunks_slots,
};

static PyType_Spec job_spec = {
    "chunkstore._kernel.Job", sizeof(job_object_t), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, job_slots,
};

static int set_up(PyObject *self) {
    state_t *state = PyModule_GetState(self);
    state->chunks_type = (PyTypeObject *)PyType_FromModuleAndSpec(self, &chunks_spec, NULL);
    state->job_type = (PyTypeObject *)PyType_FromModuleAndSpec(self, &job_spec, NULL);
    if (state->chunks_type == NULL || state->job_type == NULL ||
        PyModule_AddType(self, state->chunks_type) < 0) {
        return -1;
    }
    return PyModule_AddIntConstant(self, "VERSION", VERSION);
}

static int visit_state(PyObject *self, visitproc visit, void *arg) {
    state_t *state = PyModule_GetState(self);
    Py_VISIT(state->chunks_type);
    Py_VISIT(state->job_type);
    return 0;
}

static int clear_state(PyObject *self) {
    state_t *state = PyModule_GetState(self);
    Py_CLEAR(state->chunks_type);
    Py_CLEAR(state->job_type);
    return 0;
}

static PyMethodDef functions[] = {
    {"connect", connect, METH_VARARGS, connect_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, set_up},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    "chunkstore._kernel",
    "Chunks that are files, read and written with the interpreter lock released.",
    sizeof(state_t),
    functions,
    slots,
    visit_state,
    clear_state,
    NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module); }
