//! The word count where the system withholds something: it gives the same counts, by io_uring or
//! without, says why, and knows within a second.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, compile_from_json,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Most that an engine may take to find out how it reaches its files, milliseconds.
const OPEN_MS_MAX: f64 = 1000.0;

/// A user without privileges.
const NOBODY: u32 = 65534;

/// What the system withholds.
#[derive(Default)]
struct Hostile {
    /// Limits, as a shell sets them.
    limits: &'static str,
    /// Calls that fail.
    filters: Vec<BpfProgram>,
    /// Runs as a user without privileges.
    nobody: bool,
}

/// Where the word count runs: input, state and reports.
struct Place {
    folder: TempDir,
    program: PathBuf,
}

impl Place {
    fn new(parent: &Path, nobody: bool) -> Self {
        let folder = TempDir::new_in(parent).unwrap();
        let text: String = (0..60_000_u64).map(|i| format!("w{} ", i * i % 49_999)).collect();
        fs::write(folder.path().join("in"), text).unwrap();
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_aquifer"));
        if nobody {
            // The build's folder may be closed to others.
            let copy = folder.path().join("aquifer");
            fs::copy(&program, &copy).unwrap();
            program = copy;
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { folder, program }
    }

    fn run(&self, hostile: &Hostile, args: &str) -> Output {
        let mut command = Command::new("sh");
        let script = format!("{} exec \"$0\" \"$@\"", hostile.limits);
        command.args(["-c", &script]).arg(&self.program).args(["run", "wordcount"]);
        command.args(args.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("AQUIFER_IO");
        if hostile.nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        for filter in hostile.filters.clone() {
            let install = move || apply_filter(&filter).map_err(std::io::Error::other);
            // SAFETY: between fork and exec the filter, which is there already, is handed to the
            // kernel by two system calls; nothing is allocated unless one of them fails.
            unsafe { command.pre_exec(install) };
        }
        command.output().unwrap()
    }

    /// Counts, some of it after a restore: the counts, the report, what was said.
    fn count(&self, hostile: &Hostile, io: &str) -> (String, Value, String) {
        let mut said = String::new();
        for args in ["--limit 40K in", "--resume --limit 60K"] {
            let rest =
                "--memory 48M --dfs state --checkpoint-every 20K --counts counts --json json";
            let output = self.run(hostile, &format!("{args} --io {io} {rest}"));
            said.push_str(&String::from_utf8(output.stderr).unwrap());
            assert!(output.status.success(), "{said}");
        }
        let read = |file: &str| fs::read_to_string(self.folder.path().join(file)).unwrap();
        (read("counts"), serde_json::from_str(&read("json")).unwrap(), said)
    }
}

fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The word count as the machine is: the counts that are right, and how it reaches its files.
fn undisturbed() -> &'static (String, String) {
    static COUNTED: OnceLock<(String, String)> = OnceLock::new();
    COUNTED.get_or_init(|| {
        let (counts, report, _) = Place::new(disk(), false).count(&Hostile::default(), "auto");
        (counts, report["io"].as_str().unwrap().to_owned())
    })
}

/// Counts in a hostile place, and expects the same counts, `io` and one line that says `why`.
fn survives(place: &Place, hostile: &Hostile, mode: &str, io: &str, why: &str) {
    let (counts, report, said) = place.count(hostile, mode);
    assert!(counts == undisturbed().0, "other counts: {said}");
    assert_eq!(report["io"], io, "{said}");
    assert!(report["cold_reads"].as_u64() > Some(0), "{report}");
    assert!(report["open_ms"].as_f64() < Some(OPEN_MS_MAX), "{report}");
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warn: ")).collect();
    // One for each of the two processes.
    assert_eq!(warnings.len(), if why.is_empty() { 0 } else { 2 }, "{said}");
    assert!(warnings.iter().all(|warning| warning.contains(why)), "{said}");
    let asked = mode == "portable";
    assert!(asked || io == "uring" || report["io_reason"].as_str().unwrap().contains(why));
}

/// Answers calls: all, or those whose third argument has the bits of `mask`.
fn answering(calls: &[i64], answer: SeccompAction, mask: Option<u64>) -> Vec<BpfProgram> {
    let rules = mask.map_or_else(Vec::new, |mask| {
        let (width, op) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask));
        let condition = SeccompCondition::new(2, width, op, mask).unwrap();
        vec![SeccompRule::new(vec![condition]).unwrap()]
    });
    let rules = calls.iter().map(|&call| (call, rules.clone())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch()).unwrap();
    vec![filter.try_into().unwrap()]
}

