use mayfly_wire::BuildFailure;

/// A line is kept so far; what is longer is no word of ours or of the engine's.
const LINE_MAX: usize = 64 << 10;

/// What a builder's program said on its output: a word and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The build holds its place in the machine.
    Started,
    /// The context arrived whole.
    Context,
    Built {
        id: String,
        size: String,
    },
    /// By the digest of its manifest.
    Pushed(String),
}

impl Finding {
    fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "started" => Some(Finding::Started),
            "context" => Some(Finding::Context),
            "built" => {
                let (id, size) = rest.split_once(' ').unwrap_or((rest, ""));
                Some(Finding::Built {
                    id: id.to_owned(),
                    size: size.to_owned(),
                })
            }
            "pushed" => Some(Finding::Pushed(rest.to_owned())),
            _ => None,
        }
    }
}

/// Follows both outputs of a build.
#[derive(Debug, Default)]
pub struct Output {
    said: Lines,
    log: Lines,
    step: Option<String>,
    error: Option<String>,
}

impl Output {
    /// What the program's own output says in addition.
    pub fn said(&mut self, bytes: &[u8]) -> Vec<Finding> {
        let lines = self.said.add(bytes);
        lines
            .iter()
            .filter_map(|line| Finding::read(line))
            .collect()
    }

    /// Takes notice of what people are shown.
    pub fn log(&mut self, bytes: &[u8]) {
        for line in self.log.add(bytes) {
            if let Some(step) = line.strip_prefix("STEP ").or_else(|| in_stage(&line)) {
                self.step = Some(step.trim().to_owned());
            } else if line.starts_with("Error: ") || line.starts_with("error ") {
                self.error = Some(line);
            }
        }
    }

    /// Why the build failed that ended with `code`.
    pub fn failure(&self, code: i32) -> BuildFailure {
        let Some(error) = &self.error else {
            return BuildFailure {
                reason: format!("the builder's program ended with code {code}"),
                step: self.step.clone(),
                exit_code: None,
            };
        };
        let text = error.strip_prefix("Error: ").unwrap_or(error);
        let Some((_, rest)) = text.split_once("building at STEP \"") else {
            return BuildFailure {
                reason: text.to_owned(),
                ..BuildFailure::default()
            };
        };
        // The step may contain anything; what follows it does not.
        let (step, why) = rest.rsplit_once("\": ").unwrap_or((rest, ""));
        let exit_code = why
            .rsplit_once("exit status ")
            .and_then(|(_, code)| code.trim().parse().ok());
        BuildFailure {
            reason: why.to_owned(),
            step: Some(self.step.clone().unwrap_or_else(|| step.to_owned())),
            exit_code,
        }
    }
}

/// `[1/2] STEP 3/4: RUN x` of a build with several stages.
fn in_stage(line: &str) -> Option<&str> {
    let (stage, rest) = line.strip_prefix('[')?.split_once("] STEP ")?;
    let numbers = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'/')
    };
    numbers(stage).then_some(rest)
}

#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The lines that these bytes complete.
    fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_MAX.saturating_sub(self.0.len());
            self.0.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.0).trim_end().to_owned();
                self.0.clear();
                whole.push(line);
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_from_pieces() {
        let mut output = Output::default();
        assert_eq!(output.said(b"star"), []);
        assert_eq!(
            output.said(b"ted\ncontext\nbuilt sha256:ab 12 MB\nnoise\n"),
            [
                Finding::Started,
                Finding::Context,
                Finding::Built {
                    id: "sha256:ab".into(),
                    size: "12 MB".into()
                }
            ]
        );
        assert_eq!(
            output.said(b"pushed sha256:cd\n"),
            [Finding::Pushed("sha256:cd".into())]
        );
    }

    #[test]
    fn a_failure_names_step_and_code() {
        let log = "STEP 1/2: FROM scratch\nSTEP 2/2: RUN echo \"a\": b; exit 3\nsubprocess exited with status 3\n\
                   Error: building at STEP \"RUN echo \"a\": b; exit 3\": exit status 3\n";
        let mut output = Output::default();
        output.log(log.as_bytes());
        assert_eq!(
            output.failure(3),
            BuildFailure {
                reason: "exit status 3".into(),
                step: Some("2/2: RUN echo \"a\": b; exit 3".into()),
                exit_code: Some(3),
            }
        );
    }

    #[test]
    fn other_failures_are_told_as_they_are() {
        for (log, step, reason) in [
            (
                "[2/2] STEP 1/3: COPY a /\nError: building at STEP \"COPY a /\": no such file\n",
                Some("1/3: COPY a /"),
                "no such file",
            ),
            (
                "Error: dockerfile parse error line 1\n",
                None,
                "dockerfile parse error line 1",
            ),
            (
                "STEP 1/1: RUN x\nkilled\n",
                Some("1/1: RUN x"),
                "the builder's program ended with code 9",
            ),
        ] {
            let mut output = Output::default();
            output.log(log.as_bytes());
            let failure = output.failure(9);
            assert_eq!(failure.step.as_deref(), step, "{log}");
            assert_eq!(failure.reason, reason, "{log}");
        }
    }
}
