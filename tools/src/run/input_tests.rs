use std::fs;

use super::*;
use crate::run::inputs::InputFile;

/// Files whose words touch every edge: none, one, at the very start and end, across the buffer,
/// bytes that are no text, a file that ends inside a run.
fn corpus() -> (tempfile::TempDir, Inputs) {
    let mut across = vec![b'.'; BUFFER_BYTES - 5];
    across.extend_from_slice(b"acrossTheEdge of it");
    let texts: [&[u8]; 9] = [
        b"the state under the Stream",
        b"",
        b"...",
        b"x",
        b"  a-B_c\n\xff\xfe9z\0\xc3\xa4rger 42",
        &across,
        b"one two three four five ",
        b"six seven",
        b"\neight",
    ];
    inputs_of(&texts)
}

fn inputs_of(texts: &[&[u8]]) -> (tempfile::TempDir, Inputs) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let path = folder.path().join(format!("{i}.txt"));
        fs::write(&path, text).unwrap();
        files.push(InputFile { path: path.to_str().unwrap().to_owned(), bytes: text.len() as u64 });
    }
    (folder, Inputs::new(files).unwrap())
}

fn naive(inputs: &Inputs, ngram: usize) -> Vec<String> {
    let mut all = Vec::new();
    for file in inputs.files() {
        let bytes = fs::read(&file.path).unwrap();
        let words: Vec<String> = bytes
            .split(|b| !b.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8(word.to_ascii_lowercase()).unwrap())
            .collect();
        all.extend(words.windows(ngram).map(|run| run.join(" ")));
    }
    all
}

fn rest(mut reader: Reader<'_>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(key) = reader.next().unwrap() {
        all.push(String::from_utf8(key.to_vec()).unwrap());
    }
    assert_eq!(reader.bytes(), reader.inputs.bytes(), "every byte was read");
    all
}

fn reader<'a>(inputs: &'a Inputs, ngram: usize, position: &Position) -> Reader<'a> {
    Reader::new(inputs, ngram, position, Pass::First).unwrap()
}

#[test]
fn records_are_those_of_a_naive_reader() {
    let (_folder, inputs) = corpus();
    for ngram in 1..=5 {
        let read = rest(reader(&inputs, ngram, &Position::default()));
        assert_eq!(read, naive(&inputs, ngram), "runs of {ngram}");
        assert!(read.len() > 3);
    }
}

#[test]
fn every_position_goes_on_with_the_same_records() {
    let (_folder, inputs) = corpus();
    for ngram in 1..=4 {
        let all = naive(&inputs, ngram);
        let mut walker = reader(&inputs, ngram, &Position::default());
        for i in 0..=all.len() {
            let position = walker.position();
            assert_eq!(position.records, i as u64);
            let text = serde_json::to_string(&position).unwrap();
            let position: Position = serde_json::from_str(&text).unwrap();
            let resumed = reader(&inputs, ngram, &position);
            assert_eq!(resumed.bytes(), walker.bytes());
            assert_eq!(resumed.position(), position);
            assert_eq!(rest(resumed), all[i..], "runs of {ngram} from {position:?}");
            assert_eq!(walker.next().unwrap().is_some(), i < all.len());
        }
        assert_eq!(rest(reader(&inputs, ngram, &walker.position())), [""; 0]);
    }
}

#[test]
fn a_word_longer_than_a_key_is_cut_and_the_next_one_is_whole() {
    let long = [b"y".repeat(2 * BUFFER_BYTES), b" next".to_vec()].concat();
    let (_folder, inputs) = inputs_of(&[&long]);
    let cut = "y".repeat(KEY_BYTES_MAX);
    assert_eq!(rest(reader(&inputs, 1, &Position::default())), [cut.clone(), "next".to_owned()]);
    // The second word of the run finds no room in the key.
    assert_eq!(rest(reader(&inputs, 2, &Position::default())), [cut]);
}

#[test]
fn a_file_that_lost_bytes_is_named() {
    let (_folder, inputs) = inputs_of(&[b"one two", b"three four"]);
    let path = &inputs.files()[1].path;
    fs::write(path, b"three").unwrap();
    let mut reader = reader(&inputs, 1, &Position::default());
    let error = std::iter::from_fn(|| reader.next().map(|r| r.map(drop)).transpose())
        .find_map(Result::err)
        .expect("the loss is noticed");
    assert!(format!("{error:#}").contains(path.as_str()), "{error:#}");
}

#[test]
fn bytes_added_while_the_job_runs_are_not_counted() {
    let (_folder, inputs) = inputs_of(&[b"one two"]);
    fs::write(&inputs.files()[0].path, b"one twofold three").unwrap();
    assert_eq!(rest(reader(&inputs, 1, &Position::default())), ["one", "two"]);
}
