//! The header and the library agree: sizes, offsets, numbers, exported names; the header compiles
//! as strict C and C++.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use aquifer_ffi::layout::{self, Completion, FileSystem, Option_, Request, kind, op, put};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    assert!(errors.is_empty(), "{command:?} warns: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn numbers() -> [(&'static str, i64); 28] {
    [
        ("AQF_ABI_VERSION", layout::ABI_VERSION.into()),
        ("AQF_ABI_OLDEST", layout::ABI_OLDEST.into()),
        ("AQF_KEY_GROUP_AUTO", layout::KEY_GROUP_AUTO.into()),
        ("AQF_MORE", layout::MORE.into()),
        ("AQF_PUT_MORE", put::MORE.into()),
        ("AQF_PUT_NEW", put::NEW.into()),
        ("AQF_PUT_GIVEN_UP", put::GIVEN_UP.into()),
        ("AQF_SCOPE_ENGINE", layout::SCOPE_ENGINE.into()),
        ("AQF_SCOPE_STORE", layout::SCOPE_STORE.into()),
        ("AQF_GET", op::GET.into()),
        ("AQF_PUT", op::PUT.into()),
        ("AQF_ADD", op::ADD.into()),
        ("AQF_DELETE", op::DELETE.into()),
        ("AQF_CLEAR", op::CLEAR.into()),
        ("AQF_SCAN", op::SCAN.into()),
        ("AQF_OPEN_STATE", op::OPEN_STATE.into()),
        ("AQF_RESTORE", op::RESTORE.into()),
        ("AQF_CHECKPOINT", op::CHECKPOINT.into()),
        ("AQF_RELEASE", op::RELEASE.into()),
        ("AQF_DRAIN", op::DRAIN.into()),
        ("AQF_LIST_OBJECTS", op::LIST_OBJECTS.into()),
        ("AQF_CLAIM", op::CLAIM.into()),
        ("AQF_KIND_VALUE", kind::VALUE.into()),
        ("AQF_KIND_LIST", kind::LIST.into()),
        ("AQF_KIND_MAP", kind::MAP.into()),
        ("AQF_KIND_SUM", kind::SUM.into()),
        ("AQF_KIND_MIN", kind::MIN.into()),
        ("AQF_KIND_MAX", kind::MAX.into()),
    ]
}

// C expressions and what they must be.
fn expected() -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    macro_rules! layout {
        ($rust:ty, $c:literal, $($field:ident = $name:literal),+) => {
            all.insert(format!("sizeof({})", $c), size_of::<$rust>() as i64);
            $(all.insert(
                format!("offsetof({}, {})", $c, $name),
                offset_of!($rust, $field) as i64,
            );)+
        };
    }
    layout!(
        Request,
        "aqf_request",
        struct_size = "struct_size",
        op = "op",
        state = "state",
        key_group = "key_group",
        limit = "limit",
        store = "store",
        user_data = "user_data",
        key = "key",
        ns = "ns",
        map_key = "map_key",
        value = "value",
        key_len = "key_len",
        ns_len = "ns_len",
        map_key_len = "map_key_len",
        value_len = "value_len"
    );
    layout!(
        Completion,
        "aqf_completion",
        struct_size = "struct_size",
        status = "status",
        user_data = "user_data",
        value = "value",
        message = "message",
        value_len = "value_len",
        message_len = "message_len",
        flags = "flags",
        number = "number"
    );
    layout!(
        Option_,
        "aqf_option",
        struct_size = "struct_size",
        scope = "scope",
        name = "name",
        type_ = "type",
        default_value = "default_value",
        doc = "doc"
    );
    layout!(
        FileSystem,
        "aqf_file_system",
        struct_size = "struct_size",
        reserved = "reserved",
        context = "context",
        put = "put",
        read = "read",
        size = "size",
        list = "list",
        remove = "remove",
        url = "url"
    );
    all.extend(numbers().map(|(name, number)| (name.to_owned(), number)));
    all.extend(statuses());
    all
}

fn statuses() -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for number in -40..40 {
        // SAFETY: the name is a static string.
        let name = unsafe { std::ffi::CStr::from_ptr(aquifer_ffi::aqf_status_name(number)) };
        if name != c"AQF_UNKNOWN" {
            all.insert(name.to_str().unwrap().to_owned(), number.into());
        }
    }
    all
}

