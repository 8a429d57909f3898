/* Calls libaquifer at random, rightly and wrongly, from three threads.
 *
 *     fuzz FIRST COUNT FOLDER
 *
 * A sequence is what a seed draws: an engine with a session and a store, some hundred calls of
 * every function with handles that are good, closed, foreign or never given, null and odd pointers,
 * lengths above the limits with one byte behind them, sizes of structs that no header has; threads
 * on the same sessions and on others, closes while others poll, forks. Each call must return a
 * known status; a request that was accepted completes once; lent bytes can be read until they are
 * released; a sequence leaves no descriptor behind. Whatever breaks that aborts and names the seed;
 * a call that does not return is stopped by an alarm. The end prints how often each status came. */
#define _GNU_SOURCE
#include <aquifer.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, ENGINES = 3, SESSIONS = 4, STORES = 4, OLD = 64, LENT = 32, KEPT = 8 };
enum { REQUESTS = 24, TOKENS = 1 << 15, STATUSES = 17, ALARM_SECONDS = 300, FD_SECONDS = 60 };

typedef struct {
    _Atomic aqf_session handle;
    atomic_ulong accepted, completed;
    pthread_mutex_t reading; /* lent bytes are read under it, and a close begins under it */
    int closing;
} session_slot;

typedef struct { aqf_session session; aqf_results results; } lent;

typedef struct {
    uint64_t random;
    const char *volatile calling;
    lent lent[LENT];
    size_t lent_count;
    void *scratch[6 * REQUESTS]; /* freed when the call has returned */
    size_t scratch_count;
} thread;

static _Atomic aqf_engine engines[ENGINES];
static _Atomic aqf_store stores[STORES];
static session_slot sessions[SESSIONS];
static uint64_t old[OLD]; /* handles of sequences before */
static size_t old_count;
static thread threads[THREADS];
static uint64_t seed;
static const char *folder;
static _Atomic uint32_t tokens;
static _Atomic uint8_t in_flight[TOKENS];
static atomic_ulong seen[STATUSES];
static struct { char bytes[1024]; uint32_t len; } kept[KEPT]; /* handles of checkpoints */
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what, long detail) {
    fprintf(stderr, "fuzz: seed %llu: %s (%ld); calling", (unsigned long long)seed, what, detail);
    for (int i = 0; i < THREADS; i++) fprintf(stderr, " %s", threads[i].calling);
    fprintf(stderr, "\n");
    abort();
}

static void on_alarm(int number) { fail("a call does not return", number); }

static uint64_t draw(thread *t) {
    t->random ^= t->random << 13, t->random ^= t->random >> 7, t->random ^= t->random << 17;
    return t->random * 0x2545f4914f6cdd1d;
}

static size_t below(thread *t, size_t end) { return (size_t)((draw(t) >> 33) % end); }
static int chance(thread *t, size_t percent) { return below(t, 100) < percent; }

