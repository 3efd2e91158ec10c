/* Loaded before the C library: the call with the number FAULT_AT of those named in FAULT_CALL fails with FAULT_ERRNO, and so do all
 * after it where FAULT_LASTS is set; where FAULT_WAIT_MS is set they take so long instead. Where FAULT_FILE is set, calls count from when
 * there is such a file. At its end the process says on descriptor 1 how many there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int fails(const char *call) {
    const char *named = getenv("FAULT_CALL");
    if (named == NULL || strcmp(named, call) != 0) return 0;
    const char *file = getenv("FAULT_FILE");
    if (file != NULL && access(file, F_OK) != 0) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1, at = atol(getenv("FAULT_AT"));
    if (number != at && !(number > at && getenv("FAULT_LASTS") != NULL)) return 0;
    const char *wait_ms = getenv("FAULT_WAIT_MS");
    if (wait_ms != NULL) {
        usleep((useconds_t)atoi(wait_ms) * 1000);
        return 0;
    }
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    /* Half of it reaches the file: the worst that a disk may do. */
    if (fails("pwrite")) {
        int error = errno;
        REAL(pwrite64)(file, bytes, length / 2, at);
        errno = error;
        return -1;
    }
    return REAL(pwrite64)(file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return pwrite64(file, bytes, length, at); }

int fdatasync(int file) { return fails("fdatasync") ? -1 : REAL(fdatasync)(file); }

int fsync(int file) { return fails("fsync") ? -1 : REAL(fsync)(file); }

int fallocate64(int file, int mode, off64_t from, off64_t length) {
    return fails("fallocate") ? -1 : REAL(fallocate64)(file, mode, from, length);
}

int fallocate(int file, int mode, off_t from, off_t length) { return fallocate64(file, mode, from, length); }

int rename(const char *from, const char *to) { return fails("rename") ? -1 : REAL(rename)(from, to); }

__attribute__((destructor)) static void tell(void) {
    if (getenv("FAULT_FILE") == NULL) dprintf(1, "CALLS %ld\n", atomic_load(&calls));
}
