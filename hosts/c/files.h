/* A file system of a host: plain files of POSIX below the folder that begins the path. What an
 * engine writes under `dfs = host://files/tmp/state` lies where `dfs = file:///tmp/state` reads it. */
#ifndef FILES_H
#define FILES_H
#include <aquifer.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_PATH_MAX = 4096 };

/* An object that is being written, under another name until it is whole. */
typedef struct { int fd; char draft[FILES_PATH_MAX]; } files_upload;

static aqf_status files_failed(const char *path, char *why, size_t why_size) {
    aqf_status status = errno == ENOENT ? AQF_MISSING_OBJECT : errno == ENOSPC ? AQF_NO_SPACE : AQF_IO;
    snprintf(why, why_size, "%s: %s", path, strerror(errno));
    return status;
}

/* Makes what is new of the object's name durable: its folders, each in the one above. */
static int files_sync_folders(const char *path) {
    char folder[FILES_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    for (int levels = 3; levels > 0; levels--) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder) return 0;
        *slash = 0;
        int fd = open(folder, O_RDONLY | O_DIRECTORY), synced = fd < 0 ? -1 : fsync(fd);
        if (fd >= 0) close(fd);
        if (synced) return -1;
    }
    return 0;
}

static int files_make_folders(const char *path) {
    char folder[FILES_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *at = strchr(folder + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(folder, 0777) && errno != EEXIST) return -1;
        *at = '/';
    }
    return 0;
}

static files_upload *files_begin(const char *path) {
    static unsigned long count;
    unsigned long number = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    files_upload *upload = malloc(sizeof *upload);
    if (!upload || files_make_folders(path)) return free(upload), NULL;
    int len = snprintf(upload->draft, sizeof upload->draft, "%s.%ld-%lu", path, (long)getpid(), number);
    upload->fd = len < FILES_PATH_MAX ? open(upload->draft, O_WRONLY | O_CREAT | O_EXCL, 0666) : -1;
    if (upload->fd < 0) return free(upload), NULL;
    return upload;
}

static void files_forget(files_upload *upload, void **word) {
    if (!upload) return;
    if (upload->fd >= 0) close(upload->fd);
    unlink(upload->draft);
    free(upload);
    *word = NULL;
}

static aqf_status files_put(void *context, void **word, const char *path, uint64_t offset,
                            const void *bytes, size_t len, uint32_t flags, char *why,
                            size_t why_size) {
    (void)context;
    if (flags & AQF_PUT_GIVEN_UP) return files_forget(*word, word), AQF_OK;
    if (!*word && !(*word = files_begin(path))) return files_failed(path, why, why_size);
    files_upload *upload = *word;
    for (size_t at = 0; at < len;) {
        ssize_t written = pwrite(upload->fd, (const char *)bytes + at, len - at, (off_t)(offset + at));
        if (written < 0 && errno != EINTR) return files_failed(upload->draft, why, why_size);
        at += written < 0 ? 0 : (size_t)written;
    }
    if (flags & AQF_PUT_MORE) return AQF_OK;
    if (fsync(upload->fd)) return files_failed(upload->draft, why, why_size);
    /* A link takes no name that is taken, and an object that is there has the same bytes. */
    int there = link(upload->draft, path) && errno == EEXIST;
    if (!there && access(path, F_OK)) return files_failed(path, why, why_size);
    if (files_sync_folders(path)) return files_failed(path, why, why_size);
    files_forget(upload, word);
    return there && flags & AQF_PUT_NEW ? AQF_EXISTS : AQF_OK;
}

static aqf_status files_read(void *context, const char *path, uint64_t offset, void *buffer,
                             size_t len, size_t *filled, char *why, size_t why_size) {
    (void)context;
    int fd = open(path, O_RDONLY);
    ssize_t count = fd < 0 ? -1 : pread(fd, buffer, len, (off_t)offset);
    aqf_status status = count < 0 ? files_failed(path, why, why_size) : AQF_OK;
    if (fd >= 0) close(fd);
    *filled = count < 0 ? 0 : (size_t)count;
    return status;
}

static aqf_status files_size(void *context, const char *path, uint64_t *bytes, char *why,
                             size_t why_size) {
    struct stat found;
    (void)context;
    if (stat(path, &found)) return files_failed(path, why, why_size);
    *bytes = (uint64_t)found.st_size;
    return AQF_OK;
}

/* Objects lie two folders deep below the prefix of a list, so a folder is listed in turn. */
static aqf_status files_list(void *context, const char *prefix,
                             int (*add)(void *, const char *, size_t, uint64_t, int64_t), void *to,
                             char *why, size_t why_size) {
    DIR *all = opendir(prefix);
    aqf_status status = AQF_OK;
    if (!all) return errno == ENOENT ? AQF_OK : files_failed(prefix, why, why_size);
    for (struct dirent *one; status == AQF_OK && (one = readdir(all));) {
        char path[FILES_PATH_MAX];
        struct stat found;
        if (one->d_name[0] == '.') continue;
        int len = snprintf(path, sizeof path, "%s%s", prefix, one->d_name);
        if (len + 1 >= FILES_PATH_MAX || stat(path, &found)) continue;
        if (S_ISDIR(found.st_mode)) {
            strcat(path, "/");
            status = files_list(context, path, add, to, why, why_size);
        } else if (add(to, path, (size_t)len, (uint64_t)found.st_size, found.st_mtime)) {
            break;
        }
    }
    closedir(all);
    return status;
}

static aqf_status files_remove(void *context, const char *path, char *why, size_t why_size) {
    (void)context;
    return unlink(path) && errno != ENOENT ? files_failed(path, why, why_size) : AQF_OK;
}

static const aqf_file_system files = {
    .struct_size = sizeof(aqf_file_system),
    .put = files_put,
    .read = files_read,
    .size = files_size,
    .list = files_list,
    .remove = files_remove,
};
#endif
