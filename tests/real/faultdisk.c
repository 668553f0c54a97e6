// A file system that passes everything on to a folder, and fails when it is told to.
//
//   faultdisk FOLDER MOUNTPOINT [libfuse options]
//
// Writing to MOUNTPOINT/.fault arms it, and reading tells what came by since:
//
//   "sync 7 eio"      the 7th fsync fails
//   "sync 7 slow"     takes 300 ms
//   "write 7 enospc"  the 7th write fails
//   "write 7 eio"     the same, with another error
//   "write 7 short"   writes half and says so
//   "write 7 torn"    writes half and fails
//   "none"            counts only; reading tells the file of the last fault, too
//   "crash"           forgets all that was not synced, as a loss of power would: bytes since
//                     the last fsync of their file, names since the last fsync of their folder
//
// Only segments and files of the log's kind count: what is in a folder named shard-*.
//
// Unsynced changes are kept as the steps that undo them, newest last. It runs in one thread.

#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int root;
static long writes, syncs, fired;
static char what[16], how[16];
static long at;
static char fired_on[160];

enum kind { BYTES, LENGTH, CREATED, RENAMED, REMOVED };

struct undo {
    enum kind kind;
    struct undo *older;
    char *path;   // BYTES, LENGTH: which file. CREATED: what to remove. RENAMED: where it is now.
    char *other;  // RENAMED: where it was. REMOVED: under which name it is kept.
    long from;
    long length;
    char *bytes;
};
static struct undo *newest;
static long kept_count;

static const char *rel(const char *path) { return path[1] ? path + 1 : "."; }
static int is_control(const char *path) { return strcmp(path, "/.fault") == 0; }
static int counts(const char *path) { return strstr(path, "/shard-") != NULL; }

static char *parent(const char *path) {
    char *copy = strdup(path);
    char *slash = strrchr(copy, '/');
    if (slash) *slash = 0; else strcpy(copy, ".");
    return copy;
}

static struct undo *remember(enum kind kind, const char *path) {
    struct undo *undo = calloc(1, sizeof *undo);
    if (!undo) abort();
    undo->kind = kind;
    undo->path = strdup(path);
    undo->older = newest;
    newest = undo;
    return undo;
}

static void forget(struct undo **link) {
    struct undo *undo = *link;
    *link = undo->older;
    free(undo->path);
    free(undo->other);
    free(undo->bytes);
    free(undo);
}

// What was done to the bytes of a file now lasts.
static void file_lasts(const char *path) {
    struct undo **link = &newest;
    while (*link) {
        struct undo *undo = *link;
        if ((undo->kind == BYTES || undo->kind == LENGTH) && strcmp(undo->path, path) == 0)
            forget(link);
        else
            link = &undo->older;
    }
}

static int lies_in(const char *path, const char *folder) {
    char *its = parent(path);
    int is = strcmp(its, folder) == 0;
    free(its);
    return is;
}

// The names in a folder now last.
static void names_last(const char *folder) {
    struct undo **link = &newest;
    while (*link) {
        struct undo *undo = *link;
        int is_name = undo->kind == CREATED || undo->kind == RENAMED || undo->kind == REMOVED;
        if (is_name && lies_in(undo->path, folder)) {
            if (undo->kind == REMOVED) unlinkat(root, undo->other, 0);
            forget(link);
        } else {
            link = &undo->older;
        }
    }
}

// A file has another name: the steps that undo its bytes are about that one.
static void follow(const char *from, const char *to) {
    for (struct undo *undo = newest; undo; undo = undo->older)
        if ((undo->kind == BYTES || undo->kind == LENGTH) && strcmp(undo->path, from) == 0) {
            free(undo->path);
            undo->path = strdup(to);
        }
}

static void lose_power(void) {
    while (newest) {
        struct undo *undo = newest;
        int file;
        switch (undo->kind) {
        case BYTES:
        case LENGTH:
            file = openat(root, undo->path, O_RDWR);
            if (file >= 0) {
                if (undo->kind == BYTES && pwrite(file, undo->bytes, undo->length, undo->from) < 0)
                    abort();
                if (undo->kind == LENGTH && ftruncate(file, undo->length) < 0) abort();
                close(file);
            }
            break;
        case CREATED:
            if (unlinkat(root, undo->path, 0) < 0) unlinkat(root, undo->path, AT_REMOVEDIR);
            break;
        case RENAMED:
            renameat(root, undo->path, root, undo->other);
            follow(undo->path, undo->other);
            break;
        case REMOVED:
            renameat(root, undo->other, root, undo->path);
            follow(undo->other, undo->path);
            break;
        }
        forget(&newest);
    }
}

