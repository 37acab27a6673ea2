/* Codecs, by the C functions in the shared libraries of numcodecs and google-crc32c.
 *
 * Hostile bytes: a length that a value declares is compared with what it must be before anything
 * is decoded, and every decoder is told how much it may read and write.
 */

#include "_kernel.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#ifdef GUARD_MEMORY
#include <sys/mman.h>
#define GUARD_PAGE 4096
#endif

#define BLOSC_HEADER 16
#define LZ4_HEADER 4
#define CHECKSUM 4
#define ZSTD_LEVEL 100
#define ZSTD_CHECKSUM 201
#define GZIP_WINDOW 31
#define ZLIB_WINDOW 15
#define Z_FINISH 4
#define Z_STREAM_END 1

/* zlib's stream, whose layout has been the same in every version 1. */
typedef struct {
    const unsigned char *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *msg;
    void *state;
    void *(*zalloc)(void *, unsigned int, unsigned int);
    void (*zfree)(void *, void *);
    void *opaque;
    int data_type;
    unsigned long adler;
    unsigned long reserved;
} z_stream_t;

/* Set once, when the module is set up, and only read afterwards. */
static int (*blosc_decode)(const void *, void *, size_t, int);
static int (*blosc_getitem)(const void *, int, int, void *);
static void (*blosc_sizes)(const void *, size_t *, size_t *, size_t *);
static void (*blosc_info)(const void *, size_t *, int *);
static int (*blosc_encode)(int, int, size_t, size_t, const void *, void *, size_t, const char *,
                           size_t, int);
static void *(*zstd_new_in)(void);
static void *(*zstd_new_out)(void);
static size_t (*zstd_free_in)(void *);
static size_t (*zstd_free_out)(void *);
static size_t (*zstd_decode)(void *, void *, size_t, const void *, size_t);
static size_t (*zstd_encode)(void *, void *, size_t, const void *, size_t);
static size_t (*zstd_set)(void *, int, int);
static size_t (*zstd_bound)(size_t);
static unsigned (*zstd_is_error)(size_t);
static unsigned long long (*zstd_size)(const void *, size_t);
static int (*lz4_decode)(const char *, char *, int, int);
static int (*lz4_encode)(const char *, char *, int, int, int);
static int (*lz4_bound)(int);
static int (*zlib_start)(z_stream_t *, int, const char *, int);
static int (*zlib_decode)(z_stream_t *, int);
static int (*zlib_end)(z_stream_t *);
static uint32_t (*crc32c_value)(const uint8_t *, size_t);

/* --- connecting ------------------------------------------------------------------------------ */

typedef struct {
    void **function;
    const char *name;
} symbol_t;

/* Look up functions in a library, all or none; gives whether they are there. */
static int look_up(const char *file, const symbol_t *symbols, size_t n) {
    void *library = file == NULL ? NULL : dlopen(file, RTLD_LAZY | RTLD_LOCAL);
    size_t found = 0;
    while (library != NULL && found < n) {
        void *function = dlsym(library, symbols[found].name);
        if (function == NULL) {
            break;
        }
        *symbols[found++].function = function;
    }
    if (found < n) {
        for (size_t i = 0; i < found; i++) {
            *symbols[i].function = NULL;
        }
    }
    return found == n;
}

#define LOOK_UP(file, symbols) look_up(file, symbols, sizeof symbols / sizeof symbols[0])

