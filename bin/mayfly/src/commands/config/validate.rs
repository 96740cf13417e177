use clap::Args;
use mayfly_appconfig::Problem;
use serde_json::json;

use super::show::no_file;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Output;
use crate::sources;

#[derive(Args, Debug)]
#[command(
    after_help = "Likely mistakes are warnings; one that is meant can be allowed by a comment in the file:\n  \
                        # mayfly: allow RULE"
)]
pub(crate) struct Validate {
    /// Refuse sections and keys that are unknown
    #[arg(short, long)]
    strict: bool,
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Validate {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let local = self.app.local_config()?.ok_or_else(no_file)?;
        let facts = sources::facts(local.directory(), &local.reading.config);
        let file = local.file();
        let reading = if self.strict {
            local.reading.strict()
        } else {
            local.reading
        };
        let mut problems = reading.problems.clone();
        if reading.is_valid() {
            problems.extend(reading.lint(&facts));
            problems.sort_by_key(|problem| (problem.line, problem.column));
        }
        let valid = reading.is_valid();
        if self.json.json {
            context
                .out
                .json(&json!({ "file": file, "valid": valid, "problems": problems }))?;
        } else {
            print_problems(&context.out, &file, &problems)?;
        }
        if valid {
            if !self.json.json {
                context.out.line(&format!("✓ {file} is valid"))?;
            }
            return Ok(());
        }
        let mistakes = problems.iter().filter(|problem| problem.is_error()).count();
        let noun = if mistakes == 1 { "mistake" } else { "mistakes" };
        Err(Failure::new(format!("{file} has {mistakes} {noun}")).into())
    }
}

/// Problems, one below the other: place, what is wrong, what to do about it.
pub(crate) fn print_problems(
    out: &Output,
    file: &str,
    problems: &[Problem],
) -> std::io::Result<()> {
    for problem in problems {
        let color = if problem.is_error() { "31" } else { "33" };
        let word = problem.severity.as_str();
        let line = problem
            .in_file(file)
            .replacen(word, &out.style(word, color), 1);
        let rule = problem
            .rule
            .map_or_else(String::new, |rule| out.faint(&format!(" [{rule}]")));
        out.line(&format!("{line}{rule}"))?;
        if let Some(remedy) = &problem.remedy {
            out.line(&format!("    {remedy}"))?;
        }
    }
    Ok(())
}
