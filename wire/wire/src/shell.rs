/// A command line that ends inside a quotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quotation is not closed")]
pub struct UnbalancedQuote;

/// Splits a command line into words as a POSIX shell does with quotes and backslashes; nothing is expanded.
///
/// # Errors
/// A quote or a final backslash has nothing to close it.
pub fn shell_split(line: &str) -> Result<Vec<String>, UnbalancedQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(UnbalancedQuote)? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(UnbalancedQuote)? {
                        '"' => break,
                        '\\' => match letters.next().ok_or(UnbalancedQuote)? {
                            '\n' => {}
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => match letters.next().ok_or(UnbalancedQuote)? {
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_in_a_shell() {
        for (line, words) in [
            ("echo hi", vec!["echo", "hi"]),
            ("  a\t b\n", vec!["a", "b"]),
            ("sh -c 'echo \"x y\"'", vec!["sh", "-c", "echo \"x y\""]),
            ("a\"b c\"d ''", vec!["ab cd", ""]),
            (r#"a\ b "\$x\n""#, vec!["a b", r"$x\n"]),
            ("", vec![]),
        ] {
            assert_eq!(shell_split(line).unwrap(), words, "{line}");
        }
        for open in ["'a", "\"a", "a\\"] {
            assert_eq!(shell_split(open), Err(UnbalancedQuote), "{open}");
        }
    }
}
