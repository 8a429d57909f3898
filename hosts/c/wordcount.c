/* Counts the words of files in an Aquifer store, and prints each with its count, sorted.
 *
 *     wordcount [-i] [-e] [-f] [-c WORDS] [-r] DFS FILE...
 *
 * -i: the shard runs in this thread, inside aqf_poll, instead of in one of its own.
 * -e: sleep in an event loop on the session's eventfd, instead of inside aqf_poll.
 * -f: lend the engine a file system, in which DFS is host://files/PATH.
 * -c: cut a checkpoint every so many words; its handle and the place in the input go to the file
 *     wordcount-c.job, which is the commit.   -r: go on from there.
 * Build: cc -std=c11 wordcount.c $(pkg-config --cflags --libs aquifer) */
#define _POSIX_C_SOURCE 200809L
#include "files.h"
#include <aquifer.h>
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 256, WORD_BYTES_MAX = 2048, HANDLE_BYTES_MAX = 1024 };
enum { IS_ADD, IS_STATE, IS_RESTORE, IS_CHECKPOINT, IS_GET }; /* the low bits of user_data */
typedef struct { const char *at; uint32_t len; uint64_t count; } word;

static aqf_session session;
static aqf_store store;
static uint16_t counts; /* the number of the state */
static int event_loop, eventfd_number, cut_running;
static word *words;
static size_t word_count, cut_at, resume_at, pending; /* accepted and not yet completed */
static const char job[] = "wordcount-c.job", draft[] = "wordcount-c.job.new";

static void die(const char *what, const char *why) {
    fprintf(stderr, "wordcount: %s: %s\n", what, why);
    exit(1);
}

static void check(aqf_status status, const char *what) {
    char why[512] = "";
    if (status < 0) aqf_last_error(why, sizeof why), die(what, why);
}

/* Handle and place in one step: a crash leaves the old file or the new. */
static void commit(const void *handle, uint32_t len) {
    FILE *f = fopen(draft, "wb");
    if (!f || fprintf(f, "wordcount-c %zu\n", cut_at) < 0 || fwrite(handle, 1, len, f) != len ||
        fflush(f) || fsync(fileno(f)) || fclose(f) || rename(draft, job))
        die(job, "cannot be written");
}

static void completed(const aqf_completion *c) {
    uint64_t what = c->user_data & 7;
    if (c->status != AQF_OK) {
        fprintf(stderr, "%.*s\n", (int)c->message_len, c->message ? c->message : "a count is gone");
        die("a request", aqf_status_name(c->status));
    }
    if (what == IS_STATE) counts = (uint16_t)c->number;
    if (what == IS_CHECKPOINT) commit(c->value, c->value_len), cut_running = 0;
    if (what == IS_GET) memcpy(&words[c->user_data >> 3].count, c->value, 8);
}

/* Takes what has completed, and waits until something has. */
static void take(void) {
    aqf_completion done[BATCH] = {AQF_INIT(aqf_completion)};
    aqf_results results;
    size_t count;
    check(aqf_poll(session, done, BATCH, event_loop ? 0 : -1, &count, &results), "polling");
    for (size_t i = 0; i < count; i++) completed(&done[i]);
    pending -= count;
    if (results) check(aqf_release(session, results), "releasing");
    if (event_loop && !count) {
        int64_t timeout_ns;
        aqf_status armed = aqf_session_arm(session, &timeout_ns);
        check(armed, "arming the doorbell");
        /* A real host has its sockets in this poll as well. */
        struct pollfd fd = {.fd = eventfd_number, .events = POLLIN};
        if (armed == AQF_OK) poll(&fd, 1, timeout_ns < 0 ? -1 : (int)(timeout_ns / 1000000 + 1));
    }
}

/* Submits all, however often that takes. */
static void send(const aqf_request *requests, size_t count) {
    while (count > 0) {
        size_t accepted;
        check(aqf_submit(session, requests, count, &accepted), "submitting");
        requests += accepted, count -= accepted, pending += accepted;
        if (count > 0) take();
    }
}

static void drain(void) { while (pending > 0) take(); }

static aqf_request about_store(uint16_t op, uint64_t user_data) {
    aqf_request r = AQF_INIT(aqf_request);
    r.op = op, r.store = store, r.user_data = user_data;
    return r;
}

static aqf_request about_word(uint16_t op, uint64_t user_data, const word *word) {
    aqf_request r = about_store(op, user_data);
    r.state = counts, r.key_group = AQF_KEY_GROUP_AUTO, r.key = word->at, r.key_len = word->len;
    return r;
}

