//! What somebody may have meant who wrote a name that does not exist.

/// The known name that differs least from `name`, if it differs in a third of its characters at
/// most.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|&(edits, _)| edits <= name.chars().count().max(3) / 3)
        .map(|(_, known)| known)
}

// Edits (insert, remove, replace) from one name to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_close_or_none() {
        let known = ["memory", "shards", "dfs"];
        assert_eq!(nearest("memroy", known), Some("memory"));
        assert_eq!(nearest("shard", known), Some("shards"));
        assert_eq!(nearest("dsf", known), None);
        assert_eq!(nearest("dfa", known), Some("dfs"));
        assert_eq!(nearest("", []), None);
    }
}
