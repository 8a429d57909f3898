use super::*;
use crate::shard::statistics::ShardStatistics;

fn session() -> (Arc<Shared>, Remote) {
    let doorbell = Doorbell::new().unwrap();
    let slot = Arc::new(Slot::new(0, doorbell.clone(), 0, ShardStatistics::default()));
    let shard = Arc::new(Shared::new(doorbell, slot));
    let (requests, _) = RingBuffer::new(1);
    let (_, answers) = RingBuffer::new(1);
    let (bell, vacancy) = (Doorbell::new().unwrap(), Arc::new(Vacancy::new()));
    let (backlog, link) = (VecDeque::new(), Link(Arc::clone(&shard)));
    let (armed, taken) = (false, 0);
    let remote = Remote { requests, answers, backlog, bell, armed, vacancy, taken, shard: link };
    (shard, remote)
}

#[test]
fn sessions_hear_of_a_shard_that_panicked() {
    let (shard, remote) = session();
    remote.check_alive().unwrap();
    shard.serve(|| panic!("planted"));
    let error = remote.check_alive().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Poisoned);
    assert!(error.text.contains("panicked") && error.text.contains("restore"), "{error}");
    assert_eq!(remote.sleep(None).unwrap_err().kind, ErrorKind::Poisoned);
    assert_eq!(remote.publish().unwrap_err().kind, ErrorKind::Poisoned);
}

#[test]
fn sessions_hear_why_a_shard_ended() {
    let (shard, remote) = session();
    shard.serve(|| Ok(()));
    assert_eq!(remote.check_alive().unwrap_err().kind, ErrorKind::Closed);
    let (shard, remote) = session();
    shard.serve(|| Err(Error::new(ErrorKind::Io, "the ring broke")));
    assert_eq!(remote.check_alive().unwrap_err().kind, ErrorKind::Io);
}

#[test]
fn a_shard_hears_that_a_session_left() {
    let (shard, remote) = session();
    assert!(shard.doorbell.try_sleep());
    drop(remote);
    assert!(shard.doorbell.wake(), "the shard sleeps on");
}