static void read_words(int files, char **paths) {
    char *text = NULL;
    size_t len = 0;
    for (int i = 0; i < files; i++) {
        FILE *file = fopen(paths[i], "rb");
        if (!file || fseek(file, 0, SEEK_END)) die(paths[i], "cannot be read");
        size_t bytes = (size_t)ftell(file);
        if (!(text = realloc(text, len + bytes + 1))) die(paths[i], "is too large");
        rewind(file), len += fread(text + len, 1, bytes, file), fclose(file);
        text[len++] = '\n'; /* a word does not reach into the next file */
    }
    if (!(words = malloc((len / 2 + 1) * sizeof *words))) die("the words", "are too many");
    for (size_t at = 0, end; at < len; at = end + 1) {
        for (end = at; isalnum((unsigned char)text[end]); end++)
            text[end] = (char)tolower((unsigned char)text[end]);
        size_t bytes = end - at < WORD_BYTES_MAX ? end - at : WORD_BYTES_MAX;
        if (bytes > 0) words[word_count++] = (word){text + at, (uint32_t)bytes, 0};
    }
}

static void count_words(size_t every) {
    static const uint8_t one[8] = {1}; /* little-endian */
    aqf_request batch[BATCH];
    size_t filled = 0;
    for (size_t i = resume_at; i < word_count; i++) {
        batch[filled] = about_word(AQF_ADD, IS_ADD, &words[i]);
        batch[filled].value = one, batch[filled++].value_len = 8;
        if (every > 0 && (i + 1) % every == 0 && filled < BATCH && !cut_running) {
            /* Of exactly the words before it; counting goes on meanwhile. */
            batch[filled++] = about_store(AQF_CHECKPOINT, IS_CHECKPOINT);
            cut_at = i + 1, cut_running = 1;
        }
        if (filled == BATCH) send(batch, filled), filled = 0;
    }
    send(batch, filled), drain();
}

static int by_bytes(const void *a, const void *b) {
    const word *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void print_counts(void) {
    size_t distinct = 0;
    qsort(words, word_count, sizeof *words, by_bytes);
    for (size_t i = 0; i < word_count; i++)
        if (i == 0 || by_bytes(&words[i], &words[distinct - 1])) words[distinct++] = words[i];
    aqf_request get;
    for (size_t i = 0; i < distinct; i++)
        get = about_word(AQF_GET, i << 3 | IS_GET, &words[i]), send(&get, 1);
    drain();
    for (size_t i = 0; i < distinct; i++)
        printf("%.*s\t%llu\n", (int)words[i].len, words[i].at, (unsigned long long)words[i].count);
}

/* Goes on with the job of an earlier run, or makes sure that the file may be replaced. */
static void find_job(size_t resume) {
    char handle[HANDLE_BYTES_MAX + 1];
    aqf_request r = about_store(AQF_RESTORE, IS_RESTORE);
    FILE *f = fopen(job, "rb");
    if (!f && resume) die(job, "is not there to go on with");
    if (!f) return;
    if (fscanf(f, "wordcount-c %zu%*1[\n]", &cut_at) != 1) die(job, "is not of this program");
    r.value = handle, r.value_len = (uint32_t)fread(handle, 1, sizeof handle, f);
    if (resume) send(&r, 1), drain(), resume_at = cut_at;
    fclose(f);
}

int main(int argc, char **argv) {
    const char *thread = "owned";
    size_t every = 0, resume = 0, lends = 0;
    for (int option; (option = getopt(argc, argv, "ierfc:")) != -1;) {
        if (option == 'i') thread = "inline";
        event_loop |= option == 'e', resume |= option == 'r', lends |= option == 'f';
        if (option == 'c') every = strtoull(optarg, NULL, 10);
    }
    if (argc - optind < 2) die("usage", "wordcount [-i] [-e] [-f] [-c WORDS] [-r] DFS FILE...");
    read_words(argc - optind - 1, argv + optind + 1);
    char options[8192], *format = "dfs = %s\nthread = %s\nmemory = 64M\n";
    int len = snprintf(options, sizeof options, format, argv[optind], thread);
    if (len >= (int)sizeof options) die(argv[optind], "is too long");
    aqf_engine engine;
    check(aqf_abi_check(AQF_ABI_VERSION), "the library");
    if (lends) check(aqf_set_file_system("files", 5, &files), "lending the files");
    check(aqf_engine_open(options, (size_t)len, &engine), "opening the engine");
    check(aqf_session_open(engine, 0, &session), "opening a session");
    check(aqf_session_doorbell(session, &eventfd_number), "asking for the doorbell");
    check(aqf_store_open(session, "number = 1", 10, &store), "opening the store");
    if (every > 0 || resume) find_job(resume);
    aqf_request open = about_store(AQF_OPEN_STATE, IS_STATE);
    open.key = "count", open.key_len = 5, open.limit = AQF_KIND_SUM;
    send(&open, 1), drain();
    count_words(every);
    print_counts();
    check(aqf_engine_close(engine, 10000), "closing the engine");
    check(aqf_session_close(session), "closing the session");
    if (lends) check(aqf_set_file_system("files", 5, NULL), "taking the files back");
}
