use super::{field, parse_disk_stat, process_cpu_us, process_io, resident_bytes, stored_bytes};

#[test]
fn fields_are_found_by_their_whole_name() {
    let text = "rchar: 7\ncancelled_write_bytes: 5\nwrite_bytes: 42\n";
    assert_eq!(field(text, "write_bytes:"), Some(42));
    assert_eq!(field(text, "read_bytes:"), None);
}

#[test]
fn the_disk_line_is_read_by_position() {
    let disk = parse_disk_stat("  10  1  80  3  20  2  160  4 0 5 6 0 0\n").unwrap();
    assert_eq!((disk.reads, disk.read_bytes, disk.write_bytes), (10, 40_960, 81_920));
    assert!(parse_disk_stat("10 1").is_none());
}

#[test]
fn this_process_has_memory_time_and_files() {
    assert!(resident_bytes() > 1 << 20);
    assert!(process_io().is_some());
    let before = process_cpu_us();
    let mut turns = 0u64;
    while process_cpu_us() == before {
        turns += 1;
        assert!(turns < 1 << 32, "CPU time stands still");
    }
    let dir = std::env::temp_dir().join(format!("aquifer-probe-test-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("sub/file"), vec![1; 100_000]).unwrap();
    let stored = stored_bytes(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!((98_304..200_000).contains(&stored), "{stored}");
}
