use super::*;

#[test]
fn no_two_buffers_share_a_byte() {
    let mut pool = Pool::default();
    let count = READS_IN_FLIGHT_MAX + 10;
    let mut taken: Vec<Buf> = Vec::new();
    for i in 0..count {
        let mut buf = pool.take([1, PAGE_BYTES + 1][usize::from(i % 50 == 0)]).unwrap();
        buf.bytes_mut().fill(i as u8);
        taken.push(buf);
    }
    for (i, buf) in taken.iter().enumerate() {
        assert!(buf.bytes().iter().all(|&byte| byte == i as u8), "buffer {i}");
    }
    // What comes back is handed out again, and a pool that is gone takes no buffer with it.
    let bytes = pool.bytes();
    taken.drain(..count / 2).for_each(|buf| pool.give_back(buf));
    taken.extend((0..count / 2).map(|_| pool.take(1).unwrap()));
    assert!(pool.bytes() <= bytes + PAGE_BYTES * (count / 100 + 1));
    drop(pool);
    taken.iter_mut().for_each(|buf| buf.bytes_mut().fill(7));
}