fn arch() -> TargetArch {
    std::env::consts::ARCH.try_into().unwrap()
}

fn failing(calls: &[i64], errno: i32, mask: Option<u64>) -> Vec<BpfProgram> {
    answering(calls, SeccompAction::Errno(errno as u32), mask)
}

/// `deploy/seccomp.json` as a runtime applies it: a filter for each answer that is neither of the
/// usual two, and one of what is allowed.
fn profile() -> Vec<BpfProgram> {
    let profile: Value = serde_json::from_str(include_str!("../../deploy/seccomp.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let (allow, refuse) = (json!("allow"), json!({"errno": profile["defaultErrnoRet"]}));
    let (mut filters, mut allowed) = (Vec::new(), Vec::new());
    for rule in profile["syscalls"].as_array().unwrap() {
        let names = rule["names"].as_array().unwrap();
        assert!(names.is_sorted_by_key(|name| name.as_str().unwrap()), "{rule}");
        let args: Option<Vec<Value>> =
            rule["args"].as_array().map(|args| args.iter().map(condition).collect());
        let calls = names.iter().map(|name| json!({"syscall": name, "args": args}));
        // Those that this machine has: the profile is for others too.
        let known = |call: &Value| compiled(&refuse, &allow, std::slice::from_ref(call)).is_some();
        let calls: Vec<Value> = calls.filter(known).collect();
        if rule["action"] != "SCMP_ACT_ALLOW" {
            let answer = json!({"errno": rule["errnoRet"]});
            filters.push(compiled(&allow, &answer, &calls).unwrap());
        }
        allowed.extend(calls);
    }
    filters.extend(compiled(&refuse, &allow, &allowed));
    filters
}

fn condition(arg: &Value) -> Value {
    let (op, value) = match arg["op"].as_str().unwrap() {
        "SCMP_CMP_EQ" => (json!("eq"), &arg["value"]),
        "SCMP_CMP_LT" => (json!("lt"), &arg["value"]),
        "SCMP_CMP_MASKED_EQ" => (json!({"masked_eq": arg["value"]}), &arg["valueTwo"]),
        op => panic!("{op}"),
    };
    json!({"index": arg["index"], "type": "qword", "op": op, "val": value})
}

/// A filter that answers some calls so, and others otherwise; `None` if there is no such call.
fn compiled(otherwise: &Value, answer: &Value, calls: &[Value]) -> Option<BpfProgram> {
    let filter = json!({"mismatch_action": otherwise, "match_action": answer, "filter": calls});
    let filters = json!({"": filter}).to_string();
    compile_from_json(filters.as_bytes(), arch()).ok()?.remove("")
}

fn without_rings(errno: i32) -> Hostile {
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    Hostile { filters: failing(&calls, errno, None), ..Hostile::default() }
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[test]
fn a_seccomp_profile_forbids_rings() {
    let refusals =
        [(libc::EPERM, "(EPERM): a seccomp profile"), (libc::ENOSYS, "(ENOSYS): a secc")];
    for (errno, why) in refusals {
        let place = Place::new(disk(), false);
        survives(&place, &without_rings(errno), "auto", "portable", why);
        let output = place.run(&without_rings(errno), "--io uring in");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(why), "{error}");
        assert!(error.contains("io_uring_setup, io_uring_enter"), "{error}");
    }
}

#[test]
fn the_profile_for_containers_allows_rings() {
    let hostile = || Hostile { filters: profile(), ..Hostile::default() };
    survives(&Place::new(disk(), false), &hostile(), &undisturbed().1, &undisturbed().1, "");
}

#[test]
fn the_profile_for_containers_refuses_what_leads_out_of_them() {
    let (refused, unknown) = (Err(libc::EPERM), Err(libc::ENOSYS));
    let calls = [
        (libc::SYS_unshare, 0, refused),
        (libc::SYS_mount, 0, refused),
        (libc::SYS_umount2, 0, refused),
        (libc::SYS_setns, u64::MAX, refused),
        (libc::SYS_ptrace, u64::MAX, refused),
        (libc::SYS_process_vm_readv, u64::MAX, refused),
        (libc::SYS_bpf, u64::MAX, refused),
        (libc::SYS_clone, (libc::CLONE_NEWUSER | libc::CLONE_FS) as u64, refused),
        (libc::SYS_clone3, 0, unknown),
        (libc::SYS_socket, libc::AF_ALG as u64, refused),
        (libc::SYS_socket, libc::AF_VSOCK as u64, refused),
        // The kernel looks at the lower half alone.
        (libc::SYS_socket, (1 << 32) | libc::AF_VSOCK as u64, refused),
        (libc::SYS_personality, libc::ADDR_NO_RANDOMIZE as u64, refused),
        (libc::SYS_personality, 0xffff_ffff, Ok(())),
        (libc::SYS_io_uring_setup, 0, Err(libc::EFAULT)),
        (libc::SYS_io_uring_enter, i32::MAX as u64, Err(libc::EBADF)),
        (libc::SYS_io_uring_register, i32::MAX as u64, Err(libc::EBADF)),
    ];
    // The filters are those of one thread.
    let under_it = std::thread::spawn(move || {
        profile().iter().for_each(|filter| apply_filter(filter).unwrap());
        for (call, first, expected) in calls {
            // SAFETY: each call takes no pointer or refuses null, and none makes a process.
            let answer = match unsafe { libc::syscall(call, first, 0, 0, 0, 0, 0) } {
                -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
                _ => Ok(()),
            };
            assert_eq!(answer, expected, "call {call} of {first:#x}");
        }
    });
    under_it.join().unwrap();
}

#[test]
fn who_asks_for_threads_makes_no_ring() {
    let kill = SeccompAction::KillProcess;
    let filters = answering(&[libc::SYS_io_uring_setup], kill, None);
    let hostile = Hostile { filters, ..Hostile::default() };
    survives(&Place::new(disk(), false), &hostile, "portable", "portable", "");
}

#[test]
fn no_memory_may_be_locked() {
    let hostile = Hostile { limits: "ulimit -l 0;", ..Hostile::default() };
    let why = "locked memory is 0 bytes";
    survives(&Place::new(disk(), false), &hostile, "auto", "portable", why);
}

#[test]
fn few_descriptors_are_enough_and_too_few_are_named() {
    let place = Place::new(disk(), false);
    let hostile = Hostile { limits: "ulimit -n 64;", ..Hostile::default() };
    survives(&place, &hostile, "auto", &undisturbed().1, "");
    survives(&place, &hostile, "portable", "portable", "");
    let hostile = Hostile { limits: "ulimit -n 12;", ..Hostile::default() };
    for io in ["auto", "portable"] {
        let output = place.run(&hostile, &format!("--io {io} in"));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{error}");
        assert!(error.contains("the limit of open files is 12; raise it"), "{error}");
        assert!(!error.contains("warn: "), "{error}");
    }
}

#[test]
fn state_in_memory_of_the_system() {
    let place = Place::new(Path::new("/dev/shm"), false);
    survives(&place, &Hostile::default(), "auto", &undisturbed().1, "");
    survives(&place, &Hostile::default(), "portable", "portable", "");
}

#[test]
fn a_file_system_without_direct_io() {
    let calls = [libc::SYS_openat, libc::SYS_fcntl];
    let hostile = || Hostile {
        filters: failing(&calls, libc::EINVAL, Some(libc::O_DIRECT as u64)),
        ..Hostile::default()
    };
    let (place, why) = (Place::new(disk(), false), "refuses direct I/O (O_DIRECT)");
    survives(&place, &hostile(), "auto", &undisturbed().1, why);
    survives(&place, &hostile(), "portable", "portable", why);
}

#[test]
fn a_user_without_privileges() {
    if !is_root() {
        return aquifer_tests::not_run("a user without privileges: only root can become one");
    }
    let place = Place::new(&std::env::temp_dir(), true);
    let hostile = Hostile { limits: "ulimit -l 8192;", nobody: true, ..Hostile::default() };
    survives(&place, &hostile, "auto", &undisturbed().1, "");
}
