/* A recorder of the changes to files, loaded before the C library. Environment variables:
 *
 * POWER_ROOT  folder whose changes are recorded
 * POWER_LOG   file that receives a line for each change, in the order of their effects; the bytes of a write follow
 *
 * Lines: create INODE PATH | write INODE OFFSET LENGTH | truncate INODE LENGTH | sync INODE PATH | syncdir PATH |
 *        mkdir PATH | link INODE PATH | unlink PATH | rename FROM<tab>TO
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static int inside(const char *path) {
    const char *root = getenv("POWER_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static const char *path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static void record(const void *bytes, size_t size, const char *format, ...) {
    static int log = -1;
    if (log < 0) log = REAL("open", int (*)(const char *, int, ...))(getenv("POWER_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char line[2 * PATH_MAX + 64];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    struct iovec parts[] = {{line, length}, {(void *)bytes, size}};
    if (REAL("writev", ssize_t (*)(int, const struct iovec *, int))(log, parts, 2) != (ssize_t)(length + size)) abort();
}

static unsigned long long inode(const char *path) {
    struct stat found;
    return stat(path, &found) ? 0 : (unsigned long long)found.st_ino;
}

static unsigned long long inode_of(int file) {
    struct stat found;
    return fstat(file, &found) ? 0 : (unsigned long long)found.st_ino;
}

static int open_by(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = REAL(name, int (*)(const char *, int, ...));
    if (!inside(path) || !(flags & (O_CREAT | O_TRUNC))) return real(path, flags, mode);
    pthread_mutex_lock(&turn);
    int existed = inode(path) != 0;
    int file = real(path, flags, mode), why = errno;
    if (file >= 0 && !existed) record(0, 0, "create %llu %s\n", inode_of(file), path);
    if (file >= 0 && existed && flags & O_TRUNC) record(0, 0, "truncate %llu 0\n", inode_of(file));
    pthread_mutex_unlock(&turn);
    errno = why;
    return file;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_by("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_by("open64", path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = REAL("write", ssize_t (*)(int, const void *, size_t));
    char path[PATH_MAX];
    if (file < 3 || !inside(path_of(file, path))) return real(file, bytes, size);
    pthread_mutex_lock(&turn);
    off_t at = fcntl(file, F_GETFL) & O_APPEND ? lseek(file, 0, SEEK_END) : lseek(file, 0, SEEK_CUR);
    ssize_t written = real(file, bytes, size);
    int why = errno;
    if (written > 0) record(bytes, written, "write %llu %lld %zd\n", inode_of(file), (long long)at, written);
    pthread_mutex_unlock(&turn);
    errno = why;
    return written;
}

/* No caller needs these; each would be a hole in the record. */
ssize_t pwrite64(int file, const void *bytes, size_t size, off_t at) {
    char path[PATH_MAX];
    if (inside(path_of(file, path))) abort();
    return REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off_t))(file, bytes, size, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (inside(path_of(file, path))) abort();
    return REAL("writev", ssize_t (*)(int, const struct iovec *, int))(file, parts, count);
}

int ftruncate64(int file, off_t length) {
    char path[PATH_MAX];
    int is_inside = inside(path_of(file, path));
    pthread_mutex_lock(&turn);
    int done = REAL("ftruncate64", int (*)(int, off_t))(file, length), why = errno;
    if (is_inside && done == 0) record(0, 0, "truncate %llu %lld\n", inode_of(file), (long long)length);
    pthread_mutex_unlock(&turn);
    errno = why;
    return done;
}

static int sync_by(const char *name, int file) {
    char path[PATH_MAX];
    struct stat found;
    int is_inside = inside(path_of(file, path));
    pthread_mutex_lock(&turn);
    int done = REAL(name, int (*)(int))(file), why = errno;
    if (is_inside && done == 0 && fstat(file, &found) == 0) {
        if (S_ISDIR(found.st_mode)) record(0, 0, "syncdir %s\n", path);
        else record(0, 0, "sync %llu %s\n", (unsigned long long)found.st_ino, path);
    }
    pthread_mutex_unlock(&turn);
    errno = why;
    return done;
}

int fsync(int file) { return sync_by("fsync", file); }
int fdatasync(int file) { return sync_by("fdatasync", file); }

int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&turn);
    int done = REAL("mkdir", int (*)(const char *, mode_t))(path, mode), why = errno;
    if (done == 0 && inside(path)) record(0, 0, "mkdir %s\n", path);
    pthread_mutex_unlock(&turn);
    errno = why;
    return done;
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    pthread_mutex_lock(&turn);
    int done = REAL("linkat", int (*)(int, const char *, int, const char *, int))(from, old, to, new, flags), why = errno;
    if (done == 0 && inside(new)) record(0, 0, "link %llu %s\n", inode(new), new);
    pthread_mutex_unlock(&turn);
    errno = why;
    return done;
}

int unlink(const char *path) {
    pthread_mutex_lock(&turn);
    int done = REAL("unlink", int (*)(const char *))(path), why = errno;
    if (done == 0 && inside(path)) record(0, 0, "unlink %s\n", path);
    pthread_mutex_unlock(&turn);
    errno = why;
    return done;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&turn);
    int done = REAL("rename", int (*)(const char *, const char *))(from, to), why = errno;
    if (done == 0 && inside(from)) record(0, 0, "rename %s\t%s\n", from, to);
    pthread_mutex_unlock(&turn);
    errno = why;
    return done;
}
