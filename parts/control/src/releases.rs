//! Releases and the deployments that make them true.
//!
//! A release is recorded as a wish; the [`Deployments`] loop carries it out and survives both the caller and this
//! process: each turn looks at the app's machines and does what is next, by the rules of `mayfly-deploy`. What cannot be
//! seen in the machines (how far a deployment has come) is the release's stage in the store.

mod advice;
mod alike;
mod api;
mod command;
mod content;
mod deployment;
mod deployments;
mod error;
mod lease;
mod machine_checks;
mod machines;
mod make;
mod moving;
mod one_off;
mod options;
mod reach;
mod scaling;
mod view;
mod volumes;

pub(crate) use advice::advice as scale_advice;
pub(crate) use alike::{counts_in, is_autoscaled, release_of};
pub(crate) use api::{app_config, cancel, create, list, rollback, show};
pub(crate) use content::group_of;
pub(crate) use deployment::DRAIN;
pub(crate) use deployments::Deployments;
pub(crate) use moving::move_app;
pub(crate) use scaling::{concurrency as scale_concurrency, count as scale_count, vm as scale_vm};