#[test]
fn structs_and_numbers_are_those_of_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected();
    let mut program = "#include <aquifer.h>\n#include <stdio.h>\nint main(void) {\n".to_owned();
    for what in expected.keys() {
        writeln!(program, "    printf(\"{what}\\t%lld\\n\", (long long)({what}));").unwrap();
    }
    program.push_str("    return 0;\n}\n");
    let (source, binary) = (folder.path().join("layout.c"), folder.path().join("layout"));
    std::fs::write(&source, program).unwrap();
    let strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    run(Command::new("gcc")
        .args(strict)
        .arg("-I")
        .arg(root().join("include"))
        .arg(&source)
        .arg("-o")
        .arg(&binary));
    let printed = run(&mut Command::new(&binary));
    let found: BTreeMap<String, i64> = printed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(what, number)| (what.to_owned(), number.parse().unwrap()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_number_of_the_header_is_compared() {
    let header = std::fs::read_to_string(root().join("include/aquifer.h")).unwrap();
    let expected = expected();
    let mut names = 0;
    for line in header.lines() {
        let line = line.trim_start();
        let name = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        if name.starts_with("AQF_") && line[name.len()..].starts_with(" = ") {
            names += 1;
            assert!(expected.contains_key(name), "{name} is not compared");
        }
    }
    assert!(names > 30, "{names} numbers were found");
}

#[test]
fn only_functions_of_the_header_are_exported() {
    let header = std::fs::read_to_string(root().join("include/aquifer.h")).unwrap();
    let mut declared: Vec<String> = Vec::new();
    for (at, _) in header.match_indices("AQF_API ") {
        let declaration = &header[at..at + header[at..].find('\n').unwrap()];
        let Some((before, _)) = declaration.split_once('(') else { continue };
        declared.push(before.rsplit([' ', '*']).next().unwrap().to_owned());
    }
    declared.retain(|name| name.starts_with("aqf_"));
    declared.sort();
    assert!(declared.len() > 20 && declared.len() <= 40, "{declared:?}");
    let deps = std::env::current_exe().unwrap();
    let library = deps.parent().unwrap().join("libaquifer_ffi.so");
    let symbols = run(Command::new("nm").args(["-D", "--defined-only"]).arg(&library));
    let mut exported: Vec<String> =
        symbols.lines().filter_map(|line| Some(line.split(' ').nth(2)?.to_owned())).collect();
    exported.sort();
    assert_eq!(exported, declared);
    let dynamic = run(Command::new("readelf").arg("-d").arg(&library));
    assert!(dynamic.contains("Library soname: [libaquifer.so.1]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

#[test]
fn the_headers_are_strict_c_and_cpp() {
    let include = root().join("include");
    let warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"];
    for (compiler, standard, header) in [
        ("gcc", "-std=c99", "aquifer.h"),
        ("gcc", "-std=c11", "aquifer.h"),
        ("g++", "-std=c++11", "aquifer.h"),
        ("g++", "-std=c++17", "aquifer.hpp"),
        ("g++", "-std=c++20", "aquifer.hpp"),
    ] {
        let language = if compiler == "gcc" { "c" } else { "c++" };
        let mut command = Command::new(compiler);
        command.arg(standard).args(warnings).args(["-x", language]).arg("-include");
        run(command.arg(include.join(header)).arg("/dev/null"));
    }
}

// Builds a program in C++ that needs the header alone, and runs it: it ends with 0.
fn run_cpp(text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("host.cpp"), folder.path().join("host"));
    std::fs::write(&source, text).unwrap();
    let mut build = Command::new("g++");
    build.args(["-std=c++17", "-Wall", "-Wextra", "-Werror"]).arg("-I").arg(root().join("include"));
    run(build.arg(&source).arg("-o").arg(&program));
    run(&mut Command::new(&program));
}

#[test]
fn a_length_beyond_32_bits_is_thrown() {
    run_cpp(
        r#"#include <aquifer.hpp>
        int main() {
            const std::string_view key("k", (1ull << 32) + 1);
            try { aquifer::State{}.get(key); } catch (const aquifer::Error &error) {
                return error.status() == AQF_TOO_LARGE ? 0 : 2;
            }
            return 1;
        }"#,
    );
}

#[test]
fn a_url_of_a_file_system_in_cpp_comes_whole_or_not() {
    run_cpp(
        r#"#include <aquifer.hpp>
        #include <cstring>
        static aqf_file_system lent;
        aqf_status aqf_set_file_system(const char *, size_t, const aqf_file_system *functions) {
            if (functions) lent = *functions;
            return AQF_OK;
        }
        size_t aqf_last_error(char *, size_t) { return 0; }
        const char *aqf_status_name(aqf_status) { return ""; }
        struct Signs : aquifer::FileSystem {
            bool put(const Piece &) override { return true; }
            size_t read(const char *, uint64_t, void *, size_t) override { return 0; }
            uint64_t size(const char *) override { return 0; }
            void list(const char *, const Add &) override {}
            void remove(const char *) override {}
            std::optional<SignedUrl> url(const char *path) override {
                if (path == std::string_view("/none")) return aquifer::FileSystem::url(path);
                return SignedUrl{std::string("https://store") + path, 7};
            }
        };
        int main() {
            Signs signs;
            aquifer::LentFileSystem lends("signs", signs);
            char url[16], why[100];
            std::int64_t end = 0;
            const auto ask = [&](const char *path) {
                return lent.url(lent.context, path, url, sizeof url, &end, why, sizeof why);
            };
            if (ask("/none") != AQF_ABSENT) return 1;
            if (ask("/a") != AQF_OK || std::strcmp(url, "https://store/a") || end != 7) return 2;
            return ask("/ab") == AQF_TOO_LARGE ? 0 : 3;
        }"#,
    );
}