static int is_due(const char *kind, long count, const char *path) {
    if (strcmp(what, kind) || count != at) return 0;
    fired++;
    snprintf(fired_on, sizeof fired_on, "%s", strrchr(path, '/') + 1);
    return 1;
}

static void control(const char *text, size_t size) {
    char line[64] = {0};
    memcpy(line, text, size < 63 ? size : 63);
    writes = syncs = fired = at = 0;
    what[0] = how[0] = fired_on[0] = 0;
    if (strncmp(line, "crash", 5) == 0) lose_power();
    else sscanf(line, "%15s %ld %15s", what, &at, how);
}

static int f_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
    (void)fi;
    if (is_control(path)) {
        memset(st, 0, sizeof *st);
        st->st_mode = S_IFREG | 0666;
        st->st_nlink = 1;
        st->st_size = 256;
        return 0;
    }
    return fstatat(root, rel(path), st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int f_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
                     struct fuse_file_info *fi, enum fuse_readdir_flags flags) {
    (void)off; (void)fi; (void)flags;
    int fd = openat(root, rel(path), O_RDONLY | O_DIRECTORY);
    if (fd < 0) return -errno;
    DIR *dir = fdopendir(fd);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strncmp(entry->d_name, ".kept-", 6)) fill(buf, entry->d_name, NULL, 0, 0);
    closedir(dir);
    return 0;
}

static int f_open(const char *path, struct fuse_file_info *fi) {
    if (is_control(path)) {
        fi->direct_io = 1;
        fi->fh = (uint64_t)-1;
        return 0;
    }
    int was = openat(root, rel(path), O_RDONLY);
    if (was >= 0 && (fi->flags & O_TRUNC)) {
        struct stat st;
        fstat(was, &st);
        if (st.st_size) {
            // The length is undone last, so it is remembered after the bytes are.
            struct undo *undo = remember(BYTES, rel(path));
            undo->length = st.st_size;
            undo->bytes = malloc(st.st_size);
            if (pread(was, undo->bytes, st.st_size, 0) < 0) abort();
        }
        remember(LENGTH, rel(path))->length = st.st_size;
    }
    if (was >= 0) close(was);
    // The buffers here are not aligned as O_DIRECT wants them.
    int fd = openat(root, rel(path), (fi->flags & ~(O_DIRECT | O_APPEND)) | O_CLOEXEC);
    if (fd < 0) return -errno;
    fi->fh = fd;
    return 0;
}

static int f_create(const char *path, mode_t mode, struct fuse_file_info *fi) {
    int fd = openat(root, rel(path), (fi->flags & ~(O_DIRECT | O_APPEND)) | O_CREAT | O_CLOEXEC,
                    mode);
    if (fd < 0) return -errno;
    remember(CREATED, rel(path));
    fi->fh = fd;
    return 0;
}

static int f_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi) {
    if (is_control(path)) {
        char text[256];
        int length = snprintf(text, sizeof text, "writes %ld syncs %ld fired %ld on %s\n", writes,
                              syncs, fired, fired_on);
        if (off >= length) return 0;
        if ((size_t)(length - off) < size) size = length - off;
        memcpy(buf, text + off, size);
        return size;
    }
    ssize_t got = pread(fi->fh, buf, size, off);
    return got < 0 ? -errno : got;
}

static int f_write(const char *path, const char *buf, size_t size, off_t off,
                   struct fuse_file_info *fi) {
    if (is_control(path)) {
        control(buf, size);
        return size;
    }
    int fails = counts(path) && is_due("write", ++writes, path);
    if (fails && strcmp(how, "enospc") == 0) return -ENOSPC;
    if (fails && strcmp(how, "eio") == 0) return -EIO;
    if (fails) size /= 2;
    struct stat st;
    fstat(fi->fh, &st);
    if (off < st.st_size) {
        long end = off + (long)size < st.st_size ? off + (long)size : st.st_size;
        char *old = malloc(end - off);
        int own = openat(root, rel(path), O_RDONLY);
        if (!old || own < 0 || pread(own, old, end - off, off) < 0) abort();
        close(own);
        struct undo *undo = remember(BYTES, rel(path));
        undo->from = off;
        undo->length = end - off;
        undo->bytes = old;
    }
    if (off + (long)size > st.st_size) remember(LENGTH, rel(path))->length = st.st_size;
    ssize_t put = pwrite(fi->fh, buf, size, off);
    if (put < 0) return -errno;
    return fails && strcmp(how, "torn") == 0 ? -EIO : put;
}