/* Notes what a call returned; every failure has a text. */
static aqf_status returned(aqf_status status) {
    char text[8];
    if (!strcmp(aqf_status_name(status), "AQF_UNKNOWN")) fail("an unknown status", status);
    if (status == AQF_PANIC || status == AQF_POISONED || status == AQF_FORKED)
        fail(aqf_status_name(status), status);
    if (status < 0 && !aqf_last_error(text, sizeof text)) fail("a failure without text", status);
    if (status != AQF_ABSENT) seen[-status]++;
    return status;
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* So many bytes and not one more, that live until the call has returned. */
static void *bytes(thread *t, size_t len) {
    uint8_t *data = malloc(len ? len : 1);
    if (!data) fail("no memory", (long)len);
    for (size_t i = 0; i < len; i++) data[i] = (uint8_t)draw(t);
    t->scratch[t->scratch_count++] = data;
    return data;
}

static void forget(thread *t) {
    while (t->scratch_count > 0) free(t->scratch[--t->scratch_count]);
    t->calling = "-";
}

/* A handle: mostly the right one; it may be closed by now. */
static uint64_t handle(thread *t, uint64_t right) {
    size_t at = below(t, 100);
    if (at < 88) return right;
    if (at < 91) return engines[below(t, ENGINES)];
    if (at < 94) return sessions[below(t, SESSIONS)].handle;
    if (at < 96) return stores[below(t, STORES)];
    if (at < 98) return old_count ? old[below(t, old_count)] : 0;
    /* Of a kind or generation that nothing has. */
    return at < 99 ? right ^ 1ull << (40 + below(t, 24)) : 0 - (uint64_t)chance(t, 50);
}

static session_slot *slot_of(aqf_session session) {
    for (int i = 0; i < SESSIONS; i++)
        if (sessions[i].handle == session && session) return &sessions[i];
    return NULL;
}

/* Mostly the first, which is there from the beginning. */
static size_t one_of(thread *t, size_t count) { return chance(t, 60) ? 0 : below(t, count); }
static aqf_session a_session(thread *t) { return handle(t, sessions[one_of(t, SESSIONS)].handle); }
static aqf_store a_store(thread *t) { return handle(t, stores[one_of(t, STORES)]); }
static aqf_engine an_engine(thread *t) { return handle(t, engines[one_of(t, ENGINES)]); }

/* A place for a result, which is seldom null or odd. */
static void *place(thread *t, void *right) {
    size_t at = below(t, 60);
    return at == 0 ? NULL : at == 1 ? (char *)right + 1 : right;
}

/* Sets a pointer and its length: some bytes of a few values, or what no host should pass. */
static void some_bytes(thread *t, const void **data, uint32_t *len, size_t usual) {
    size_t at = below(t, 200);
    *len = (uint32_t)below(t, usual + 1);
    if (at == 0) {
        *data = NULL;
    } else if (at == 1) { /* above every limit: must not be read */
        *len = UINT32_MAX - (uint32_t)below(t, 1 << 20), *data = bytes(t, 1);
    } else if (at == 2) {
        *len = (16u << 20) + 1 + (uint32_t)below(t, 1 << 20), *data = bytes(t, 1);
    } else if (at == 3) {
        *len = 100000, *data = bytes(t, *len);
    } else {
        uint8_t *all = bytes(t, *len);
        *data = all;
        if (usual <= 4)
            for (size_t i = 0; i < *len; i++) all[i] = (uint8_t)('a' + all[i] % 3);
    }
}

static void some_handle(thread *t, aqf_request *r) {
    pthread_mutex_lock(&keeping);
    size_t at = below(t, KEPT);
    char *copy = bytes(t, r->value_len = kept[at].len);
    memcpy(copy, kept[at].bytes, r->value_len);
    pthread_mutex_unlock(&keeping);
    r->value = copy;
    if (r->value_len > 0 && chance(t, 20)) copy[below(t, r->value_len)] ^= 1 << below(t, 8);
    if (chance(t, 5)) r->value_len -= r->value_len > 0;
}

static aqf_request request(thread *t) {
    static const uint16_t ops[] = {1, 1, 2, 2, 3, 3, 3, 4, 5, 6, 6, 16, 17, 18, 19, 20, 21, 22, 99, 0};
    static const uint32_t sizes[] = {0, 4, 79, 81, 96, 1024, 1032, UINT32_MAX};
    aqf_request r = AQF_INIT(aqf_request);
    if (chance(t, 1)) r.struct_size = sizes[below(t, 8)];
    r.op = chance(t, 1) ? (uint16_t)draw(t) : ops[below(t, sizeof ops / sizeof *ops)];
    r.state = chance(t, 2) ? (uint16_t)draw(t) : (uint16_t)(1 + below(t, 7));
    r.key_group = chance(t, 90) ? AQF_KEY_GROUP_AUTO : (uint32_t)(draw(t) >> below(t, 32));
    r.limit = chance(t, 90) ? (uint32_t)below(t, 8) : (uint32_t)draw(t);
    r.store = a_store(t);
    some_bytes(t, &r.key, &r.key_len, 3);
    if (chance(t, 30)) some_bytes(t, &r.ns, &r.ns_len, 2);
    if (chance(t, 50)) some_bytes(t, &r.map_key, &r.map_key_len, 3);
    if (chance(t, 30)) some_bytes(t, &r.value, &r.value_len, 300);
    if (chance(t, 30)) r.value = bytes(t, 8), r.value_len = 8;
    if ((r.op >= AQF_RESTORE && r.op <= AQF_RELEASE) || r.op >= AQF_LIST_OBJECTS) some_handle(t, &r);
    uint32_t token = tokens++;
    if (token >= TOKENS) fail("more requests than tokens", token);
    in_flight[token] = 1;
    r.user_data = seed << 20 | token;
    return r;
}

static const char *engine_options(thread *t, char *text, size_t size) {
    static const char *const lines[] = {"", "shards = 2\nmemory = 96M", "# nothing", "shards = 99",
        "memory = 1", "thread = both", "no such", "dfs = ftp://x", "memory = 99999999999999999999T"};
    const char *thread = chance(t, 50) ? "inline" : "owned";
    const char *more = lines[chance(t, 90) ? below(t, 3) : below(t, 9)];
    const char *latency = chance(t, 30) ? "?latency=300us" : "";
    if (chance(t, 15))
        snprintf(text, size, "dfs = file://%s%s\nthread = %s\n%s", folder, latency, thread, more);
    else if (chance(t, 3))
        snprintf(text, size, "dfs = host://none/x\ncredentials = none\nthread = %s\n%s", thread, more);
    else
        snprintf(text, size, "dfs = memory://fuzz%s\nthread = %s\n%s", latency, thread, more);
    if (!strstr(more, "memory")) strcat(text, "\nmemory = 48M");
    return text;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void open_engine(thread *t) {
    char text[4096];
    aqf_engine engine;
    size_t at = below(t, ENGINES), len = strlen(engine_options(t, text, sizeof text));
    if (chance(t, 5)) len = below(t, 2) ? SIZE_MAX : below(t, len);
    char *exact = bytes(t, len == SIZE_MAX ? 1 : len);
    if (len != SIZE_MAX) memcpy(exact, text, len);
    if (engines[at]) return;
    if (!returned(aqf_engine_open(exact, len, &engine))) {
        uint64_t none = 0;
        if (!atomic_compare_exchange_strong(&engines[at], &none, engine))
            returned(aqf_engine_close(engine, 10000));
    }
}

static void close_engine(thread *t) {
    static const uint32_t timeouts[] = {0, 1, 10000, UINT32_MAX};
    returned(aqf_engine_close(an_engine(t), timeouts[below(t, 4)]));
}

static void read_options(thread *t) {
    size_t capacity = below(t, 200), len, *length = place(t, &len);
    char *buffer = chance(t, 5) ? NULL : bytes(t, capacity);
    returned(aqf_engine_options(an_engine(t), buffer, capacity, length));
    aqf_option option = AQF_INIT(aqf_option);
    if (chance(t, 5)) option.struct_size = (uint32_t)below(t, 100);
    returned(aqf_option_at((uint32_t)(draw(t) >> below(t, 64)), place(t, &option)));
    returned(aqf_abi_check((uint32_t)below(t, 3)));
    aqf_last_error(buffer, buffer ? capacity : 0);
}

static void open_session(thread *t) {
    aqf_session session;
    session_slot *slot = &sessions[below(t, SESSIONS)];
    aqf_engine engine = an_engine(t);
    uint32_t shard = (uint32_t)below(t, 3);
    if (chance(t, 3)) returned(aqf_session_open(engine, shard, (void *)((char *)&session + 1)));
    if (slot->handle || returned(aqf_session_open(engine, shard, &session))) return;
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong(&slot->handle, &none, session))
        returned(aqf_session_close(session));
}

static void close_session(thread *t) {
    aqf_session session = a_session(t);
    session_slot *slot = slot_of(session);
    if (slot) {
        pthread_mutex_lock(&slot->reading);
        slot->closing = 1;
        pthread_mutex_unlock(&slot->reading);
    }
    returned(aqf_session_close(session));
}

static void sleep_and_wake(thread *t) {
    int fd;
    int64_t timeout;
    returned(aqf_session_wake(a_session(t)));
    returned(aqf_session_doorbell(a_session(t), place(t, &fd)));
    returned(aqf_session_arm(a_session(t), place(t, &timeout)));
}

static void open_store(thread *t) {
    static const char *const texts[] = {"", "number = 7", "key_groups = 16\nlast_key_group = 9",
        "key_groups = 0", "number = -1", "first_key_group = 4\nlast_key_group = 3", "x"};
    const char *text = texts[below(t, 7)];
    size_t len = strlen(text), at = below(t, STORES);
    char *exact = memcpy(bytes(t, len), text, len);
    aqf_store store;
    if (chance(t, 3)) returned(aqf_store_open(a_session(t), exact, len, NULL));
    /* A second one in the same place is left to the end of its engine. */
    if (!returned(aqf_store_open(a_session(t), exact, len, &store))) stores[at] = store;
}

static void close_store(thread *t) { returned(aqf_store_close(a_session(t), a_store(t))); }

static void submit(thread *t) {
    size_t count = 1 + below(t, chance(t, 50) ? 3 : REQUESTS), accepted = 0;
    aqf_request *requests = malloc(count * sizeof *requests);
    if (!requests) fail("no memory", 0);
    uint32_t first_size = 0;
    for (size_t i = 0; i < count; i++) requests[i] = request(t);
    first_size = requests[0].struct_size;
    aqf_session session = a_session(t);
    session_slot *slot = slot_of(session);
    /* Sizes that are good and not ours would have the library read behind the array. */
    int fits = first_size == sizeof *requests || first_size < sizeof *requests ||
               first_size % 8 != 0 || first_size > 1024;
    int wrong = below(t, 50) == 0;
    if (wrong) {
        returned(aqf_submit(session, NULL, count, &accepted));
        returned(aqf_submit(session, (void *)((char *)requests + 1), count, &accepted));
        returned(aqf_submit(session, requests, count, NULL));
    } else if (fits) {
        returned(aqf_submit(session, requests, count, &accepted));
    }
    if (accepted > count) fail("more accepted than submitted", (long)accepted);
    if (accepted > 0 && !slot) fail("a session that nobody opened accepts", (long)accepted);
    for (size_t i = accepted; i < count; i++) in_flight[requests[i].user_data & 0xfffff] = 0;
    if (slot) slot->accepted += accepted;
    free(requests);
}

static void completed(const aqf_completion *c) {
    static volatile uint8_t sink;
    uint8_t flying = 1;
    uint32_t token = c->user_data & 0xfffff;
    if (c->user_data >> 20 != seed || token >= TOKENS) fail("a stranger's completion", token);
    if (!atomic_compare_exchange_strong(&in_flight[token], &flying, 2))
        fail("a request completes that is not in flight", token);
    if ((c->status < 0) != (c->message_len > 0)) fail("a message is missing", c->status);
    if (!strcmp(aqf_status_name(c->status), "AQF_UNKNOWN") || c->status == AQF_PANIC ||
        c->status == AQF_POISONED)
        fail(aqf_status_name(c->status), c->status);
    if (c->status != AQF_ABSENT) seen[-c->status]++;
    if (!c->value != !c->value_len) fail("a value is null or has no length", c->value_len);
    if (!c->message != !c->message_len) fail("a message is null", c->message_len);
    for (uint32_t i = 0; i < c->value_len; i++) sink += ((const uint8_t *)c->value)[i];
    for (uint32_t i = 0; i < c->message_len; i++) sink += (uint8_t)c->message[i];
}

static void walk(const void *data, size_t len) {
    const void *at = data, *item;
    size_t left = len, item_len;
    while (!returned(aqf_next_item(&at, &left, &item, &item_len))) {
        const char *begin = item, *end = (const char *)data + len;
        if (begin < (const char *)data || begin > end || item_len > (size_t)(end - begin) ||
            (const char *)at + left != end)
            fail("an item lies outside", (long)item_len);
    }
}

/* Polls once; how many completed, or the status. */
static long poll_into(thread *t, aqf_session session, size_t capacity, int64_t timeout) {
    size_t stride = sizeof(aqf_completion) + (chance(t, 20) ? 24 : 0), count = 0;
    uint8_t *done = calloc(capacity, stride);
    if (!done) fail("no memory", 0);
    ((aqf_completion *)(void *)done)->struct_size = (uint32_t)stride;
    session_slot *slot = slot_of(session);
    aqf_results results = 0;
    aqf_status status = aqf_poll(session, (void *)done, capacity, timeout, &count, &results);
    returned(status);
    if (count > capacity || (status && (count || results))) fail("a poll counts wrong", status);
    if (!status && !slot) fail("a session that nobody opened polls", 0);
    if (slot) {
        pthread_mutex_lock(&slot->reading);
        for (size_t i = 0; i < count && !slot->closing; i++) {
            const aqf_completion *c = (const void *)(done + i * stride);
            completed(c);
            walk(c->value, c->value_len);
            pthread_mutex_lock(&keeping);
            size_t at = below(t, KEPT);
            if (c->value_len == 78) kept[at].len = 78, memcpy(kept[at].bytes, c->value, 78);
            pthread_mutex_unlock(&keeping);
        }
        pthread_mutex_unlock(&slot->reading);
        slot->completed += count;
    }
    if (results && t->lent_count < LENT) t->lent[t->lent_count++] = (lent){session, results};
    free(done);
    return status ? status : (long)count;
}

static void poll_some(thread *t) {
    static const int64_t timeouts[] = {0, 0, 0, 1000, 100000, 1000000, INT64_MAX, -1, INT64_MIN};
    aqf_session session = a_session(t);
    if (chance(t, 2)) {
        aqf_completion none = AQF_INIT(aqf_completion), bad = {.struct_size = (uint32_t)below(t, 48)};
        size_t count;
        aqf_results results;
        returned(aqf_poll(session, &none, 0, 0, &count, &results));
        returned(aqf_poll(session, &bad, 1, 0, &count, &results));
        returned(aqf_poll(session, NULL, 1, 0, &count, &results));
        returned(aqf_poll(session, (void *)((char *)&none + 1), 1, 0, &count, &results));
        returned(aqf_poll(session, &none, 1, 0, NULL, &results));
        returned(aqf_poll(session, &none, 1, 0, &count, NULL));
        return;
    }
    poll_into(t, session, 1 + below(t, chance(t, 50) ? 4 : 64), timeouts[below(t, 9)]);
}

static void release(thread *t) {
    if (t->lent_count == 0) return;
    size_t at = below(t, t->lent_count);
    lent it = t->lent[at];
    if (chance(t, 90)) t->lent[at] = t->lent[--t->lent_count];
    /* Of another session it releases nothing. */
    aqf_session other = a_session(t);
    if (other != it.session && !returned(aqf_release(other, it.results)))
        fail("results of another session were released", 0);
    aqf_status status = returned(aqf_release(it.session, it.results));
    /* Another thread may be inside a call with the session: then it is AQF_BUSY. */
    if (!status && chance(t, 20) && !returned(aqf_release(it.session, it.results)))
        fail("results were released twice", 0);
    if (chance(t, 10)) returned(aqf_release(it.session, handle(t, it.results)));
}

static void bytes_alone(thread *t) {
    uint32_t group;
    size_t len = below(t, 100), claimed = chance(t, 5) ? SIZE_MAX - below(t, 9) : len;
    returned(aqf_key_group(bytes(t, len), claimed, (uint32_t)below(t, 40000), place(t, &group)));
    walk(bytes(t, len), len);
    const void *at = NULL, *item;
    size_t left = len, item_len;
    returned(aqf_next_item(&at, &left, &item, &item_len));
    returned(aqf_next_item(place(t, &at), &left, place(t, &item), &item_len));
    for (int32_t i = -20; i < 3; i++) aqf_status_is_retryable(i), aqf_status_name(i);
}

/* ---- the log --------------------------------------------------------------------------------- */

typedef struct { uint32_t alive; } log_context;
static log_context *logging;
static pthread_mutex_t changing_log = PTHREAD_MUTEX_INITIALIZER;

static void on_log(void *context, int32_t level, const char *text, size_t text_len) {
    log_context *log = context;
    if (log->alive != 0x10c || level < 1 || level > 5 || !memchr(text, text[0], text_len))
        fail("a log line comes wrong", level);
}

/* The context of a function that is not called any more is freed. */
static void change_log(thread *t) {
    pthread_mutex_lock(&changing_log);
    log_context *next = chance(t, 60) ? malloc(sizeof *next) : NULL;
    if (next) next->alive = 0x10c;
    int32_t level = chance(t, 95) ? 1 + (int32_t)below(t, 5) : (int32_t)draw(t);
    if (!returned(aqf_set_log(next ? on_log : NULL, next, level))) {
        log_context *before = logging;
        logging = next, next = before;
    }
    free(next);
    pthread_mutex_unlock(&changing_log);
}

/* ---- what a host lends ----------------------------------------------------------------------- */

/* No engine comes so far that it calls these. */
static aqf_status no_put(void *c, void **w, const char *p, uint64_t o, const void *b, size_t l,
                         uint32_t f, char *y, size_t s) {
    return (void)c, (void)w, (void)p, (void)o, (void)b, (void)l, (void)f, (void)y, (void)s, AQF_IO;
}
static aqf_status no_read(void *c, const char *p, uint64_t o, void *b, size_t l, size_t *f, char *y,
                          size_t s) {
    return (void)c, (void)p, (void)o, (void)b, (void)l, (void)f, (void)y, (void)s, AQF_IO;
}
static aqf_status no_size(void *c, const char *p, uint64_t *b, char *y, size_t s) {
    return (void)c, (void)p, (void)b, (void)y, (void)s, AQF_IO;
}
static aqf_status no_list(void *c, const char *p,
                          int (*a)(void *, const char *, size_t, uint64_t, int64_t), void *t, char *y,
                          size_t s) {
    return (void)c, (void)p, (void)a, (void)t, (void)y, (void)s, AQF_IO;
}
static aqf_status no_remove(void *c, const char *p, char *y, size_t s) {
    return (void)c, (void)p, (void)y, (void)s, AQF_IO;
}
static aqf_status no_url(void *c, const char *p, char *u, size_t z, int64_t *e, char *y, size_t s) {
    return (void)c, (void)p, (void)u, (void)z, (void)e, (void)y, (void)s, AQF_ABSENT;
}
static aqf_status no_credentials(void *c, const char *p, char *t, size_t z, int64_t *e, char *y,
                                 size_t s) {
    return (void)c, (void)p, (void)t, (void)z, (void)e, (void)y, (void)s, AQF_IO;
}

static void lend(thread *t) {
    static const char *const names[] = {"one", "two", "", "a/b", "\xff"};
    const char *name = names[chance(t, 80) ? below(t, 2) : below(t, 5)];
    size_t len = strlen(name);
    char *exact = memcpy(bytes(t, len), name, len);
    if (chance(t, 3)) len = 65 + below(t, 1 << 20); /* must not be read */
    aqf_file_system all = AQF_INIT(aqf_file_system);
    all.put = no_put, all.read = no_read, all.size = no_size, all.list = no_list;
    all.remove = chance(t, 90) ? no_remove : NULL;
    if (chance(t, 50)) all.url = no_url;
    if (chance(t, 5)) all.struct_size = (uint32_t)below(t, sizeof all);
    if (chance(t, 50)) returned(aqf_set_file_system(exact, len, chance(t, 50) ? place(t, &all) : NULL));
    else returned(aqf_set_credentials(exact, len, chance(t, 50) ? no_credentials : NULL, NULL));
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void fork_child(thread *t) {
    aqf_session session = sessions[0].handle;
    aqf_engine engine = engines[0];
    pid_t child = fork();
    if (child == 0) {
        alarm(ALARM_SECONDS / 2);
        char text[256];
        uint64_t number;
        int ok = aqf_session_wake(session) == AQF_FORKED;
        ok &= aqf_session_close(session) == AQF_FORKED;
        ok &= aqf_engine_close(engine, 0) == AQF_FORKED;
        ok &= aqf_engine_open("dfs = memory://x", 16, &number) == AQF_FORKED;
        ok &= aqf_last_error(text, sizeof text) > 0 && strstr(text, "fork");
        ok &= aqf_poll(session, NULL, 0, 0, NULL, NULL) == AQF_FORKED;
        _exit(ok ? 0 : 1);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) fail("no fork", child);
    if (status) fail("a child was served, or hung", status);
    seen[-AQF_FORKED]++;
    (void)t;
}

/* ---- sequences ------------------------------------------------------------------------------- */

static const struct { const char *name; void (*call)(thread *); size_t weight; } ALL[] = {
    {"submit", submit, 300}, {"poll", poll_some, 250}, {"release", release, 80},
    {"sleep", sleep_and_wake, 30}, {"store_open", open_store, 30}, {"store_close", close_store, 12},
    {"session_open", open_session, 30}, {"session_close", close_session, 4},
    {"engine_open", open_engine, 5}, {"engine_close", close_engine, 1},
    {"options", read_options, 20}, {"bytes", bytes_alone, 20}, {"set_log", change_log, 20},
    {"lend", lend, 20}, {"fork", fork_child, 1},
};

static void one_call(thread *t) {
    size_t at = below(t, 823), i = 0;
    for (; at >= ALL[i].weight; i++) at -= ALL[i].weight;
    t->calling = ALL[i].name;
    ALL[i].call(t);
    forget(t);
}

static void *many_calls(void *context) {
    thread *t = context;
    for (size_t left = 20 + below(t, 100); left > 0; left--) one_call(t);
    return NULL;
}

/* Open descriptors; each is named if asked for. */
static long descriptors(int named) {
    long count = 0;
    DIR *all = opendir("/proc/self/fd");
    for (struct dirent *one; (one = readdir(all)); count++) {
        char path[300], target[300];
        snprintf(path, sizeof path, "/proc/self/fd/%s", one->d_name);
        ssize_t len = named ? readlink(path, target, sizeof target) : 0;
        if (len > 0) fprintf(stderr, "%s: %.*s\n", one->d_name, (int)len, target);
    }
    closedir(all);
    return count;
}

/* What most calls need: an engine, a session, a store with a state of each kind. */
static void begin(thread *t) {
    for (int i = 0; i < 20 && !engines[0]; i++) open_engine(t), forget(t);
    for (int i = 0; i < 20 && !sessions[0].handle; i++) {
        aqf_session session;
        if (engines[0] && !returned(aqf_session_open(engines[0], 0, &session)))
            sessions[0].handle = session;
    }
    aqf_store store;
    if (!sessions[0].handle || returned(aqf_store_open(sessions[0].handle, NULL, 0, &store))) return;
    stores[0] = store;
    for (uint32_t kind = AQF_KIND_VALUE; kind <= AQF_KIND_MAX; kind++) {
        aqf_request r = AQF_INIT(aqf_request);
        size_t accepted = 0;
        r.op = AQF_OPEN_STATE, r.store = store, r.key = "abcdefg" + kind, r.key_len = 1;
        r.limit = kind, r.user_data = seed << 20 | tokens;
        in_flight[tokens++] = 1;
        returned(aqf_submit(sessions[0].handle, &r, 1, &accepted));
        sessions[0].accepted += accepted;
        poll_into(t, sessions[0].handle, 1, -1);
    }
    for (int i = 0; i < 3; i++) open_session(t), open_store(t), forget(t);
}

/* Closes everything: if engines go first, everything that was accepted has completed. */
static void end(thread *t) {
    int engines_first = chance(t, 60);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < ENGINES && engines_first != round; i++) {
            if (engines[i]) returned(aqf_engine_close(engines[i], chance(t, 80) ? 30000 : 0));
            old[old_count++ % OLD] = engines[i], engines[i] = 0;
        }
        for (int i = 0; i < SESSIONS && engines_first == round; i++) {
            session_slot *slot = &sessions[i];
            while (slot->handle && engines_first && poll_into(t, slot->handle, 64, -1) > 0) {}
            if (engines_first && !slot->closing && slot->accepted != slot->completed)
                fail("requests never completed", (long)(slot->accepted - slot->completed));
            if (slot->handle) returned(aqf_session_close(slot->handle));
            old[old_count++ % OLD] = slot->handle;
            slot->handle = slot->accepted = slot->completed = 0;
            slot->closing = 0;
        }
    }
    for (int i = 0; i < STORES; i++) old[old_count++ % OLD] = stores[i], stores[i] = 0;
    if (old_count > OLD) old_count = OLD;
    for (int i = 0; i < THREADS; i++) threads[i].lent_count = 0;
}

