/* Files of chunks: read at once or in parts, and replaced as a whole. */

#define _GNU_SOURCE
#include "_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

enum status open_file(const char *path, int *handle, size_t *size) {
    struct stat facts;
    *handle = open(path, O_RDONLY | O_CLOEXEC);
    if (*handle < 0) {
        return errno == ENOENT || errno == ENOTDIR ? MISSING : FAILED;
    }
    if (fstat(*handle, &facts) < 0 || !S_ISREG(facts.st_mode) || facts.st_size < 0) {
        close(*handle);
        return FAILED;
    }
    *size = (size_t)facts.st_size;
    return DONE;
}

enum status read_at(int handle, char *to, size_t n, size_t offset) {
    while (n > 0) {
        ssize_t got = pread(handle, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return FAILED; /* the file has become shorter, or cannot be read */
        }
        to += got;
        offset += (size_t)got;
        n -= (size_t)got;
    }
    return DONE;
}

enum status read_lines(int handle, char *to, int64_t n_lines, size_t n_line, int64_t step,
                       size_t offset) {
    struct iovec lines[IOV_MAX];
    for (int64_t first = 0; first < n_lines; first += IOV_MAX) {
        int n = n_lines - first < IOV_MAX ? (int)(n_lines - first) : IOV_MAX;
        for (int i = 0; i < n; i++) {
            lines[i].iov_base = to + (first + i) * step;
            lines[i].iov_len = n_line;
        }
        ssize_t got = preadv(handle, lines, n, (off_t)offset);
        size_t total = (size_t)n * n_line;
        if (got < 0) {
            return FAILED;
        }
        /* The rest of a read that was cut short, line by line. */
        for (size_t done = (size_t)got; done < total;) {
            size_t i = done / n_line, within = done % n_line;
            if (read_at(handle, (char *)lines[i].iov_base + within, n_line - within,
                        offset + done) != DONE) {
                return FAILED;
            }
            done += n_line - within;
        }
        offset += total;
    }
    return DONE;
}

/* Make the folder of a file, and those above it. */
static int make_folders(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return -1;
    }
    *slash = '\0';
    int made = mkdir(path, 0777);
    if (made < 0 && errno == ENOENT && make_folders(path) == 0) {
        made = mkdir(path, 0777);
    }
    if (made < 0 && errno == EEXIST) {
        made = 0;
    }
    *slash = '/';
    return made;
}

static int new_file(const char *path) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    int handle = open(path, flags, 0666);
    if (handle < 0 && errno == ENOENT) {
        char folders[PATH_MAX];
        if (strlen(path) < sizeof folders && make_folders(strcpy(folders, path)) == 0) {
            handle = open(path, flags, 0666);
        }
    }
    return handle;
}

static enum status write_all(int handle, const char *data, size_t n) {
    while (n > 0) {
        ssize_t written = write(handle, data, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return FAILED;
        }
        data += written;
        n -= (size_t)written;
    }
    return DONE;
}

static enum status write_lines(int handle, lines_t lines) {
    struct iovec some[IOV_MAX];
    for (int64_t first = 0; first < lines.n_lines; first += IOV_MAX) {
        int n = lines.n_lines - first < IOV_MAX ? (int)(lines.n_lines - first) : IOV_MAX;
        for (int i = 0; i < n; i++) {
            some[i].iov_base = (char *)lines.data + (first + i) * lines.step;
            some[i].iov_len = lines.n_line;
        }
        ssize_t written = writev(handle, some, n);
        if (written < 0) {
            return FAILED;
        }
        /* The rest of a write that was cut short, line by line. */
        for (size_t done = (size_t)written, total = (size_t)n * lines.n_line; done < total;) {
            size_t i = done / lines.n_line, within = done % lines.n_line;
            if (write_all(handle, (const char *)some[i].iov_base + within,
                          lines.n_line - within) != DONE) {
                return FAILED;
            }
            done += lines.n_line - within;
        }
    }
    return DONE;
}

enum status replace_file(const char *path, const char *temporary, lines_t lines) {
    int handle = new_file(temporary);
    if (handle < 0) {
        return FAILED;
    }
    enum status status = lines.n_lines == 1 ? write_all(handle, lines.data, lines.n_line)
                                            : write_lines(handle, lines);
    if (close(handle) == 0 && status == DONE && rename(temporary, path) == 0) {
        return DONE;
    }
    unlink(temporary);
    return FAILED;
}

enum status remove_file(const char *path) {
    return unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR ? DONE : FAILED;
}
