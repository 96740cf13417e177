//! Volumes: disk space on one host that outlives the machines it is mounted in.

mod choice;
mod keeper;
mod make;
mod mount;
mod rest;
mod size;
mod view;

pub(crate) use choice::VolumeChoice;
pub(crate) use keeper::VolumeKeeper;
pub(crate) use make::VolumeWish;
pub(crate) use mount::{Mounted, WantedMount, Within, name_of};
pub(crate) use rest::{
    create, delete, extend, list, of_org, restore, show, snapshot, snapshots, update,
};
pub(crate) use size::{check_name, size_gb};