const char *connect_codecs(const char *blosc, const char *zstd, const char *crc32c) {
    static char steps[8];
    const symbol_t of_blosc[] = {
        {(void **)&blosc_decode, "blosc_decompress_ctx"},
        {(void **)&blosc_getitem, "blosc_getitem"},
        {(void **)&blosc_sizes, "blosc_cbuffer_sizes"},
        {(void **)&blosc_info, "blosc_cbuffer_metainfo"},
        {(void **)&blosc_encode, "blosc_compress_ctx"},
    };
    const symbol_t of_zstd[] = {
        {(void **)&zstd_new_in, "ZSTD_createDCtx"},
        {(void **)&zstd_new_out, "ZSTD_createCCtx"},
        {(void **)&zstd_free_in, "ZSTD_freeDCtx"},
        {(void **)&zstd_free_out, "ZSTD_freeCCtx"},
        {(void **)&zstd_decode, "ZSTD_decompressDCtx"},
        {(void **)&zstd_encode, "ZSTD_compress2"},
        {(void **)&zstd_set, "ZSTD_CCtx_setParameter"},
        {(void **)&zstd_bound, "ZSTD_compressBound"},
        {(void **)&zstd_is_error, "ZSTD_isError"},
        {(void **)&zstd_size, "ZSTD_getFrameContentSize"},
    };
    const symbol_t of_lz4[] = {
        {(void **)&lz4_decode, "LZ4_decompress_safe"},
        {(void **)&lz4_encode, "LZ4_compress_fast"},
        {(void **)&lz4_bound, "LZ4_compressBound"},
    };
    const symbol_t of_zlib[] = {
        {(void **)&zlib_start, "inflateInit2_"},
        {(void **)&zlib_decode, "inflate"},
        {(void **)&zlib_end, "inflateEnd"},
    };
    const symbol_t of_crc32c[] = {{(void **)&crc32c_value, "crc32c_value"}};
    int n = 0;
    if (LOOK_UP(crc32c, of_crc32c)) {
        steps[n++] = 'c';
    }
    if (LOOK_UP(blosc, of_blosc)) {
        steps[n++] = 'b';
    }
    if (LOOK_UP(zstd, of_zstd)) {
        steps[n++] = 'z';
    }
    /* blosc brings lz4 and zlib along. */
    if (LOOK_UP(blosc, of_lz4)) {
        steps[n++] = 'l';
    }
    if (LOOK_UP(blosc, of_zlib)) {
        steps[n++] = 'g';
        steps[n++] = 'd';
    }
    steps[n] = '\0';
    return steps;
}

#ifdef GUARD_MEMORY
/* For ci/fuzz: memory that ends at a page nobody may touch, so that a library that reads or writes
 * one byte too far is seen, though it was built without a sanitizer. */
static void let_go(memory_t *memory) {
    if (memory->data != NULL) {
        const size_t start = (size_t)memory->data & ~(size_t)(GUARD_PAGE - 1);
        munmap((void *)start, (size_t)memory->data + memory->size - start + GUARD_PAGE);
    }
    memory->data = NULL;
    memory->size = 0;
}

