/* Records what was on disk at each fsync, for tests of power cuts.

   A file's bytes are safe when it was synced; a name is safe when its directory was. So each synced file is copied to
   files/INODE-BIRTH of the shadow directory, and each synced directory's names to the same place as NAME lines. With
   GATEMQ_SYNC_FAILS_AFTER=n every sync after the n-th fails with EIO. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static long syncs;

static void identity(int fd, const char *path, char *out, size_t size, unsigned *mode) {
    struct statx s;
    memset(&s, 0, sizeof s);
    if (statx(fd, path, path[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH, STATX_INO | STATX_BTIME | STATX_TYPE, &s)) out[0] = 0;
    else snprintf(out, size, "%llu-%lld-%u", (unsigned long long)s.stx_ino, (long long)s.stx_btime.tv_sec, s.stx_btime.tv_nsec);
    if (mode) *mode = s.stx_mode;
}

static void record(int fd) {
    const char *shadow = getenv("GATEMQ_SHADOW");
    const char *root = getenv("GATEMQ_SHADOW_OF");
    char link[64], path[4096], id[128], temporary[4300], target[4300], buffer[65536];
    unsigned mode;
    if (!shadow || !root) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return;
    path[n] = 0;
    if (strncmp(path, root, strlen(root))) return;
    identity(fd, "", id, sizeof id, &mode);
    if (!id[0]) return;
    snprintf(temporary, sizeof temporary, "%s/temporary", shadow);
    snprintf(target, sizeof target, "%s/%s", shadow, id);
    int out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0) return;
    if (S_ISDIR(mode)) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        while (dir && (entry = readdir(dir))) {
            unsigned kind;
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
            identity(dirfd(dir), entry->d_name, id, sizeof id, &kind);
            if (id[0]) dprintf(out, "%c %s %s\n", S_ISDIR(kind) ? 'd' : 'f', id, entry->d_name);
        }
        if (dir) closedir(dir);
    } else {
        int in = open(path, O_RDONLY);
        struct stat s;
        if (in >= 0 && !fstat(in, &s)) {
            /* Holes stay holes: journals are mostly set aside in advance. */
            off_t at = 0;
            while ((at = lseek(in, at, SEEK_DATA)) >= 0) {
                off_t end = lseek(in, at, SEEK_HOLE);
                while (at < end) {
                    size_t want = (size_t)(end - at) < sizeof buffer ? (size_t)(end - at) : sizeof buffer;
                    ssize_t got = pread(in, buffer, want, at);
                    if (got <= 0 || pwrite(out, buffer, got, at) != got) break;
                    at += got;
                }
                if (at < end) break;
            }
            if (ftruncate(out, s.st_size)) { /* The copy is shorter then, which the test sees. */ }
        }
        if (in >= 0) close(in);
    }
    close(out);
    rename(temporary, target);
}

static int sync_with(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *fails = getenv("GATEMQ_SYNC_FAILS_AFTER");
    pthread_mutex_lock(&one_at_a_time);
    int result;
    if (fails && syncs++ >= atol(fails)) {
        errno = EIO;
        result = -1;
    } else {
        /* The copy instead of the disk: it is what counts here. */
        result = getenv("GATEMQ_SHADOW") ? 0 : real(fd);
        record(fd);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return result;
}

int fsync(int fd) { return sync_with(fd, "fsync"); }
int fdatasync(int fd) { return sync_with(fd, "fdatasync"); }
