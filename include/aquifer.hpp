// aquifer.hpp: aquifer.h with destructors and exceptions, for C++17 and later. Header only.
//
// Licensed under the Apache License 2.0.
//
// The conventions of aquifer.h hold; what it answers with a negative status is thrown as
// aquifer::Error. Objects own their handle and can be moved. A completion with an error is not
// thrown: it belongs to one request, and its status is there to be looked at.
#ifndef AQUIFER_HPP
#define AQUIFER_HPP

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aquifer.h"

namespace aquifer {

// A negative status with the text of its cause and remedy.
class Error : public std::runtime_error {
public:
    Error(aqf_status status, const std::string &text) : std::runtime_error(text), status_(status) {}
    aqf_status status() const noexcept { return status_; }
    bool retryable() const noexcept { return aqf_status_is_retryable(status_) != 0; }

private:
    aqf_status status_;
};

// Throws if the call of this thread that returned `status` failed.
inline aqf_status check(aqf_status status) {
    if (status >= 0) return status;
    std::string text(aqf_last_error(nullptr, 0) + 1, '\0');
    text.resize(aqf_last_error(text.data(), text.size()));
    throw Error(status, std::string(aqf_status_name(status)) + ": " + text);
}

// A length as requests have it. What does not fit is thrown, for it would be cut.
inline std::uint32_t length(std::size_t bytes) {
    if (bytes > UINT32_MAX)
        throw Error(AQF_TOO_LARGE, "AQF_TOO_LARGE: " + std::to_string(bytes) +
                                       " bytes are more than any key or value may have");
    return static_cast<std::uint32_t>(bytes);
}

// A handle that is closed once.
template <typename Close> class Owned {
public:
    Owned() = default;
    explicit Owned(std::uint64_t handle) noexcept : handle_(handle) {}
    Owned(Owned &&other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
    Owned &operator=(Owned &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() {
        if (handle_ != 0) Close{}(handle_);
    }
    std::uint64_t get() const noexcept { return handle_; }
    std::uint64_t release() noexcept { return std::exchange(handle_, 0); }

private:
    std::uint64_t handle_ = 0;
};

// An engine: shards, one memory budget, a DFS.
class Engine {
public:
    // `options`: lines `name = value`.
    explicit Engine(std::string_view options) : handle_(open(options)) {}

    // Ends it, within about `timeout_ms`. The destructor does so within ten seconds, and tells
    // nobody if that fails.
    void close(std::uint32_t timeout_ms) { check(aqf_engine_close(handle_.release(), timeout_ms)); }

    aqf_engine get() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(aqf_engine handle) const noexcept { aqf_engine_close(handle, 10000); }
    };

    static aqf_engine open(std::string_view options) {
        check(aqf_abi_check(AQF_ABI_VERSION));
        aqf_engine handle = 0;
        check(aqf_engine_open(options.data(), options.size(), &handle));
        return handle;
    }

    Owned<Close> handle_;
};

// A store on the shard of a session. It is named in requests and closed with its engine, or by
// Session::close_store.
struct Store {
    aqf_store handle = 0;
};

// A state of a store.
struct State {
    aqf_store store = 0;
    std::uint16_t number = 0;

    // A request on this state. The views must live until it is submitted.
    aqf_request request(std::uint16_t op, std::string_view key, std::uint64_t user_data = 0,
                        std::string_view value = {}) const {
        aqf_request r = AQF_INIT(aqf_request);
        r.op = op;
        r.state = number;
        r.store = store;
        r.user_data = user_data;
        r.key_group = AQF_KEY_GROUP_AUTO;
        r.key = key.data();
        r.key_len = length(key.size());
        r.value = value.data();
        r.value_len = length(value.size());
        return r;
    }
    aqf_request get(std::string_view key, std::uint64_t user_data = 0) const {
        return request(AQF_GET, key, user_data);
    }
    aqf_request put(std::string_view key, std::string_view value,
                    std::uint64_t user_data = 0) const {
        return request(AQF_PUT, key, user_data, value);
    }
    aqf_request add(std::string_view key, std::string_view operand,
                    std::uint64_t user_data = 0) const {
        return request(AQF_ADD, key, user_data, operand);
    }
    aqf_request remove(std::string_view key, std::uint64_t user_data = 0) const {
        return request(AQF_DELETE, key, user_data);
    }
};

// One completion; views are lent as long as its Results live.
struct Completion {
    explicit Completion(const aqf_completion &c) noexcept
        : status(c.status), user_data(c.user_data), number(c.number),
          more((c.flags & AQF_MORE) != 0),
          value(static_cast<const char *>(c.value), c.value_len),
          message(c.message, c.message_len) {}

    aqf_status status;
    std::uint64_t user_data;
    std::uint32_t number;
    bool more;
    std::string_view value;
    std::string_view message;
};

// What one poll brought. It gives the memory back when it goes, before its session does.
class Results {
public:
    Results(Results &&other) noexcept
        : session_(other.session_), handle_(std::exchange(other.handle_, 0)),
          completions_(std::move(other.completions_)) {}
    Results &operator=(Results &&) = delete;
    Results(const Results &) = delete;
    Results &operator=(const Results &) = delete;
    ~Results() {
        if (handle_ != 0) aqf_release(session_, handle_);
    }
    auto begin() const noexcept { return completions_.begin(); }
    auto end() const noexcept { return completions_.end(); }
    std::size_t size() const noexcept { return completions_.size(); }
    bool empty() const noexcept { return completions_.empty(); }

private:
    friend class Session;
    Results(aqf_session session, aqf_results handle) noexcept
        : session_(session), handle_(handle) {}

    aqf_session session_;
    aqf_results handle_;
    std::vector<Completion> completions_;
};

// How one thread talks to one shard.
class Session {
public:
    explicit Session(const Engine &engine, std::uint32_t shard = 0)
        : handle_(open(engine, shard)) {}

    Store open_store(std::string_view options) {
        Store store;
        check(aqf_store_open(get(), options.data(), options.size(), &store.handle));
        return store;
    }
    void close_store(Store store) { check(aqf_store_close(get(), store.handle)); }

    // Takes requests from the front, and says how many.
    std::size_t submit(const aqf_request *requests, std::size_t count) {
        std::size_t accepted = 0;
        check(aqf_submit(get(), requests, count, &accepted));
        return accepted;
    }

    // What has completed, at most `capacity`; waits for `timeout_ns`, -1 as long as it takes.
    Results poll(std::int64_t timeout_ns, std::size_t capacity = 256) {
        buffer_.resize(capacity == 0 ? 1 : capacity, AQF_INIT(aqf_completion));
        std::size_t count = 0;
        aqf_results handle = 0;
        check(aqf_poll(get(), buffer_.data(), buffer_.size(), timeout_ns, &count, &handle));
        Results results(get(), handle);
        results.completions_.reserve(count);
        for (std::size_t i = 0; i < count; i++) results.completions_.emplace_back(buffer_[i]);
        return results;
    }

    // For an event loop: how many nanoseconds it may sleep on `doorbell` (-1: for ever), or nothing
    // if there is something to poll for already.
    std::optional<std::int64_t> arm() {
        std::int64_t timeout_ns = 0;
        if (check(aqf_session_arm(get(), &timeout_ns)) == AQF_ABSENT) return std::nullopt;
        return timeout_ns;
    }
    int doorbell() const {
        int fd = -1;
        check(aqf_session_doorbell(get(), &fd));
        return fd;
    }

    // From any thread: ends the poll that runs, or the next one.
    void wake() const { check(aqf_session_wake(get())); }

    aqf_session get() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(aqf_session handle) const noexcept { aqf_session_close(handle); }
    };

    static aqf_session open(const Engine &engine, std::uint32_t shard) {
        aqf_session handle = 0;
        check(aqf_session_open(engine.get(), shard, &handle));
        return handle;
    }

    Owned<Close> handle_;
    std::vector<aqf_completion> buffer_;
};

// The items of a list, or of a scan: map key and value in turn. They lie inside `bytes`.
inline std::vector<std::string_view> items(std::string_view bytes) {
    std::vector<std::string_view> all;
    const void *at = bytes.data();
    const void *item = nullptr;
    std::size_t left = bytes.size(), len = 0;
    while (check(aqf_next_item(&at, &left, &item, &len)) == AQF_OK)
        all.emplace_back(static_cast<const char *>(item), len);
    return all;
}

// Appends an item to `bytes`: so the value of an AQF_PUT to a list is made.
inline void put_item(std::string &bytes, std::string_view item) {
    const std::size_t before = bytes.size();
    bytes.resize(before + item.size() + 4);
    void *at = bytes.data() + before;
    std::size_t left = bytes.size() - before;
    const aqf_status status = aqf_put_item(&at, &left, item.data(), item.size());
    bytes.resize(status == AQF_OK ? bytes.size() - left : before);
    check(status);
}

// A file system of the host, for `dfs = host://NAME/PATH`: see aqf_file_system. Many threads of the
// library call it at once. What it throws does not cross the border: an Error has its status, another
// std::exception is AQF_IO with its text.
class FileSystem {
public:
    struct Piece {
        const char *path;
        std::uint64_t offset;
        std::string_view bytes;
        bool is_last;
        bool only_new;
        bool given_up;
        void *&word;
    };
    // Calls it for each object, until it says false.
    using Add = std::function<bool(std::string_view path, std::uint64_t bytes,
                                   std::int64_t modified_s)>;

