/* What the files of the kernel share; _kernel.c says what it is for. */

#ifndef CHUNKSTORE_KERNEL_H
#define CHUNKSTORE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define MAX_AXES 32
#define MAX_STEPS 8
#define MAX_PATH 4096

enum status { DONE = 0, MISSING = 1, FAILED = 2 };

/* Memory that grows and is used again from chunk to chunk. */
typedef struct {
    char *data;
    size_t size;
} memory_t;

/* Make room, for other content than before; 0 if there is. */
int reserve(memory_t *memory, size_t size);
/* Make room for more at the end of what is there; NULL if there is none. */
char *extend(memory_t *memory, size_t used, size_t more);

/* What one thread needs while it works; all of it is freed when the thread is done. */
typedef struct {
    memory_t value;   /* as stored */
    memory_t chunk;   /* decoded */
    memory_t index;   /* of a shard */
    memory_t encoded; /* a shard to be */
    void *zstd_in, *zstd_out;
} worker_t;

void free_worker(worker_t *worker);

/* --- codecs (_kernel_codecs.c) --------------------------------------------------------------- */

/* How a chunk is encoded: letters in the order of decoding, any number of checksums and then at
 * most one compressor. */
typedef struct {
    char steps[MAX_STEPS + 1];
    size_t bound; /* no encoded chunk is longer */
    int level, shuffle, typesize, blocksize, checksum;
    char name[16]; /* of the compressor inside blosc */
} codec_t;

/* Look up the functions of other libraries; gives the letters of the steps that can be run. */
const char *connect_codecs(const char *blosc, const char *zstd, const char *crc32c);
int can_encode(const codec_t *codec);

/* Check the checksums around a value; *n_in becomes the length of what is inside. */
enum status strip_checksums(const codec_t *codec, const char *in, size_t *n_in);
char compressor_of(const codec_t *codec);
enum status decompress(char step, const char *in, size_t n_in, char *out, size_t n_out,
                       worker_t *worker);
/* Decode bytes `first` to `first + n` of a blosc value alone; FAILED if that cannot be. */
enum status decompress_part(const char *in, size_t n_in, char *out, size_t n_out, size_t first,
                            size_t n);
/* Give the length of the pieces that a blosc value is made of; 0 if it is none. */
size_t blosc_piece(const char *in, size_t n_in, size_t n_out);
/* Encode into memory of at least `encoded_bound` bytes; gives the length, 0 for a failure. */
size_t encode(const codec_t *codec, const char *in, size_t n_in, char *out, worker_t *worker);
size_t encoded_bound(const codec_t *codec, size_t n_in);
uint32_t checksum_of(const char *data, size_t n);

/* --- places (_kernel_places.c) --------------------------------------------------------------- */

/* Elements start, start + step, ... along one axis, n of them. */
typedef struct {
    int64_t start, n, step;
} run_t;

/* One cell's share of a run: elements `first`, `first + step`, ... of the cell, n of them; `done`
 * elements of the run lie in cells before it. */
typedef struct {
    int64_t cell, first, n, done;
} share_t;

int64_t n_cells(run_t run, int64_t edge);
share_t share_of(run_t run, int64_t edge, int64_t number);

/* A copy from one strided place to another, axis by axis. */
typedef struct {
    int n_axes;
    int64_t n[MAX_AXES];
    int64_t to_step[MAX_AXES];
    int64_t from_step[MAX_AXES];
    size_t itemsize;
} copy_t;

void simplify(copy_t *copy);
void run_copy(const copy_t *copy, char *to, const char *from);
int is_all(const char *data, size_t n_bytes, const char *element, size_t itemsize);

/* --- files (_kernel_files.c) ----------------------------------------------------------------- */

/* Open a file for reading; gives its descriptor and length, or MISSING. */
enum status open_file(const char *path, int *handle, size_t *size);
enum status read_at(int handle, char *to, size_t n, size_t offset);
/* Read lines that follow one another in a file to lines of memory that are `step` bytes apart. */
enum status read_lines(int handle, char *to, int64_t n_lines, size_t n_line, int64_t step,
                       size_t offset);
/* Bytes to write: lines of equal length, so many bytes apart in memory. */
typedef struct {
    const char *data;
    int64_t n_lines, step;
    size_t n_line;
} lines_t;

/* Write a file as a whole or not at all: `temporary` is written and gets the name `path`. */
enum status replace_file(const char *path, const char *temporary, lines_t lines);
enum status remove_file(const char *path);

/* --- units (_kernel_units.c) ----------------------------------------------------------------- */

/* The chunks of one array: what does not change from request to request. */
typedef struct {
    int n_axes;
    size_t itemsize, chunk_nbytes;
    int64_t chunk_shape[MAX_AXES], chunk_strides[MAX_AXES];
    int64_t per_unit[MAX_AXES]; /* inner chunks of a shard along each axis; 1 without shards */
    size_t n_inner;
    int is_sharded, index_first, index_checked;
    codec_t codec;
    char separator;
    char *fill, *prefix;
    size_t n_prefix;
} chunks_t;

enum kind { READING, DECODING, WRITING };

/* One request for elements: runs along each axis, and the memory of an array. */
typedef struct {
    const chunks_t *chunks;
    enum kind kind;
    char *origin; /* of the first element */
    int64_t strides[MAX_AXES];
    run_t runs[MAX_AXES];
    int64_t counts[MAX_AXES]; /* units along each axis; chunks, to decode from memory */
    int64_t extents[MAX_AXES];
    int keep; /* leave missing chunks to Python, or store empty ones */
    /* To decode: one value, the places of chunks in it, and which chunks they are. */
    const char *value;
    int64_t n_value;
    const int64_t *ranges, *numbers;
    /* To write: what temporary names start with, and the number they go on with. */
    char *temporary;
    uint64_t salt;
} job_t;

enum status do_unit(const job_t *job, int64_t number, worker_t *worker);

#endif
