//! Sizes as people write them.

/// Megabytes in a text: a bare number counts `bare_mib` megabytes, a unit (`kb`, `mb`, `GiB` …) says otherwise.
///
/// `None` for anything else, and for less than one megabyte or parts of one.
pub(crate) fn mib(text: &str, bare_mib: i64) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let digits =
        text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let kib = match text[digits.len()..].trim() {
        "" => bare_mib << 10,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 1 << 10,
        "g" | "gb" | "gib" => 1 << 20,
        "t" | "tb" | "tib" => 1 << 30,
        _ => return None,
    };
    let number: f64 = digits
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && (0.0..1e9).contains(number))?;
    let mib = number * kib as f64 / 1024.0;
    (mib >= 1.0 && mib.fract() == 0.0).then_some(mib as i64)
}

/// The shortest text that reads as this many megabytes.
pub(crate) fn shown(mib: i64) -> String {
    if mib % 1024 == 0 {
        format!("{}gb", mib / 1024)
    } else {
        format!("{mib}mb")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_and_without_unit() {
        for (text, bare, size) in [
            ("512", 1, Some(512)),
            ("512mb", 1, Some(512)),
            ("1 GB", 1, Some(1024)),
            ("1.5gib", 1, Some(1536)),
            ("10", 1024, Some(10240)),
            ("10gb", 1024, Some(10240)),
            ("2048k", 1, Some(2)),
            ("1k", 1, None),
            ("", 1, None),
            ("-1", 1, None),
            ("many", 1, None),
            ("1.3mb", 1, None),
        ] {
            assert_eq!(mib(text, bare), size, "{text}");
            if let Some(size) = size {
                assert_eq!(mib(&shown(size), 1), Some(size));
            }
        }
    }
}
