/* aquifer.h: the C interface of Aquifer, the keyed state under a stream processor.
 *
 * Licensed under the Apache License 2.0.
 *
 * THE SHAPE. An engine has shards, one per core. A store is the keyed state of one operator
 * subtask; it lives on one shard. A session is how one host thread talks to one shard: it submits
 * requests in batches and polls completions in batches. Whatever may wait for a disk is a request;
 * functions do not do I/O, except that aqf_poll waits as long as it is told to.
 *
 * CONVENTIONS
 *
 * Handles (aqf_engine, aqf_session, aqf_store, aqf_results) are numbers that are never reused. A
 *   handle that was closed, is of another kind or was never given is answered with AQF_BAD_HANDLE.
 *   Zero is never a handle.
 * Status. Functions return AQF_OK, or a negative status; aqf_last_error then has the cause and the
 *   remedy as text. Every completion has a status of its own: AQF_ABSENT (nothing there) is not an
 *   error, and AQF_OK with a length of zero is an empty value.
 * Structs begin with struct_size: set it to sizeof the struct (AQF_INIT does). A library of a later
 *   version reads shorter structs as this version did. Fields named reserved are zero.
 * Text is UTF-8. What a host passes has a length; what the library returns as `const char *` ends
 *   with a NUL and lives as long as the process, unless said otherwise.
 * Bytes that a host passes are copied before the function returns. A null pointer with the length
 *   zero is an empty string of bytes.
 * Results (values, handles of checkpoints, messages) are lent: they lie in memory of the library
 *   until aqf_release, or until the session is closed.
 *   A session for which 16 MiB of answers wait is not served further until they were polled, one
 *   value more may come; so a poll brings little more than that. What was polled and not released is
 *   the host's, beyond the memory budget.
 * Limits. A key with its namespace and map key has 2048 bytes, a value 16 MiB, the name of a state 1
 *   to 255 bytes; a store has 255 states, a shard 1024 stores (a restore takes the place of one more
 *   while it runs), an engine 1024 shards of at least 48 MiB of its memory. A session takes 16384
 *   requests in flight, and none while those have 64 MiB of keys and values. What exceeds a limit is
 *   refused with it.
 * Fields that an operation does not use are ignored.
 * Threads. Any thread may call any function. A session does one call at a time: a second thread
 *   meanwhile gets AQF_BUSY. aqf_session_wake, aqf_session_close and aqf_engine_close are the
 *   exceptions, which may be called while another thread polls.
 * Callbacks. What a host registers is called from threads of the library, never from a shard's; none
 *   of it may call the library, which answers AQF_INVALID then.
 * Order. Requests of one key take effect in the order of their submission, also inside a batch.
 * Fork. A child process of a process that opened an engine gets AQF_FORKED from every function that
 *   can fail, and cannot open an engine of its own; it may exec. aqf_abi_version, aqf_version,
 *   aqf_status_name, aqf_status_is_retryable and aqf_last_error work there too. Fork before the first
 *   engine is opened. The library installs no signal handler, starts no process, opens no port.
 */
#ifndef AQUIFER_H
#define AQUIFER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. It grows by one with every addition; a library serves programs
 * that were compiled with its own version and with all earlier ones down to AQF_ABI_OLDEST. */
#define AQF_ABI_VERSION 2u
#define AQF_ABI_OLDEST 1u

typedef uint64_t aqf_engine;
typedef uint64_t aqf_session;
typedef uint64_t aqf_store;
typedef uint64_t aqf_results;

