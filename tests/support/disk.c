/* A disk that fails on request, loaded before the C library. Environment variables:
 *
 * DISK_LOG       file that receives a line for each sync and each removal: synced, failed or removed, and the path
 * DISK_FAILS_AT  number of the sync that fails with EIO and has no effect; later ones succeed, as on Linux
 * DISK_ONLY      count only syncs of paths that contain this text
 * DISK_NO_LINKS  hard links fail; with the value 2, renames with RENAME_NOREPLACE fail too
 * DISK_FULL_AFTER  number of bytes written to files after which each write fails with ENOSPC
 * DISK_SLOW_BY   milliseconds that each sync takes longer
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long count;

static void record(const char *what, const char *path) {
    const char *log = getenv("DISK_LOG");
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (file < 0) return;
    if (write(file, line, length) != length) abort();
    close(file);
}

static atomic_long written;

/* A full disk: of the last write that fits only in part, the part is written, as by a file system. */
ssize_t write(int file, const void *bytes, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const char *after = getenv("DISK_FULL_AFTER");
    struct stat kind;
    /* Messages have room: they are no part of the disk. */
    if (after && size && file > STDERR_FILENO && fstat(file, &kind) == 0 && S_ISREG(kind.st_mode)) {
        long room = atol(after) - atomic_fetch_add(&written, (long)size);
        if (room <= 0) {
            errno = ENOSPC;
            return -1;
        }
        if ((size_t)room < size) size = (size_t)room;
    }
    return real(file, bytes, size);
}

static void delay(void) {
    const char *by = getenv("DISK_SLOW_BY");
    if (by) usleep((useconds_t)atol(by) * 1000);
}

static int sync_by(const char *name, int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    const char *at = getenv("DISK_FAILS_AT"), *only = getenv("DISK_ONLY");
    if (at && (!only || strstr(path, only)) && atomic_fetch_add(&count, 1) + 1 == atol(at)) {
        record("failed", path);
        errno = EIO;
        return -1;
    }
    delay();
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int done = real(file);
    int why = errno;
    record(done == 0 ? "synced" : "failed", path);
    errno = why;
    return done;
}

int fsync(int file) { return sync_by("fsync", file); }
int fdatasync(int file) { return sync_by("fdatasync", file); }

int unlink(const char *path) {
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    record("removed", path);
    return real(path);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    if (getenv("DISK_NO_LINKS")) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int (*real)(int, const char *, int, const char *, int) =
        (int (*)(int, const char *, int, const char *, int))dlsym(RTLD_NEXT, "linkat");
    return real(from, old, to, new, flags);
}

/* Programs may call renameat2 directly, past the C library. */
__attribute__((constructor)) static void begin(void) {
    const char *none = getenv("DISK_NO_LINKS");
    if (!none || strcmp(none, "2")) return;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) abort();
}
