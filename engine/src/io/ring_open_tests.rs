use super::*;

#[test]
fn refusals_name_cause_and_remedy() {
    let table = [
        (libc::EPERM, Some(0), None, "seccomp profile forbids"),
        (libc::EPERM, None, None, "seccomp profile forbids"),
        (libc::EPERM, Some(1), None, "io_uring_disabled is 1; set it to 0, or put this user"),
        (libc::EPERM, Some(2), None, "io_uring_disabled is 2; set it to 0"),
        (libc::ENOSYS, None, None, "older than 5.1"),
        (libc::ENOSYS, Some(0), None, "seccomp"),
        (libc::ENOMEM, Some(0), Some(65536), "65536 bytes"),
        (libc::ENOMEM, Some(0), None, "without limit"),
        (libc::EINVAL, Some(0), None, "Linux 6.1"),
        (libc::EIO, Some(0), None, "os error 5"),
    ];
    for (errno, disabled, memlock_bytes, text) in table {
        let refusal = Refusal { errno, disabled, memlock_bytes };
        let explained = refusal.explain();
        assert!(explained.contains(text), "{refusal:?}: {explained}");
    }
}