int reserve(memory_t *memory, size_t size) {
    const size_t n = (size + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE;
    let_go(memory);
    char *data = mmap(NULL, n + GUARD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
    if (data == MAP_FAILED || mprotect(data + n, GUARD_PAGE, PROT_NONE) < 0) {
        return -1;
    }
    memory->data = data + n - size;
    memory->size = size;
    return 0;
}

char *extend(memory_t *memory, size_t used, size_t more) {
    memory_t old = *memory;
    if (old.size - used < more) {
        *memory = (memory_t){NULL, 0};
        if (reserve(memory, used + more) < 0) {
            return NULL;
        }
        if (used > 0) {
            memcpy(memory->data, old.data, used);
        }
        let_go(&old);
    }
    return memory->data + used;
}
#else
static void let_go(memory_t *memory) { free(memory->data); }

int reserve(memory_t *memory, size_t size) {
    if (memory->size < size) {
        /* Nothing in it is needed any more, so it is not copied as realloc would. */
        free(memory->data);
        memory->data = malloc(size);
        memory->size = memory->data == NULL ? 0 : size;
    }
    return memory->data == NULL ? -1 : 0;
}

char *extend(memory_t *memory, size_t used, size_t more) {
    if (memory->size - used < more) {
        size_t size = used + more > 2 * memory->size ? used + more : 2 * memory->size;
        char *data = realloc(memory->data, size);
        if (data == NULL) {
            return NULL;
        }
        memory->data = data;
        memory->size = size;
    }
    return memory->data + used;
}
#endif

void free_worker(worker_t *worker) {
    let_go(&worker->value);
    let_go(&worker->chunk);
    let_go(&worker->index);
    let_go(&worker->encoded);
    if (worker->zstd_in != NULL) {
        zstd_free_in(worker->zstd_in);
    }
    if (worker->zstd_out != NULL) {
        zstd_free_out(worker->zstd_out);
    }
}

/* --- decoding -------------------------------------------------------------------------------- */

uint32_t checksum_of(const char *data, size_t n) { return crc32c_value((const uint8_t *)data, n); }

enum status strip_checksums(const codec_t *codec, const char *in, size_t *n_in) {
    for (const char *step = codec->steps; *step == 'c'; step++) {
        uint32_t stored;
        if (*n_in < CHECKSUM) {
            return FAILED;
        }
        *n_in -= CHECKSUM;
        memcpy(&stored, in + *n_in, CHECKSUM);
        if (checksum_of(in, *n_in) != stored) {
            return FAILED;
        }
    }
    return DONE;
}

char compressor_of(const codec_t *codec) { return codec->steps[strspn(codec->steps, "c")]; }

/* Whether a blosc header declares exactly these lengths. */
static int is_blosc(const char *in, size_t n_in, size_t n_out) {
    size_t n_bytes = 0, n_stored = 0, blocksize = 0;
    if (n_in < BLOSC_HEADER || n_out > INT32_MAX) {
        return 0;
    }
    blosc_sizes(in, &n_bytes, &n_stored, &blocksize);
    return n_bytes == n_out && n_stored == n_in;
}

static enum status inflate_one(int window, const char *in, size_t n_in, char *out, size_t n_out) {
    z_stream_t stream;
    if (n_in > UINT32_MAX || n_out > UINT32_MAX) {
        return FAILED;
    }
    memset(&stream, 0, sizeof stream);
    stream.next_in = (const unsigned char *)in;
    stream.avail_in = (unsigned int)n_in;
    stream.next_out = (unsigned char *)out;
    stream.avail_out = (unsigned int)n_out;
    if (zlib_start(&stream, window, "1", (int)sizeof stream) != 0) {
        return FAILED;
    }
    int ended = zlib_decode(&stream, Z_FINISH) == Z_STREAM_END;
    zlib_end(&stream);
    /* What follows the first member is for Python to judge. */
    return ended && stream.avail_in == 0 && stream.avail_out == 0 ? DONE : FAILED;
}

static enum status unpack_zstd(const char *in, size_t n_in, char *out, size_t n_out,
                               worker_t *worker) {
    if (zstd_size(in, n_in) != n_out) {
        return FAILED;
    }
    if (worker->zstd_in == NULL && (worker->zstd_in = zstd_new_in()) == NULL) {
        return FAILED;
    }
    return zstd_decode(worker->zstd_in, out, n_out, in, n_in) == n_out ? DONE : FAILED;
}

static enum status unpack_lz4(const char *in, size_t n_in, char *out, size_t n_out) {
    uint32_t n_bytes;
    if (n_in < LZ4_HEADER || n_in > INT32_MAX || n_out > INT32_MAX) {
        return FAILED;
    }
    memcpy(&n_bytes, in, LZ4_HEADER);
    if (n_bytes != n_out) {
        return FAILED;
    }
    int got = lz4_decode(in + LZ4_HEADER, out, (int)(n_in - LZ4_HEADER), (int)n_out);
    return got == (int)n_out ? DONE : FAILED;
}

/* Run one decompressor into memory of exactly the expected length. */
enum status decompress(char step, const char *in, size_t n_in, char *out, size_t n_out,
                       worker_t *worker) {
    switch (step) {
    case 'b':
        if (!is_blosc(in, n_in, n_out)) {
            return FAILED;
        }
        return blosc_decode(in, out, n_out, 1) == (int)n_out ? DONE : FAILED;
    case 'z': return unpack_zstd(in, n_in, out, n_out, worker);
    case 'l': return unpack_lz4(in, n_in, out, n_out);
    case 'g': return inflate_one(GZIP_WINDOW, in, n_in, out, n_out);
    case 'd': return inflate_one(ZLIB_WINDOW, in, n_in, out, n_out);
    default: return FAILED;
    }
}

enum status decompress_part(const char *in, size_t n_in, char *out, size_t n_out, size_t first,
                            size_t n) {
    size_t typesize = 0;
    int flags = 0;
    if (!is_blosc(in, n_in, n_out)) {
        return FAILED;
    }
    blosc_info(in, &typesize, &flags);
    if (typesize == 0 || n_out % typesize != 0 || first % typesize != 0 || n % typesize != 0) {
        return FAILED;
    }
    int got = blosc_getitem(in, (int)(first / typesize), (int)(n / typesize), out);
    return got == (int)n ? DONE : FAILED;
}

size_t blosc_piece(const char *in, size_t n_in, size_t n_out) {
    size_t n_bytes = 0, n_stored = 0, blocksize = 0;
    if (!is_blosc(in, n_in, n_out)) {
        return 0;
    }
    blosc_sizes(in, &n_bytes, &n_stored, &blocksize);
    return blocksize < n_out ? blocksize : n_out;
}

/* --- encoding -------------------------------------------------------------------------------- */

int can_encode(const codec_t *codec) {
    /* zlib's output differs between its versions, so that what Python's makes is left to it. */
    return strchr("bzl", compressor_of(codec)) != NULL; /* the end of the string counts: none */
}

static size_t n_checksums(const codec_t *codec) { return strspn(codec->steps, "c"); }

size_t encoded_bound(const codec_t *codec, size_t n_in) {
    size_t bound = n_in;
    switch (compressor_of(codec)) {
    case 'b': bound += BLOSC_HEADER; break;
    case 'z': bound = zstd_bound(n_in); break;
    case 'l': bound = n_in > INT32_MAX ? n_in : LZ4_HEADER + (size_t)lz4_bound((int)n_in); break;
    }
    return bound + CHECKSUM * n_checksums(codec);
}

static size_t pack_zstd(const codec_t *codec, const char *in, size_t n_in, char *out,
                        worker_t *worker) {
    if (worker->zstd_out == NULL) {
        void *made = zstd_new_out();
        if (made == NULL) {
            return 0;
        }
        if (zstd_is_error(zstd_set(made, ZSTD_LEVEL, codec->level)) ||
            zstd_is_error(zstd_set(made, ZSTD_CHECKSUM, codec->checksum))) {
            zstd_free_out(made);
            return 0;
        }
        worker->zstd_out = made;
    }
    size_t n = zstd_encode(worker->zstd_out, out, zstd_bound(n_in), in, n_in);
    return zstd_is_error(n) ? 0 : n;
}

static size_t pack_lz4(const codec_t *codec, const char *in, size_t n_in, char *out) {
    const uint32_t n_bytes = (uint32_t)n_in;
    if (n_in > INT32_MAX) {
        return 0;
    }
    memcpy(out, &n_bytes, LZ4_HEADER);
    int n = lz4_encode(in, out + LZ4_HEADER, (int)n_in, lz4_bound((int)n_in), codec->level);
    return n <= 0 ? 0 : (size_t)n + LZ4_HEADER;
}

size_t encode(const codec_t *codec, const char *in, size_t n_in, char *out, worker_t *worker) {
    size_t n = 0;
    switch (compressor_of(codec)) {
    case 'b':
        if (n_in <= INT32_MAX - BLOSC_HEADER) {
            int got = blosc_encode(codec->level, codec->shuffle, (size_t)codec->typesize, n_in, in,
                                   out, n_in + BLOSC_HEADER, codec->name,
                                   (size_t)codec->blocksize, 1);
            n = got < 0 ? 0 : (size_t)got;
        }
        break;
    case 'z': n = pack_zstd(codec, in, n_in, out, worker); break;
    case 'l': n = pack_lz4(codec, in, n_in, out); break;
    case '\0':
        memcpy(out, in, n_in);
        n = n_in;
        break;
    }
    for (size_t i = 0; n > 0 && i < n_checksums(codec); i++) {
        uint32_t checksum = checksum_of(out, n);
        memcpy(out + n, &checksum, CHECKSUM);
        n += CHECKSUM;
    }
    return n;
}
