use std::collections::BTreeMap;
use std::ops::Range;

use crate::problem::Problem;

/// Where in the text each part of the configuration stands.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
    text: String,
    spans: BTreeMap<String, Range<usize>>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            lines: std::iter::once(0).chain(breaks).collect(),
            text: text.to_owned(),
            spans: BTreeMap::new(),
        }
    }

    pub(crate) fn note(&mut self, path: &str, span: &Range<usize>) {
        self.spans
            .entry(path.to_owned())
            .or_insert_with(|| span.clone());
    }

    /// Line and column of a part, or of the nearest part around it; zeros when there is none.
    pub(crate) fn place(&self, path: &str) -> (usize, usize) {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return self.position(span.start);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return (0, 0),
            }
        }
    }

    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        if self.lines.is_empty() {
            return (0, 0);
        }
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Gives every problem its place, and the whole list the order of the file.
    pub(crate) fn locate(&self, problems: &mut [Problem]) {
        for problem in problems.iter_mut().filter(|problem| problem.line == 0) {
            (problem.line, problem.column) = self.place(&problem.path);
        }
        problems.sort_by_key(|problem| (problem.line, problem.column, problem.severity));
    }

    /// The rules a comment in the file switches off: `# mayfly: allow single-machine, no-swap`.
    pub(crate) fn allowed_rules(&self) -> Vec<&str> {
        let comments = self.text.lines().filter_map(|line| line.split_once('#'));
        comments
            .filter_map(|(_, comment)| comment.trim().strip_prefix("mayfly: allow "))
            .flat_map(|rules| rules.split([',', ' ']))
            .filter(|rule| !rule.is_empty())
            .collect()
    }
}
