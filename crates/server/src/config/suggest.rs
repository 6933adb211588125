//! The nearest known name for a misspelt one.

/// The candidate that takes the fewest edits to reach, if it takes few enough to be what was meant.
///
/// An edit inserts, drops, replaces or swaps neighbouring characters; about a third of the word may differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name far longer than any setting is no misspelling, and the comparison is quadratic.
    if word.len() > 64 {
        return None;
    }
    let word = normal(word);
    let (distance, best) = candidates
        .into_iter()
        .map(|candidate| (edits(&word, &normal(candidate)), candidate))
        .min_by_key(|(d, _)| *d)?;
    (distance <= (word.len() / 3).max(1)).then_some(best)
}

/// Upper case and dashes are the commonest slips, so they cost nothing.
fn normal(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["listen", "issuer", "database_url"];

    #[test]
    fn slips_find_the_name_that_was_meant() {
        for (word, meant) in [
            ("isuer", "issuer"),
            ("lisetn", "listen"),
            ("database-url", "database_url"),
            ("DatabaseUrl", "database_url"),
            ("databse_ulr", "database_url"),
        ] {
            assert_eq!(nearest(word, NAMES), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_name_like_nothing_gets_no_suggestion() {
        assert_eq!(nearest("favourite_colour", NAMES), None);
        assert_eq!(nearest(&"listen".repeat(20), NAMES), None);
        assert_eq!(nearest("", NAMES), None);
    }
}