static void sequence(void) {
    alarm(ALARM_SECONDS);
    long before = descriptors(0);
    for (uint32_t i = 0; i < tokens; i++) in_flight[i] = 0;
    tokens = 0;
    pthread_t running[THREADS];
    size_t count = 1;
    for (uint64_t i = 0; i < THREADS; i++) {
        threads[i].random = (seed * THREADS + i + 1) * 0x9e3779b97f4a7c15;
        threads[i].calling = "-";
        draw(&threads[i]);
    }
    count += below(&threads[0], THREADS);
    begin(&threads[0]);
    for (size_t i = 1; i < count; i++) pthread_create(&running[i], NULL, many_calls, &threads[i]);
    many_calls(&threads[0]);
    for (size_t i = 1; i < count; i++) pthread_join(running[i], NULL);
    end(&threads[0]);
    /* A thread that was left to itself ends a little later. */
    for (int i = 0; descriptors(0) > before; i++) {
        if (i == FD_SECONDS * 100) fail("descriptors are left", descriptors(1) - before);
        usleep(10000);
    }
}

/* The threads that flush and merge live as long as the process: with as many shards as cores, all
 * have started. */
static void start_everything(void) {
    char text[128];
    aqf_engine engine;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(text, sizeof text, "dfs = memory://x\nshards = %ld\nmemory = %ldM", cores, 48 * cores);
    returned(aqf_engine_open(text, strlen(text), &engine));
    returned(aqf_engine_close(engine, 60000));
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: fuzz FIRST COUNT FOLDER\n"), 2;
    uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
    folder = argv[3];
    for (int i = 0; i < SESSIONS; i++) pthread_mutex_init(&sessions[i].reading, NULL);
    signal(SIGALRM, on_alarm);
    start_everything();
    for (seed = first; seed < first + count; seed++) sequence();
    aqf_set_log(NULL, NULL, 0);
    free(logging);
    for (int status = 0; status < STATUSES; status++)
        if (seen[status]) printf("%s %lu\n", aqf_status_name(-status), seen[status]);
}
