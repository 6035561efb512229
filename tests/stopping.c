/* A library to be preloaded: it stops its process (SIGSTOP) before the n-th call of the main thread that changes
   something in a folder or looks for it, as a suspended laptop or a file server that hangs would. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char root[4096];
static long seen, stop_at;

void stopping_arm(const char *folder, long at)
{
    snprintf(root, sizeof root, "%s", folder);
    seen = 0;
    stop_at = at;
}

long stopping_seen(void) { return seen; }

static void touch(const char *path)
{
    if (!*root || strncmp(path, root, strlen(root)) || syscall(SYS_gettid) != getpid())
        return;
    if (++seen == stop_at)
        kill(getpid(), SIGSTOP);
}

static void touch_of(int descriptor)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        touch(path);
    }
}

static void touch_at(int folder, const char *path)
{
    if (*path == '/' || folder == AT_FDCWD)
        touch(path);
    else
        touch_of(folder);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = va_arg(rest, mode_t);                                                                            \
        va_end(rest);                                                                                                  \
        touch(path);                                                                                                   \
        return REAL(name)(path, flags, mode);                                                                          \
    }
OPEN(open)
OPEN(open64)

#define LOOK(name, type)                                                                                               \
    int name(const char *path, type *found) { touch(path); return REAL(name)(path, found); }
LOOK(stat, struct stat)
LOOK(lstat, struct stat)
LOOK(stat64, struct stat64)
LOOK(lstat64, struct stat64)

#define LOOK_AT(name, type)                                                                                            \
    int name(int folder, const char *path, type *found, int flags)                                                     \
    {                                                                                                                  \
        touch_at(folder, path);                                                                                        \
        return REAL(name)(folder, path, found, flags);                                                                 \
    }
LOOK_AT(fstatat, struct stat)
LOOK_AT(fstatat64, struct stat64)

DIR *opendir(const char *path) { touch(path); return REAL(opendir)(path); }
int access(const char *path, int mode) { touch(path); return REAL(access)(path, mode); }
int rename(const char *from, const char *to) { touch(from); return REAL(rename)(from, to); }
int link(const char *from, const char *to) { touch(to); return REAL(link)(from, to); }
int mkdir(const char *path, mode_t mode) { touch(path); return REAL(mkdir)(path, mode); }
int rmdir(const char *path) { touch(path); return REAL(rmdir)(path); }
int unlink(const char *path) { touch(path); return REAL(unlink)(path); }
int unlinkat(int folder, const char *path, int flags) { touch_at(folder, path); return REAL(unlinkat)(folder, path, flags); }
int fsync(int descriptor) { touch_of(descriptor); return REAL(fsync)(descriptor); }
int ftruncate(int descriptor, off_t length) { touch_of(descriptor); return REAL(ftruncate)(descriptor, length); }
ssize_t write(int descriptor, const void *bytes, size_t count) { touch_of(descriptor); return REAL(write)(descriptor, bytes, count); }
