use super::*;
use crate::mem::pool::Pool;

#[test]
fn results_of_reads_are_judged_once() {
    let mut pool = Pool::default();
    let mut op = |filled, tries| {
        let buf = pool.take(3 * PAGE_BYTES).unwrap();
        Op { filled, tries, ..Op::new(Token(0), ObjectSlot(0), 0, buf) }
    };
    let page = PAGE_BYTES as i32;
    // (bytes the object is too short, filled before, tries before, result)
    // -> (verdict, filled after)
    let table = [
        (0, 0, 0, 3 * page, "done", 0),
        (0, PAGE_BYTES as u32, 1, 2 * page, "done", PAGE_BYTES as u32),
        (0, 0, 0, page, "again", PAGE_BYTES as u32),
        (0, 0, 0, page + 5, "again", PAGE_BYTES as u32),
        (0, 0, 0, 5, "again", 0),
        (PAGE_BYTES as u64 - 5, 0, 0, 2 * page + 5, "end", 0),
        (0, 0, READ_TRIES_MAX, 5, "short", 0),
        (0, 0, 0, 0, "end", 0),
        (0, 0, 0, -libc::EAGAIN, "again", 0),
        (0, 0, 0, -libc::EINTR, "again", 0),
        (0, 0, 0, -libc::ECANCELED, "again", 0),
        (0, 0, READ_TRIES_MAX, -libc::EAGAIN, "errno", 0),
        (0, 0, 0, -libc::EIO, "errno", 0),
        (0, 0, 0, -libc::EINVAL, "errno", 0),
    ];
    for (cut, filled, tries, result, verdict, after) in table {
        let mut op = op(filled, tries);
        let judged = match op.judge(result, 3 * PAGE_BYTES as u64 - cut) {
            Verdict::Done => "done",
            Verdict::Again => "again",
            Verdict::Failed(Why::End) => "end",
            Verdict::Failed(Why::Short) => "short",
            Verdict::Failed(Why::Errno(errno)) => {
                assert_eq!(errno, -result);
                "errno"
            }
        };
        assert_eq!((judged, op.filled), (verdict, after), "{filled} {tries} {result}");
    }
}