/* How something ended. Numbers keep their meaning for ever; new ones may come. */
typedef int32_t aqf_status;
enum {
    AQF_OK = 0,               /* done; a value, if one was asked for, is there */
    AQF_ABSENT = 1,           /* nothing is there */
    AQF_EXISTS = 2,           /* said by a host's aqf_file_system alone: the object is there already */
    AQF_INVALID = -1,         /* the call or the request is wrong: mend the program */
    AQF_TOO_LARGE = -2,       /* a key, a value or a batch exceeds its limit */
    AQF_CORRUPT = -3,         /* bytes do not carry their checksum: restore an older checkpoint */
    AQF_IO = -4,              /* the disk or file system failed for longer than patience lasts */
    AQF_MISSING_OBJECT = -5,  /* an object of a checkpoint is gone */
    AQF_NO_SPACE = -6,        /* the file system is full */
    AQF_UNSUPPORTED = -7,     /* the kernel, the container or this version cannot do it */
    AQF_CLOSED = -8,          /* the engine or store was closed */
    AQF_POISONED = -9,        /* a broken invariant: restore from a checkpoint */
    AQF_NO_MEMORY = -10,      /* the memory budget is too small for the demand */
    AQF_BAD_HANDLE = -11,     /* not a handle, or one that was closed */
    AQF_BUSY = -12,           /* another thread uses the session */
    AQF_FORKED = -13,         /* called in a forked child: exec, or fork before an engine is opened */
    AQF_PANIC = -14,          /* a bug of the library; what it happened to is poisoned */
    AQF_BUFFER_TOO_SMALL = -15, /* the text does not fit; the length it needs was given */
    AQF_FENCED = -16,         /* another opening took the store over: this one commits no more */
    AQF_UNKNOWN_COMMIT = -17  /* a checkpoint was committed or not: the next opening finds out */
};

/* What a request does. The states of a store are of a kind, and each kind has its operations:
 *
 *            | value        | list                | map                  | reducing
 * AQF_GET    | its value    | its elements, items | the value of map_key | its number
 * AQF_PUT    | set it       | replace it by items | set map_key          | -
 * AQF_ADD    | -            | append one element  | -                    | fold a number
 * AQF_DELETE | remove it    | remove it           | remove map_key       | remove it
 * AQF_CLEAR  | -            | -                   | remove all, O(1)     | -
 * AQF_SCAN   | -            | -                   | entries above map_key, items | -
 *
 * Numbers are int64_t, eight bytes, little-endian. Items are what aqf_next_item reads and
 * aqf_put_item writes: for a scan map key and value in turn, `limit` entries at most, which is
 * at least 1 (4096 are given at most), and fewer once they have 1 MiB. AQF_MORE says that others may
 * follow: scan again with the last map key. A list of no items is one that is not there. */
enum {
    AQF_GET = 1,
    AQF_PUT = 2,
    AQF_ADD = 3,
    AQF_DELETE = 4,
    AQF_CLEAR = 5,
    AQF_SCAN = 6,
    /* About the store as a whole. Each takes effect behind what the session submitted before. */
    AQF_OPEN_STATE = 16, /* key: name of the state; limit: its kind, AQF_KIND_... The completion's
                          * number is the state's, which requests name. A restored store has the
                          * states of its checkpoint; opening them finds them. */
    AQF_RESTORE = 17,    /* value: the handle of a checkpoint, or several, one behind the other.
                          * Before the first state is opened. The checkpoints are of any stores;
                          * of them the store takes its own key groups, each of which exactly one
                          * must hold. Stores whose checkpoints are to be restored as one open the
                          * same states in the same order. If it fails, the store is as before, and
                          * can be restored from others. Until it completed, also requests for the
                          * store that were submitted behind it complete with AQF_INVALID: poll
                          * for its end first.
                          * A store with the option keep_checkpoints is restored without handles, and
                          * takes no other request before: it begins with the newest checkpoint that
                          * an opening of its number committed, empty if none did. Openings before
                          * it, wherever they are, commit no more: AQF_FENCED. AQF_UNSUPPORTED: the
                          * file system or object store does not let one of several writers of a name
                          * win. AQF_CORRUPT, AQF_MISSING_OBJECT: the newest cannot be read; the
                          * message names the root whose older ones may be. */
    AQF_CHECKPOINT = 18, /* Completes with a handle, at most 1 KiB: to keep it is the commit. With
                          * keep_checkpoints the store commits it, and deletes what it does not keep any
                          * more behind it; what a process leaves that ends before is for
                          * `aquifer scrub`. AQF_FENCED: it was not committed.
                          * AQF_UNKNOWN_COMMIT: that is not known. After either the store answers
                          * nothing any more: close it, and open it again. */
    AQF_RELEASE = 19,    /* value: a handle that is not kept any more; what only it needs is
                          * deleted, of what the store wrote since it was opened or claimed.
                          * A checkpoint that was aborted is released when its handle comes, and
                          * takes nothing from one that was begun meanwhile. Keep a handle
                          * as long as a store that was restored from it, or a handle of such a
                          * store, needs its objects (AQF_LIST_OBJECTS). */
    AQF_DRAIN = 20,      /* Completes when everything is flushed and merged. */
    AQF_LIST_OBJECTS = 21, /* value: a handle. Completes with text: for each object of the
                          * checkpoint a line with its bytes, a space and its path below the DFS
                          * root. */
    AQF_CLAIM = 22       /* value: handles, one behind the other, that earlier openings of the store
                          * completed. It takes their objects over: what only they keep is deleted
                          * as they are released, too. Pass all handles that are kept of those
                          * openings at once; nobody else may be open from them, and their key
                          * groups are all the store's. If it fails, nothing was claimed. */
};