    virtual ~FileSystem() = default;
    // False if the object was to be new and is there.
    virtual bool put(const Piece &piece) = 0;
    // How many bytes it filled; 0 at the end of the object.
    virtual std::size_t read(const char *path, std::uint64_t offset, void *buffer,
                             std::size_t len) = 0;
    virtual std::uint64_t size(const char *path) = 0;
    virtual void list(const char *prefix, const Add &add) = 0;
    virtual void remove(const char *path) = 0;

    struct SignedUrl {
        std::string url;
        std::int64_t expires_s; // seconds since 1970, or 0 if that is not known
    };
    // Where an object is got by a url alone, if there is such a url.
    virtual std::optional<SignedUrl> url(const char * /*path*/) { return std::nullopt; }
};

namespace detail {
// Runs `act`, and turns what it throws into a status and a text.
template <typename Act> aqf_status guarded(char *why, std::size_t why_size, const Act &act) {
    const auto tell = [&](const char *text) {
        if (why_size > 0) why[std::string_view(text).copy(why, why_size - 1)] = '\0';
    };
    try {
        return act();
    } catch (const Error &error) {
        tell(error.what());
        return error.status();
    } catch (const std::exception &error) {
        tell(error.what());
        return AQF_IO;
    } catch (...) {
        tell("the host threw what is no exception");
        return AQF_INVALID;
    }
}
} // namespace detail

// Lends a file system, which must outlive it. The engines that use it are closed before it goes.
class LentFileSystem {
public:
    LentFileSystem(std::string_view name, FileSystem &file_system) : name_(name) {
        aqf_file_system functions = AQF_INIT(aqf_file_system);
        functions.context = &file_system;
        functions.put = put;
        functions.read = read;
        functions.size = size;
        functions.list = list;
        functions.remove = remove;
        functions.url = url;
        check(aqf_set_file_system(name_.data(), name_.size(), &functions));
    }
    LentFileSystem(const LentFileSystem &) = delete;
    LentFileSystem &operator=(const LentFileSystem &) = delete;
    // An engine that still uses it would call what is gone.
    ~LentFileSystem() {
        if (!name_.empty() && aqf_set_file_system(name_.data(), name_.size(), nullptr) != AQF_OK)
            std::terminate();
    }
    // The same, and throws.
    void take_back() {
        check(aqf_set_file_system(name_.data(), name_.size(), nullptr));
        name_.clear();
    }

private:
    static FileSystem &of(void *context) { return *static_cast<FileSystem *>(context); }

