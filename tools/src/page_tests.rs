use serde_json::Value;

use super::{Page, hex, unhex};

fn written(json: bool) -> String {
    let mut out = Vec::new();
    Page::write(&mut out, json, |page| {
        page.field("format_version", 1)?;
        page.group("object_name", |page| {
            page.field("kind", "a \"table\"\n")?;
            page.rows("none", [])?;
            Ok(())
        })?;
        page.group("nothing", |_| Ok(()))?;
        page.rows("runs", [vec![("run", 1.into())], vec![("run", 2.into()), ("at", Value::Null)]])?;
        page.bytes("key", &[7; 60])?;
        Ok(())
    })
    .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn one_description_is_json_and_lines() {
    let json: Value = serde_json::from_str(&written(true)).unwrap();
    assert_eq!(json["object_name"]["kind"], "a \"table\"\n");
    assert_eq!(json["object_name"]["none"], Value::Array(Vec::new()));
    assert!(json["nothing"].as_object().unwrap().is_empty());
    assert_eq!(json["runs"][1]["run"], 2);
    assert_eq!(json["key"], hex(&[7; 60]));
    let lines = written(false);
    let want = "format version: 1\nobject name:\n  kind: a \"table\"\\n\n  none: none\nnothing:\n\
                runs:\n  - run 1\n";
    assert!(lines.starts_with(want), "{lines}");
    assert!(lines.contains(".. (60 bytes)"), "{lines}");
}

#[test]
fn digits_are_bytes_and_nothing_else_is() {
    let bytes = [0, 1, 0x7f, 0x80, 0xff];
    assert_eq!(unhex(&hex(&bytes)), Some(bytes.to_vec()));
    assert_eq!(unhex("AbCd"), Some(vec![0xab, 0xcd]));
    for text in ["0", "0g", "+1", "ä", "0x00"] {
        assert_eq!(unhex(text), None, "{text}");
    }
}
