/* Counts the system calls that change files below a folder, and kills its process at one of them.
 *
 * Loaded by LD_PRELOAD. KILLS_FOLDER: the folder. KILLS_LOG: a file that gets a line for each call. KILLS_AT: the call,
 * from 1, at which the process kills itself: before it or, for a write where KILLS_TORN is set, when half is written.
 * KILLS_NOLOCKS: files cannot be locked, as on some network shares.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int inside(const char *path) {
    const char *folder = getenv("KILLS_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int inside_fd(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

/* Notes the call; returns whether the process is to die at it. */
static int here(const char *name, const char *path) {
    const char *at = getenv("KILLS_AT"), *log = getenv("KILLS_LOG");
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (log) {
        char line[4200];
        int length = snprintf(line, sizeof line, "%s %s\n", name, path);
        int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) {
            syscall(SYS_write, fd, line, length);
            syscall(SYS_close, fd);
        }
    }
    return at && number == atol(at);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(type, name) static type (*real)(); if (!real) real = (type (*)())dlsym(RTLD_NEXT, name)
#define BY_FD(name) do { char p[4096]; if (inside_fd(fd, p, sizeof p) && here(name, p)) die(); } while (0)
#define BY_PATH(name, path) do { if (inside(path) && here(name, path)) die(); } while (0)
#define TORN(fd, buf, count, put) do { char p[4096]; if (inside_fd(fd, p, sizeof p) && here("write", p)) { \
    if (getenv("KILLS_TORN") && count > 1) put; die(); } } while (0)

ssize_t write(int fd, const void *buf, size_t n) {
    TORN(fd, buf, n, syscall(SYS_write, fd, buf, n / 2));
    return syscall(SYS_write, fd, buf, n);
}
ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at) {
    TORN(fd, buf, n, syscall(SYS_pwrite64, fd, buf, n / 2, at));
    return syscall(SYS_pwrite64, fd, buf, n, at);
}
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) { return pwrite64(fd, buf, n, at); }
int fsync(int fd) { BY_FD("fsync"); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { BY_FD("fsync"); return syscall(SYS_fdatasync, fd); }
int ftruncate64(int fd, off64_t n) { BY_FD("truncate"); return syscall(SYS_ftruncate, fd, n); }
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }
ssize_t sendfile64(int fd, int from, off64_t *at, size_t n) {
    BY_FD("write");
    return syscall(SYS_sendfile, fd, from, at, n);
}
ssize_t sendfile(int fd, int from, off_t *at, size_t n) { return sendfile64(fd, from, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) {
    BY_FD("allocate");
    REAL(int, "posix_fallocate64");
    return real(fd, at, n);
}
int posix_fallocate(int fd, off_t at, off_t n) { return posix_fallocate64(fd, at, n); }
static int control(int fd, int command, long argument) {
    if (getenv("KILLS_NOLOCKS") && (command == F_SETLK || command == F_SETLKW)) {
        errno = ENOLCK;
        return -1;
    }
    return syscall(SYS_fcntl, fd, command, argument);
}
#define CONTROL(name) int name(int fd, int command, ...) { va_list more; va_start(more, command); \
    long argument = va_arg(more, long); va_end(more); return control(fd, command, argument); }
CONTROL(fcntl)
CONTROL(fcntl64)
int flock(int fd, int operation) {
    if (getenv("KILLS_NOLOCKS")) {
        errno = ENOLCK;
        return -1;
    }
    return syscall(SYS_flock, fd, operation);
}
int rename(const char *from, const char *to) { BY_PATH("rename", to); return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to); }
int unlink(const char *path) { BY_PATH("unlink", path); return syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
int rmdir(const char *path) { BY_PATH("rmdir", path); return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) { BY_PATH("mkdir", path); return syscall(SYS_mkdirat, AT_FDCWD, path, mode); }