    static aqf_status put(void *context, void **word, const char *path, std::uint64_t offset,
                          const void *bytes, std::size_t len, std::uint32_t flags, char *why,
                          std::size_t why_size) {
        return detail::guarded(why, why_size, [&] {
            const bool more = (flags & AQF_PUT_MORE) != 0, given_up = (flags & AQF_PUT_GIVEN_UP) != 0;
            const FileSystem::Piece piece{path,
                                          offset,
                                          {static_cast<const char *>(bytes), len},
                                          !more && !given_up,
                                          (flags & AQF_PUT_NEW) != 0,
                                          given_up,
                                          *word};
            return of(context).put(piece) ? AQF_OK : AQF_EXISTS;
        });
    }
    static aqf_status read(void *context, const char *path, std::uint64_t offset, void *buffer,
                           std::size_t len, std::size_t *filled, char *why, std::size_t why_size) {
        return detail::guarded(why, why_size, [&] {
            *filled = of(context).read(path, offset, buffer, len);
            return AQF_OK;
        });
    }
    static aqf_status size(void *context, const char *path, std::uint64_t *bytes, char *why,
                           std::size_t why_size) {
        return detail::guarded(why, why_size, [&] {
            *bytes = of(context).size(path);
            return AQF_OK;
        });
    }
    static aqf_status list(void *context, const char *prefix,
                           int (*add)(void *, const char *, std::size_t, std::uint64_t,
                                      std::int64_t),
                           void *to, char *why, std::size_t why_size) {
        return detail::guarded(why, why_size, [&] {
            of(context).list(prefix, [&](std::string_view path, std::uint64_t bytes,
                                         std::int64_t modified_s) {
                return add(to, path.data(), path.size(), bytes, modified_s) == 0;
            });
            return AQF_OK;
        });
    }
    static aqf_status remove(void *context, const char *path, char *why, std::size_t why_size) {
        return detail::guarded(why, why_size, [&] {
            of(context).remove(path);
            return AQF_OK;
        });
    }
    static aqf_status url(void *context, const char *path, char *url, std::size_t size,
                          std::int64_t *expires_s, char *why, std::size_t why_size) {
        return detail::guarded(why, why_size, [&] {
            const std::optional<FileSystem::SignedUrl> is = of(context).url(path);
            if (!is) return AQF_ABSENT;
            if (is->url.size() >= size) throw Error(AQF_TOO_LARGE, "the url is too long");
            url[is->url.copy(url, size - 1)] = '\0';
            *expires_s = is->expires_s;
            return AQF_OK;
        });
    }

    std::string name_;
};

} // namespace aquifer
#endif
