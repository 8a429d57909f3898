//! What is refused is told with its cause and what to do.

use aquifer_ffi::layout::{Request, op};
use aquifer_ffi::*;

use crate::host::*;

/// Opens a store with options.
fn store(host: &Host, options: &str) -> Result<Host, String> {
    let mut opened = Host { store: 0, ..*host };
    let (text, len) = (options.as_ptr().cast(), options.len());
    // SAFETY: the text and the place are live.
    match unsafe { aqf_store_open(host.session, text, len, &raw mut opened.store) } {
        OK => Ok(opened),
        status => {
            assert_eq!(status, INVALID);
            Err(last_error())
        }
    }
}

#[test]
fn a_restore_of_the_wrong_kind_of_store_says_which_is_the_right_one() {
    let host = Host::open("told", "owned");
    let empty = host.one(Request::new(op::RESTORE, host.store, 0));
    assert_eq!(empty.status, INVALID);
    assert!(empty.message.contains("has no handle: pass those"), "{}", empty.message);
    assert!(empty.message.contains("keep_checkpoints"), "{}", empty.message);
    let cut = host.one(Request::new(op::CHECKPOINT, host.store, 0));
    assert_eq!(cut.status, OK, "{}", cut.message);
    // It was not begun: handles restore the store after all.
    let restore = with_key(Request::new(op::RESTORE, host.store, 0), b"", &cut.value);
    assert_eq!(host.one(restore).status, OK);

    let keeps = store(&host, "number = 7\nkeep_checkpoints = 2").unwrap();
    let restore = with_key(Request::new(op::RESTORE, keeps.store, 0), b"", &cut.value);
    let refused = keeps.one(restore);
    assert_eq!(refused.status, INVALID);
    assert!(refused.message.contains("takes no handles: leave them out"), "{}", refused.message);
    assert_eq!(keeps.one(Request::new(op::RESTORE, keeps.store, 0)).status, OK);
    host.close();
}

#[test]
fn options_of_a_store_that_it_cannot_have_are_refused() {
    let host = Host::open("told-options", "owned");
    for (options, said) in [
        ("number = 18446744073709551615", "trials of the DFS write below this number"),
        ("keep_checkpoints =", "`keep_checkpoints` has no value: use a whole number up to 16"),
    ] {
        let refused = store(&host, options).err().expect(options);
        assert!(refused.contains(said), "{refused}");
    }
    host.close();
}

#[test]
fn credentials_that_nobody_asks_for_are_refused() {
    for dfs in ["memory://told-credentials", "target/told-credentials", "host://nobody/x"] {
        for credentials in ["credentials = nobody", "credential.AWS_ACCESS_KEY_ID = hunter2"] {
            let options = format!("dfs = {dfs}\nmemory = 48M\n{credentials}");
            assert_eq!(open_engine(&options), Err(INVALID), "{options}");
            let said = last_error();
            assert!(said.contains(&format!("DFS url {dfs}: nobody there asks for")), "{said}");
            assert!(said.contains("leave out") && !said.contains("hunter2"), "{said}");
        }
    }
    let foreign = "dfs = webhdfs://127.0.0.1:9870/x\ncredential.AWS_ACCESS_KEY_ID = hunter2";
    assert_eq!(open_engine(foreign), Err(INVALID));
    let said = last_error();
    assert!(said.contains("AWS_ACCESS_KEY_ID is none of webhdfs, which takes HADOOP"), "{said}");
    let half = "dfs = s3://b?region=r\ncredential.AWS_ACCESS_KEY_ID = hunter2";
    assert_eq!(open_engine(half), Err(INVALID));
    let said = last_error();
    assert!(said.contains("gives AWS_ACCESS_KEY_ID alone: give AWS_ACCESS_KEY_ID and"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
