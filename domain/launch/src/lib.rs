//! What an app's sources say about how to run it.
//!
//! [`detect`] looks at a [`SourceTree`] the way people do: by the files that are there and what stands in them. The first
//! family that recognises its own wins, in the order of Fly.io's own scanners, and answers with a [`Project`]: the port,
//! a Dockerfile where there is none, variables, commands, volumes, and which services the app will want. Files for systems
//! of continuous integration are in [`pipeline`], which files a build is given in [`ContextRules`]. Nothing here reads a
//! disk, knows the platform's API or writes a `fly.toml`.

mod context_rules;
mod dockerfile;
mod family;
mod heroku;
mod ignore;
pub mod pipeline;
mod procfile;
mod project;
mod text;
mod tree;

pub use context_rules::{ContextRules, InvalidContextRule, Judgement};
pub use dockerfile::exposed as exposed_ports;
pub use family::detect;
pub use ignore::dockerignore_of_gitignores;
pub use project::{Backing, Check, GeneratedFile, Mount, Project, SecretSource, WantedSecret};
pub use tree::{MARKS, SourceTree, is_skipped, is_wanted};
