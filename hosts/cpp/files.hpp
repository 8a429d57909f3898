// A file system of a host in C++: plain files below the folder that begins the path, as in
// `dfs = host://files/tmp/state`. It shows how one is made; what it writes is not synced to the disk,
// as that of a real one must be.
#ifndef FILES_HPP
#define FILES_HPP
#include <aquifer.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace fs = std::filesystem;

class Files : public aquifer::FileSystem {
public:
    bool put(const Piece &piece) override {
        std::unique_ptr<Draft> draft(static_cast<Draft *>(piece.word));
        piece.word = nullptr;
        if (piece.given_up) return discard(draft);
        if (!draft) draft = begin(piece.path);
        draft->file.write(piece.bytes.data(), static_cast<std::streamsize>(piece.bytes.size()));
        if (!draft->file.flush()) {
            discard(draft);
            throw aquifer::Error(AQF_NO_SPACE, std::string(piece.path) + " cannot be written");
        }
        if (!piece.is_last) {
            piece.word = draft.release();
            return true;
        }
        // A link takes no name that is taken, and an object that is there has the same bytes.
        std::error_code error;
        fs::create_hard_link(draft->path, piece.path, error);
        discard(draft);
        const bool there = error == std::errc::file_exists;
        if (error && !there) throw fs::filesystem_error("publishing", piece.path, error);
        return !(there && piece.only_new);
    }

    std::size_t read(const char *path, std::uint64_t offset, void *buffer,
                     std::size_t len) override {
        std::ifstream file(path, std::ios::binary);
        if (!file) throw aquifer::Error(AQF_MISSING_OBJECT, std::string(path) + " is not there");
        file.seekg(static_cast<std::streamoff>(offset));
        file.read(static_cast<char *>(buffer), static_cast<std::streamsize>(len));
        return static_cast<std::size_t>(file.gcount());
    }

    std::uint64_t size(const char *path) override {
        std::error_code error;
        const auto bytes = fs::file_size(path, error);
        if (error == std::errc::no_such_file_or_directory)
            throw aquifer::Error(AQF_MISSING_OBJECT, std::string(path) + " is not there");
        if (error) throw fs::filesystem_error("asking for the size", path, error);
        return bytes;
    }

    void list(const char *prefix, const Add &add) override {
        if (!fs::exists(prefix)) return;
        for (const auto &entry : fs::recursive_directory_iterator(prefix))
            if (entry.is_regular_file() && !add(entry.path().string(), entry.file_size(), -1)) return;
    }

    void remove(const char *path) override { fs::remove(path); }

private:
    struct Draft {
        fs::path path;
        std::ofstream file;
    };

    static std::unique_ptr<Draft> begin(const char *path) {
        static std::atomic<unsigned> count{0};
        fs::create_directories(fs::path(path).parent_path());
        auto draft = std::make_unique<Draft>();
        draft->path = std::string(path) + ".draft" + std::to_string(count++);
        draft->file.open(draft->path, std::ios::binary);
        return draft;
    }

    static bool discard(std::unique_ptr<Draft> &draft) {
        std::error_code gone;
        if (draft) fs::remove(draft->path, gone);
        draft.reset();
        return true;
    }
};
#endif
