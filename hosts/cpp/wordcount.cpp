// Counts the words of files in an Aquifer store, and prints each with its count, sorted.
//
//     wordcount [-i] [-e] [-f] DFS FILE...
//
// -i: the shard runs in this thread, inside poll, instead of in one of its own.
// -e: sleep in an event loop on the session's eventfd, instead of inside poll.
// -f: lend the engine a file system, in which DFS is host://files/PATH.
// Build: c++ -std=c++17 wordcount.cpp $(pkg-config --cflags --libs aquifer)

#include "files.hpp"

#include <aquifer.hpp>

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

// Submits requests in batches and hands each completion to the function it was submitted with.
class Loop {
public:
    using Then = std::function<void(const aquifer::Completion &)>;

    Loop(aquifer::Session &session, bool sleeps_in_poll)
        : session_(session), sleeps_in_poll_(sleeps_in_poll) {}

    // What the request points to must live until `run` or 256 further requests.
    void add(aqf_request request, Then then) {
        request.user_data = thens_.size();
        if (free_.empty()) {
            thens_.push_back(std::move(then));
        } else {
            request.user_data = free_.back();
            free_.pop_back();
            thens_[request.user_data] = std::move(then);
        }
        batch_.push_back(request);
        if (batch_.size() == 256) submit();
    }

    // Until every request has completed.
    void run() {
        submit();
        while (pending_ > 0) take();
    }

private:
    void submit() {
        for (std::size_t at = 0; at < batch_.size();) {
            const std::size_t taken = session_.submit(&batch_[at], batch_.size() - at);
            at += taken;
            pending_ += taken;
            if (at < batch_.size()) take(); // as many are in flight as may be
        }
        batch_.clear();
    }

    void take() {
        const aquifer::Results results = session_.poll(sleeps_in_poll_ ? -1 : 0);
        for (const aquifer::Completion &completion : results) {
            if (completion.status < 0)
                throw aquifer::Error(completion.status, std::string(completion.message));
            thens_[completion.user_data](completion);
            free_.push_back(completion.user_data);
        }
        pending_ -= results.size();
        if (!sleeps_in_poll_ && results.empty()) sleep();
    }

    // A real host has its sockets in this poll as well.
    void sleep() {
        const auto timeout_ns = session_.arm();
        if (!timeout_ns) return;
        pollfd fd{session_.doorbell(), POLLIN, 0};
        poll(&fd, 1, *timeout_ns < 0 ? -1 : static_cast<int>(*timeout_ns / 1000000 + 1));
    }

    aquifer::Session &session_;
    const bool sleeps_in_poll_;
    std::vector<aqf_request> batch_;
    std::vector<Then> thens_; // by user_data
    std::vector<std::uint64_t> free_;
    std::size_t pending_ = 0; // accepted and not yet completed
};

bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Calls `act` with every word of a file, in lower case.
void each_word(const char *path, const std::function<void(std::string)> &act) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string(path) + " cannot be read");
    std::string word;
    for (std::istreambuf_iterator<char> at(file), end; at != end; ++at) {
        if (is_word(*at)) {
            word.push_back(*at >= 'A' && *at <= 'Z' ? static_cast<char>(*at - 'A' + 'a') : *at);
        } else if (!word.empty()) {
            act(std::exchange(word, {}));
        }
    }
    if (!word.empty()) act(std::move(word));
}

void count(const std::string &dfs, const std::string &thread, bool event_loop,
           const std::vector<const char *> &files) {
    aquifer::Engine engine("memory = 64M\nthread = " + thread + "\ndfs = " + dfs);
    aquifer::Session session(engine);
    const aquifer::Store store = session.open_store("number = 1");
    Loop loop(session, !event_loop);

    aquifer::State counts{store.handle, 0};
    aqf_request open = counts.request(AQF_OPEN_STATE, "count");
    open.limit = AQF_KIND_SUM;
    loop.add(open, [&](const auto &opened) {
        counts.number = static_cast<std::uint16_t>(opened.number);
    });
    loop.run();

    // A request names bytes of a word in the set, which stays where it is.
    std::set<std::string> words;
    const std::string one("\1\0\0\0\0\0\0\0", 8);
    for (const char *file : files) {
        each_word(file, [&](std::string word) {
            word.resize(std::min<std::size_t>(word.size(), 2048));
            const std::string &key = *words.insert(std::move(word)).first;
            loop.add(counts.add(key, one), [](const auto &) {});
        });
    }
    loop.run();

    std::vector<std::uint64_t> found(words.size());
    std::size_t number = 0;
    for (const std::string &word : words) {
        std::uint64_t *place = &found[number++];
        loop.add(counts.get(word), [place](const auto &got) {
            if (got.value.size() == 8) std::memcpy(place, got.value.data(), 8);
        });
    }
    loop.run();
    number = 0;
    for (const std::string &word : words) std::cout << word << '\t' << found[number++] << '\n';
    engine.close(10000);
}

} // namespace

int main(int argc, char **argv) {
    bool is_inline = false, event_loop = false, lends = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        is_inline = is_inline || std::strcmp(argv[at], "-i") == 0;
        event_loop = event_loop || std::strcmp(argv[at], "-e") == 0;
        lends = lends || std::strcmp(argv[at], "-f") == 0;
    }
    if (argc - at < 2) {
        std::cerr << "usage: wordcount [-i] [-e] [-f] DFS FILE...\n";
        return 2;
    }
    try {
        Files files;
        std::optional<aquifer::LentFileSystem> lent;
        if (lends) lent.emplace("files", files);
        count(argv[at], is_inline ? "inline" : "owned", event_loop, {argv + at + 1, argv + argc});
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "wordcount: " << error.what() << '\n';
        return 1;
    }
}
