use super::{Incarnation, ObjectKind, ObjectName};

fn name(kind: ObjectKind) -> ObjectName {
    let incarnation = Incarnation { host_epoch: 2, nonce: 0x2a };
    ObjectName { store: 1, incarnation, kind, seq: 3, rand: 0x9e37_79b9_7f4a_7c15 }
}

#[test]
fn a_path_is_read_as_it_is_written() {
    for kind in [ObjectKind::Sst, ObjectKind::Manifest, ObjectKind::Root] {
        assert_eq!(name(kind).to_string().parse::<ObjectName>().unwrap(), name(kind));
    }
}

#[test]
fn other_spellings_name_no_object() {
    let good = name(ObjectKind::Sst).to_string();
    let bad = [
        String::new(),
        good[1..].to_owned(),
        format!("/{good}"),
        format!("{good}/"),
        good.to_uppercase(),
        good.replace("sst", "tmp"),
        good.replace("-0000000000000003", "-+000000000000003"),
        good.replace("9e37", "09e37"),
    ];
    for path in bad {
        let error = path.parse::<ObjectName>().unwrap_err();
        assert!(error.text.contains("STORE/EPOCH-NONCE"), "{path}: {error}");
    }
}

#[test]
fn all_openings_name_a_root_alike() {
    let path = "0000000000000007/0000000000000000-00000000000000000000000000000000/\
                root-0000000000000029-0000000000000000";
    let root = ObjectName::root(7, 41);
    assert_eq!(root.to_string(), path);
    assert_eq!(ObjectName::decode(&root.encode()), Some(root));
}
