//! What tests of the whole share: a real cloud in a temporary directory, a plain HTTP client, waiting for facts.
//!
//! [`TestCloud`] starts the real `mayflyd` with real machines and takes everything down again, also when a test panics.
//! Nothing here knows our crates' insides: the programs are driven by their public commands only.

mod binaries;
mod cli;
mod cloud;
mod dns;
mod docker_registry;
mod fleet;
mod http;
mod image;
mod leftovers;
mod postgres;
mod wait;

pub use binaries::binaries;
pub use cli::{CliAnswer, CliRunner};
pub use cloud::{CloudOptions, TestCloud};
pub use dns::FakeDns;
pub use docker_registry::DockerRegistry;
pub use fleet::TestFleet;
pub use http::{Answer, HttpError, Method, send};
pub use image::TestImage;
pub use leftovers::Leftovers;
pub use postgres::{NamespacePostgres, PostgresDoor, postgres_url};
pub use wait::{wait_for, wait_until};
