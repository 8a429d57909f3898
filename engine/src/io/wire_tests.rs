use std::thread;

use super::*;
use crate::io::test_support::Folder;

const SECRET: &[u8] = b"0123456789abcdef";

fn soon() -> Nanos {
    clock::now() + 60_000_000_000
}

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

/// Connects to what `serve` does with the connection.
fn against(serve: impl FnOnce(TcpStream) + Send + 'static) -> Result<Wire> {
    let listener = listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    Wire::connect(&address, &secret(), soon())
}

fn fails<T>(result: Result<T>) -> String {
    result.err().expect("it fails").text.to_string()
}

#[test]
fn messages_cross_in_both_directions() {
    let mut wire = against(|stream| {
        let mut wire = Wire::accept(stream, &secret(), soon()).unwrap();
        let message = wire.receive(soon()).unwrap();
        wire.send(&message.repeat(2), soon()).unwrap();
    })
    .unwrap();
    let message = vec![7; 100_000];
    wire.send(&message, soon()).unwrap();
    assert_eq!(wire.receive(soon()).unwrap(), message.repeat(2));
    assert!(fails(wire.receive(soon())).contains("ended the connection"));
}

#[test]
fn another_secret_is_refused_by_both_sides() {
    let mut wire = against(|stream| {
        let other = Secret::new(b"another secret of theirs").unwrap();
        let mut wire = Wire::accept(stream, &other, soon()).unwrap();
        assert!(fails(wire.receive(soon())).contains("the secrets differ"));
        wire.send(b"ready", soon()).unwrap();
        wire.close();
    })
    .unwrap();
    wire.send(b"errand", soon()).unwrap();
    assert!(fails(wire.receive(soon())).contains("the secrets differ"));
}

#[test]
fn whatever_else_answers_is_told_by_name() {
    let http = against(|mut stream| {
        let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
    });
    assert!(fails(http).contains("neither an engine nor a compactor"));
    let version = against(|mut stream| {
        let mut greeting = sealed::greeting([1; 32]);
        greeting[4] = 2;
        stream.write_all(&greeting).unwrap();
    });
    assert!(fails(version).contains("speaks version 2"));
    assert!(fails(against(drop)).contains("ended the connection"));
    let nobody = listen("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert!(fails(Wire::connect(&nobody, &secret(), soon())).contains("refused"));
    assert!(fails(Wire::connect("127.0.0.1", &secret(), soon())).contains("see that it runs"));
}

#[test]
fn silence_ends_with_the_deadline() {
    let (sender, end) = std::sync::mpsc::channel::<()>();
    let mut wire = against(move |stream| {
        let wire = Wire::accept(stream, &secret(), soon()).unwrap();
        let _left = end.recv();
        drop(wire);
    })
    .unwrap();
    assert!(fails(wire.receive(clock::now() + 20_000_000)).contains("said nothing in time"));
    assert!(fails(wire.receive(clock::now())).contains("said nothing in time"));
    drop(sender);
}

#[test]
fn garbage_behind_the_greeting_is_refused() {
    for garbage in [&[0xff; 64][..], &[0; 64], &[20, 0, 0, 0, 1, 2, 3]] {
        let mut wire = against(move |mut stream| {
            stream.write_all(&sealed::greeting([1; 32])).unwrap();
            stream.write_all(garbage).unwrap();
            // Else what it sends meets a closed socket, and the garbage is dropped.
            let _greeting = stream.read(&mut [0; 64]);
        })
        .unwrap();
        assert!(wire.receive(soon()).is_err());
    }
}

#[test]
fn a_secret_is_read_from_its_file() {
    let folder = Folder::new();
    let path = folder.path().join("secret");
    assert!(fails(read_secret(Some(&path))).contains("No such file"));
    std::fs::write(&path, b"short\n").unwrap();
    let error = fails(read_secret(Some(&path)));
    assert!(error.contains("has 5 bytes") && !error.contains("short"), "{error}");
    std::fs::write(&path, [SECRET, b"\n"].concat()).unwrap();
    read_secret(Some(&path)).unwrap();
    // The environment gives all of such a one, so it would be another secret there.
    std::fs::write(&path, vec![b'x'; SECRET_BYTES_MAX + 1]).unwrap();
    assert!(fails(read_secret(Some(&path))).contains("longer than 4096 bytes"));
}

#[test]
fn a_name_that_nobody_looks_up_holds_up_nothing() {
    let (sender, end) = std::sync::mpsc::channel::<()>();
    let stuck = move || {
        let _left = end.recv();
        Ok(())
    };
    assert!(fails(in_time(clock::now() + 20_000_000, stuck)).contains("said nothing in time"));
    drop(sender);
    in_time(soon(), || Ok(())).unwrap();
    let named = resolve("localhost:7", soon()).unwrap();
    assert!(!named.is_empty() && named.iter().all(|at| at.port() == 7 && at.ip().is_loopback()));
}
