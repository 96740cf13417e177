/// The one of `known` that `word` was probably meant to be, if any is near enough.
///
/// Near means at most one slip (a letter added, left out, changed or swapped with its neighbour) per three letters, or
/// that one word begins with the other.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (slips(&word, candidate), candidate))
        .filter(|(slips, candidate)| {
            *slips <= allowed
                || (word.len() >= 3 && candidate.starts_with(&word))
                || (candidate.len() >= 3 && word.starts_with(candidate))
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance.
fn slips(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_understood() {
        let known = ["cpu_kind", "cpus", "memory_mb", "gpu_kind"];
        for (word, meant) in [
            ("cpu_kinds", Some("cpu_kind")),
            ("cpu", Some("cpus")),
            ("memroy_mb", Some("memory_mb")),
            ("Memory_MB", Some("memory_mb")),
            ("memory", Some("memory_mb")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
    }
}