/* What a state holds for each key and namespace. */
enum {
    AQF_KIND_VALUE = 1, /* one value */
    AQF_KIND_LIST = 2,  /* a sequence of elements; adding one needs no read. 16 MiB in all: an AQF_ADD
                         * that is seen to exceed them is AQF_TOO_LARGE and has no effect. As adding
                         * does not read, a list may exceed them unseen: then its AQF_GET is
                         * AQF_TOO_LARGE until it is deleted or put. Keep what grows so far in a
                         * map. */
    AQF_KIND_MAP = 3,   /* entries in the order of their map keys, which are not empty */
    AQF_KIND_SUM = 4,   /* a number: the wrapping sum of those added */
    AQF_KIND_MIN = 5,   /* the smallest of those added */
    AQF_KIND_MAX = 6    /* the largest of those added */
};

/* Key group of a request whose host leaves it to the engine: the hash of the key. */
#define AQF_KEY_GROUP_AUTO 0xffffffffu

/* One request. What its operation does not use is ignored, but keep it zero: a later version may use
 * it. */
typedef struct aqf_request {
    uint32_t struct_size;
    uint16_t op;        /* AQF_GET, ... */
    uint16_t state;     /* the number that AQF_OPEN_STATE gave */
    uint32_t key_group; /* AQF_KEY_GROUP_AUTO, or the host's own */
    uint32_t limit;     /* AQF_SCAN: most entries. AQF_OPEN_STATE: the kind */
    aqf_store store;
    uint64_t user_data; /* comes back in the completion */
    const void *key;
    const void *ns; /* namespace, such as a window; empty where none */
    const void *map_key;
    const void *value;
    uint32_t key_len; /* key, namespace and map key: 2048 bytes together at most */
    uint32_t ns_len;
    uint32_t map_key_len;
    uint32_t value_len; /* 16 MiB at most */
} aqf_request;

/* flags of a completion. */
enum {
    AQF_MORE = 1 /* AQF_SCAN: entries may follow */
};

/* The end of one request. */
typedef struct aqf_completion {
    uint32_t struct_size;
    aqf_status status;   /* AQF_OK, AQF_ABSENT or an error: then the request had no effect, except
                          * that with AQF_CLOSED, AQF_POISONED and
                          * AQF_UNKNOWN_COMMIT it is not known */
    uint64_t user_data;  /* the request's */
    const void *value;   /* lent; null where value_len is zero */
    const char *message; /* lent, no NUL; of an error, cause and remedy */
    uint32_t value_len;
    uint32_t message_len;
    uint32_t flags; /* AQF_MORE */
    uint32_t number; /* AQF_OPEN_STATE: the state */
} aqf_completion;

/* An option of aqf_engine_open or aqf_store_open. */
typedef struct aqf_option {
    uint32_t struct_size;
    uint32_t scope;            /* AQF_SCOPE_ENGINE or AQF_SCOPE_STORE */
    const char *name;          /* as in `name = value` */
    const char *type;          /* what its values are */
    const char *default_value; /* empty where it must be given */
    const char *doc;           /* one sentence */
} aqf_option;

