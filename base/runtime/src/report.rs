use std::error::Error;
use std::fmt::Write;

/// The whole chain of an error in one line, each cause behind a colon. Called once, where the error ends.
pub fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