static int f_fsync(const char *path, int datasync, struct fuse_file_info *fi) {
    (void)datasync; (void)fi;
    if (counts(path) && is_due("sync", ++syncs, path)) {
        // The real sync does not happen: the kernel has dropped what it could not write.
        if (strcmp(how, "eio") == 0) return -EIO;
        struct timespec pause = {0, 300 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    file_lasts(rel(path));
    return 0;
}

static int f_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi) {
    (void)datasync; (void)fi;
    names_last(rel(path));
    return 0;
}

static int f_release(const char *path, struct fuse_file_info *fi) {
    if (!is_control(path)) close(fi->fh);
    return 0;
}

static int f_truncate(const char *path, off_t size, struct fuse_file_info *fi) {
    (void)fi;
    if (is_control(path)) return 0;
    int fd = openat(root, rel(path), O_RDWR);
    if (fd < 0) return -errno;
    struct stat st;
    fstat(fd, &st);
    if (size < st.st_size) {
        struct undo *undo = remember(BYTES, rel(path));
        undo->from = size;
        undo->length = st.st_size - size;
        undo->bytes = malloc(undo->length);
        if (pread(fd, undo->bytes, undo->length, size) < 0) abort();
    }
    remember(LENGTH, rel(path))->length = st.st_size;
    int result = ftruncate(fd, size) < 0 ? -errno : 0;
    close(fd);
    return result;
}

static int f_unlink(const char *path) {
    char kept[4096];
    char *folder = parent(rel(path));
    snprintf(kept, sizeof kept, "%s/.kept-%ld", folder, kept_count++);
    free(folder);
    if (renameat(root, rel(path), root, kept) < 0) return -errno;
    follow(rel(path), kept);
    remember(REMOVED, rel(path))->other = strdup(kept);
    return 0;
}

static int f_rename(const char *from, const char *to, unsigned flags) {
    if (flags) return -EINVAL;
    if (faccessat(root, rel(to), F_OK, 0) == 0) {
        int result = f_unlink(to);
        if (result) return result;
    }
    if (renameat(root, rel(from), root, rel(to)) < 0) return -errno;
    follow(rel(from), rel(to));
    remember(RENAMED, rel(to))->other = strdup(rel(from));
    return 0;
}

static int f_mkdir(const char *path, mode_t mode) {
    if (mkdirat(root, rel(path), mode) < 0) return -errno;
    remember(CREATED, rel(path));
    return 0;
}

// What was kept of removed files goes with its folder.
static int f_rmdir(const char *path) {
    int fd = openat(root, rel(path), O_RDONLY | O_DIRECTORY);
    if (fd < 0) return -errno;
    names_last(rel(path));
    close(fd);
    return unlinkat(root, rel(path), AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int f_chmod(const char *path, mode_t mode, struct fuse_file_info *fi) {
    (void)fi;
    return fchmodat(root, rel(path), mode, 0) < 0 ? -errno : 0;
}

static int f_utimens(const char *path, const struct timespec tv[2], struct fuse_file_info *fi) {
    (void)fi;
    return utimensat(root, rel(path), tv, 0) < 0 ? -errno : 0;
}

static int f_fallocate(const char *path, int mode, off_t off, off_t length,
                       struct fuse_file_info *fi) {
    struct stat st;
    fstat(fi->fh, &st);
    if (off + length > st.st_size) remember(LENGTH, rel(path))->length = st.st_size;
    return fallocate(fi->fh, mode, off, length) < 0 ? -errno : 0;
}

static const struct fuse_operations operations = {
    .getattr = f_getattr, .readdir = f_readdir, .open = f_open, .create = f_create,
    .read = f_read, .write = f_write, .fsync = f_fsync, .fsyncdir = f_fsyncdir,
    .release = f_release, .truncate = f_truncate, .unlink = f_unlink, .rename = f_rename,
    .mkdir = f_mkdir, .rmdir = f_rmdir, .chmod = f_chmod, .utimens = f_utimens,
    .fallocate = f_fallocate,
};

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "faultdisk FOLDER MOUNTPOINT [options]\n");
        return 2;
    }
    root = open(argv[1], O_RDONLY | O_DIRECTORY);
    if (root < 0) {
        perror(argv[1]);
        return 1;
    }
    argv[1] = argv[0];
    return fuse_main(argc - 1, argv + 1, &operations, NULL);
}