enum { AQF_SCOPE_ENGINE = 1, AQF_SCOPE_STORE = 2 };

/* Zeros and the size; in C for a local: aqf_request r = AQF_INIT(aqf_request); */
#ifdef __cplusplus
} /* extern "C" */
template <typename T> inline T aqf_init() {
    T t = T();
    t.struct_size = static_cast<uint32_t>(sizeof(T));
    return t;
}
extern "C" {
#define AQF_INIT(type) (aqf_init<type>())
#else
#define AQF_INIT(type) { .struct_size = (uint32_t)sizeof(type) }
#endif

#if defined(__GNUC__) && !defined(AQF_API)
#define AQF_API __attribute__((visibility("default")))
#elif !defined(AQF_API)
#define AQF_API
#endif

/* ---- version, status, errors: no state, any time, never fail --------------------------------- */

/* AQF_OK if this library serves a program that was compiled with `abi_version`: pass
 * AQF_ABI_VERSION before anything else. AQF_UNSUPPORTED: the library is too old or too new. */
AQF_API aqf_status aqf_abi_check(uint32_t abi_version);

/* The interface version of the library, and the version of the engine, such as "0.1.0". */
AQF_API uint32_t aqf_abi_version(void);
AQF_API const char *aqf_version(void);

/* The name of a status, such as "AQF_CORRUPT"; "AQF_UNKNOWN" for a number that has none. */
AQF_API const char *aqf_status_name(aqf_status status);

/* 1 if the same call may succeed later without a change of the program (AQF_IO, AQF_NO_SPACE,
 * AQF_BUSY), else 0. */
AQF_API int aqf_status_is_retryable(aqf_status status);

/* Why the last call of this thread failed: cause and remedy. Writes at most `capacity` bytes with
 * the NUL, and returns the length without it. The text stays until another call of this thread
 * fails. */
AQF_API size_t aqf_last_error(char *buffer, size_t capacity);

/* ---- options, log ---------------------------------------------------------------------------- */

/* The option number `index`, from 0; AQF_ABSENT behind the last. The strings are static. */
AQF_API aqf_status aqf_option_at(uint32_t index, aqf_option *option);

/* Levels of the log: 1 errors (a thread that was left to itself, a store that is poisoned), 2 warnings
 * (io_uring or direct I/O is not allowed here; a flush, merge, opening, checkpoint or restore
 * failed), 3 what is worth knowing (an engine was opened, and how it reads; it was closed). Levels 4
 * and 5 are those of packages that the library is built of. A line is for people. */
typedef void (*aqf_log_fn)(void *context, int32_t level, const char *text, size_t text_len);

/* Has the library give what it logs, up to `level`, to `fn`, which is called from any thread, one
 * call at a time or several, never under a lock of a shard; `fn` may not call the library. A null
 * `fn` ends that; when the function returns, no call of the old `fn` runs or will run. Without it
 * the library logs nothing. */
AQF_API aqf_status aqf_set_log(aqf_log_fn fn, void *context, int32_t level);

/* ---- what a host lends ----------------------------------------------------------------------- */

/* A file system of the host, in which state lives under `dfs = host://NAME/PATH`. The functions may
 * block, and are called from many threads of the library at once (64 for an engine), which live for a
 * minute after their last call and receive no signals. A path is UTF-8, ends with a NUL and begins
 * with a slash: PATH, and below it the name of an object. Objects are never overwritten with other
 * bytes; their folders are to be made as they come.
 *
 * The functions return AQF_OK or why not, with cause and remedy as text in `why` if they like, at
 * most `why_size` bytes with the NUL. AQF_IO and AQF_BUSY: it may succeed in a moment, and is tried
 * again for ten seconds, or as long as the option `patience` says; AQF_MISSING_OBJECT: it is not
 * there (what must be there is asked for again for a minute); AQF_NO_SPACE; AQF_UNSUPPORTED;
 * AQF_INVALID, AQF_CORRUPT and AQF_TOO_LARGE stand. Any other status is taken for AQF_INVALID. A call
 * that takes longer than ten seconds has failed as with AQF_IO, whatever it returns later, and is
 * tried again too: with a patience of ten seconds a request that waits for a call which hangs ends
 * with AQF_IO after two calls, twenty seconds; so does each of the calls that a checkpoint makes for
 * its manifest, and with keep_checkpoints for its commit.
 * Flushes and merges are tried again whatever the status is, until the store is closed, for what
 * stands may be mended; a checkpoint, a drain or a write that waits for them ends with the status
 * once they have failed for as long as `patience` says. */
typedef struct aqf_file_system {
    uint32_t struct_size;
    uint32_t reserved;
    void *context; /* passed to each function */

    /* Takes `len` bytes of an object at `offset`, lent for the call. The pieces of an object come in
     * order, one call at a time; a single piece is the rule for small objects. `flags`: see
     * AQF_PUT_MORE. When the last piece was taken, the object is durable and visible to all readers,
     * and before it is not to be seen. `*word` is the host's from the first piece of an object (where
     * it is null) to the last call for it, which has no AQF_PUT_MORE. After an error the call with
     * AQF_PUT_GIVEN_UP follows; the object may come again, from its beginning. */
    aqf_status (*put)(void *context, void **word, const char *path, uint64_t offset,
                      const void *bytes, size_t len, uint32_t flags, char *why, size_t why_size);

    /* Fills `buffer` with up to `len` bytes at `offset`, and sets `*filled` to how many: it is called
     * again for the rest, and 0 means that the object ends there. The buffer is the library's, and is
     * not to be touched when the function has returned. */
    aqf_status (*read)(void *context, const char *path, uint64_t offset, void *buffer, size_t len,
                       size_t *filled, char *why, size_t why_size);

    /* Sets `*bytes` to the length of an object. */
    aqf_status (*size)(void *context, const char *path, uint64_t *bytes, char *why,
                       size_t why_size);

    /* Calls `add(to, ...)` for each object whose path begins with `prefix` (which ends with a slash),
     * until that does not return 0. `modified_s`: seconds since 1970, or -1. A folder that is not
     * there is AQF_OK with no objects. `add` is the one function of the library that may be called. */
    aqf_status (*list)(void *context, const char *prefix,
                       int (*add)(void *to, const char *path, size_t path_len, uint64_t bytes,
                                  int64_t modified_s),
                       void *to, char *why, size_t why_size);

    /* Deletes an object; AQF_OK also if it is not there. */
    aqf_status (*remove)(void *context, const char *path, char *why, size_t why_size);

    /* May be null; not in version 1. Gives a url that carries its own permission to get an object, such
     * as a presigned one, as text with a NUL, at most `size` bytes. `*expires_s`: when it ends, seconds
     * since 1970; leave it 0 if that is not known. AQF_ABSENT: there is none. Where io_uring is allowed,
     * shards then read the object by themselves, with GETs of ranges over HTTP/1.1, and `read` is called
     * for what these do not bring. Called behind the first read of an object that was opened, when its
     * url has ended, and when one is refused that served before; if it fails, or gives what cannot be
     * used, that is logged, once for a DFS, and `read` is called. An object whose url brought nothing or
     * wrong bytes is read by `read` as long as it is open. The url is of https, or of http on this
     * machine (elsewhere `dfs = host://NAME/PATH?plaintext=allowed` is needed); it has no user name and
     * no fragment, and is shown nowhere. */
    aqf_status (*url)(void *context, const char *path, char *url, size_t size, int64_t *expires_s,
                      char *why, size_t why_size);
} aqf_file_system;

/* flags of aqf_file_system.put. Without AQF_PUT_MORE the piece is the last; it may have no bytes. */
enum {
    AQF_PUT_MORE = 1,    /* other pieces follow, or one that gives up */
    AQF_PUT_NEW = 2,     /* answer AQF_EXISTS, and change nothing, if the object is there already, with
                          * one winner if several try at once; AQF_UNSUPPORTED if that cannot be
                          * promised. Such an object comes in one piece */
    AQF_PUT_GIVEN_UP = 4 /* no bytes: forget what came, and free what *word stands for. The status is
                          * ignored */
};

/* Lends a file system under a name of 1 to 64 letters, digits, - _ and . to engines that are opened
 * later; the struct is copied. A null `file_system` takes it back: AQF_OK says that no function runs
 * or will run. AQF_INVALID: the name is taken, or an engine still uses it. An engine stops to use it
 * when aqf_engine_close returns AQF_OK; with AQF_IO it still waits for a function to return, and the
 * context must live until it can be taken back. */
AQF_API aqf_status aqf_set_file_system(const char *name, size_t name_len,
                                       const aqf_file_system *file_system);

/* Gives credentials for a store (`place`, such as "s3://bucket/prefix/") as text with a NUL: lines
 * `NAME = value`, with the names that the option credential.NAME takes, at most `size` bytes.
 * `*expires_s`: when they end, seconds since 1970; leave it 0 if that is not known. Called before the
 * first request, a minute before they end, and when the store refuses them; at most once a second,
 * and one call at a time for an engine. Status and `why` as in aqf_file_system. If it fails, the last
 * credentials serve on while they last. Where there are none, requests that need some are tried again
 * after AQF_IO and AQF_BUSY, and end with any other status; with AQF_INVALID if it is
 * AQF_MISSING_OBJECT or AQF_CORRUPT, which are of objects, or if the text is no credentials. */
typedef aqf_status (*aqf_credentials_fn)(void *context, const char *place, char *text, size_t size,
                                         int64_t *expires_s, char *why, size_t why_size);

/* Lends a source of credentials under a name, for engines with the option `credentials = NAME`. A
 * null `fn` takes it back, as for aqf_set_file_system. */
AQF_API aqf_status aqf_set_credentials(const char *name, size_t name_len, aqf_credentials_fn fn,
                                       void *context);

/* ---- engine ---------------------------------------------------------------------------------- */

/* Opens an engine. `options` is text: a line `name = value` for each option; empty lines and those
 * that begin with # are skipped. A name that does not exist is refused with the nearest one.
 * May block for a second where io_uring must be tried. */
AQF_API aqf_status aqf_engine_open(const char *options, size_t options_len, aqf_engine *engine);

/* Ends the engine within about `timeout_ms`. What its sessions still wait for completes with
 * AQF_CLOSED; they can be polled for that, and are to be closed. AQF_IO: a disk does not answer,
 * or a function that the host lent, and a thread was left to itself. The handle is void in any
 * case. */
AQF_API aqf_status aqf_engine_close(aqf_engine engine, uint32_t timeout_ms);

/* The effective options, as aqf_engine_open takes them, without credentials. Writes at most `capacity` bytes with the
 * NUL; `length` (may be null) gets the length without it. AQF_BUFFER_TOO_SMALL: nothing whole was
 * written. */
AQF_API aqf_status aqf_engine_options(aqf_engine engine, char *buffer, size_t capacity,
                                      size_t *length);

/* What the engine did and holds, as JSON of the schema "aquifer-statistics/1", for each shard: requests
 * by state, hits by tier, joins, reads, jobs and what they are behind, memory by purpose against
 * the budget, latencies, time that sessions waited. From any thread; inline shards give what they
 * published at their last turn, with its age. Text as for aqf_engine_options. */
AQF_API aqf_status aqf_engine_statistics(aqf_engine engine, char *buffer, size_t capacity,
                                         size_t *length);

/* ---- sessions -------------------------------------------------------------------------------- */

/* A session to shard number `shard`. With `thread = inline` the session is the shard, and there is
 * one: the shard works while the host is inside aqf_poll. */
AQF_API aqf_status aqf_session_open(aqf_engine engine, uint32_t shard, aqf_session *session);

/* Closes a session, its lent results included. What it has in flight takes effect or not, and
 * completes nowhere: poll until nothing is pending, or close the engine first. An inline shard ends
 * with its session. A poll of another thread returns with AQF_CLOSED. */
AQF_API aqf_status aqf_session_close(aqf_session session);

/* Has the aqf_poll that another thread is in, or the next one, return without waiting. */
AQF_API aqf_status aqf_session_wake(aqf_session session);

/* An eventfd for event loops, valid as long as the session. The host polls it for input and never
 * reads it. */
AQF_API aqf_status aqf_session_doorbell(aqf_session session, int *fd);

/* To be called before an event loop sleeps, after an aqf_poll that gave nothing. AQF_OK: sleep;
 * the doorbell becomes readable when there is something to poll for. `timeout_ns` is how long at
 * most, -1 for ever: inline shards have deadlines of their own; then poll. AQF_ABSENT: do not
 * sleep, poll now. */
AQF_API aqf_status aqf_session_arm(aqf_session session, int64_t *timeout_ns);

/* ---- stores ---------------------------------------------------------------------------------- */

/* Opens an empty store on the session's shard; AQF_RESTORE fills it. `options` is text as for
 * aqf_engine_open. Requests of any session to the same shard may name the store. Waits for the
 * shard, not for I/O. */
AQF_API aqf_status aqf_store_open(aqf_session session, const char *options, size_t options_len,
                                  aqf_store *store);

/* Closes a store: what it holds since its last checkpoint is forgotten, and what waits for it
 * completes with AQF_CLOSED. Waits for the shard, not for I/O. */
AQF_API aqf_status aqf_store_close(aqf_session session, aqf_store store);

/* The key group of a key, for a host that routes keys to stores itself. `key_groups`: 1 to 32768,
 * the store's option; `key_group` gets 0 to key_groups - 1. */
AQF_API aqf_status aqf_key_group(const void *key, size_t key_len, uint32_t key_groups,
                                 uint32_t *key_group);

/* ---- requests -------------------------------------------------------------------------------- */

/* Takes requests from the front of an array, `accepted` of `count`: as many as may be in flight
 * (16384, and no more once they have 64 MiB of keys and values). The others are the host's to submit again after a poll. Never waits. Every accepted
 * request completes exactly once; one that is wrong, also by its struct_size, which is the first's
 * for all, completes with its error, and the others go on. When the call itself fails (a null
 * pointer, a wrong struct_size of the first), none was taken, and `accepted` is 0. */
AQF_API aqf_status aqf_submit(aqf_session session, const aqf_request *requests, size_t count,
                              size_t *accepted);

/* Fills `completions` (the first has struct_size set, which is that of all) with up to `capacity`
 * completions in the order in which the requests ended, `count` of them. If none is there and
 * requests are pending, waits for `timeout_ns` at most: 0 not at all, -1 as long as it takes.
 * `results` gets what to release when the values and messages were read; zero if there are none. */
AQF_API aqf_status aqf_poll(aqf_session session, aqf_completion *completions, size_t capacity,
                            int64_t timeout_ns, size_t *count, aqf_results *results);

/* Gives results back; any order. */
AQF_API aqf_status aqf_release(aqf_session session, aqf_results results);

/* Items stand one behind the other, each as its length and so many bytes. The length is in base 128,
 * the lowest seven bits first, with 128 added to each byte but its last, in no more bytes than it
 * needs: one up to 127, two up to 16383. */

/* Reads the item at `*at`, of which `*left` bytes are left, and moves both behind it. `item` lies
 * inside those bytes. AQF_ABSENT: there are no more. AQF_INVALID: these bytes are not items. */
AQF_API aqf_status aqf_next_item(const void **at, size_t *left, const void **item,
                                 size_t *item_len);

/* Writes an item at `*at`, where `*left` bytes are free, and moves both behind it: for the value of an
 * AQF_PUT to a list. It takes its length and at most four bytes. AQF_BUFFER_TOO_SMALL: it does not
 * fit, and nothing was written. */
AQF_API aqf_status aqf_put_item(void **at, size_t *left, const void *item, size_t item_len);

#ifdef __cplusplus
}
#endif
#endif
