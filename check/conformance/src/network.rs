use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::Stage;

/// Acts in a network namespace, on a thread of its own.
///
/// # Panics
/// If there is no such namespace, or `act` does.
pub fn inside<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> T {
    let file = File::open(namespace).expect("the namespace is kept by a file");
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            act()
        });
        thread.join().expect("what is acted out does not panic")
    })
}

impl Stage {
    /// What the names of the cloud's things in the kernel carry.
    pub fn tag(&self) -> String {
        let text = fs::read(self.cloud.data_dir().join("network.json"));
        let text = text.expect("a cloud that serves has a network");
        let network: Value = serde_json::from_slice(&text).expect("the file is JSON");
        network["tag"]
            .as_str()
            .expect("a network has a tag")
            .to_owned()
    }

    /// The network namespace of a machine.
    pub fn network_of(&self, machine: &str) -> PathBuf {
        Path::new("/run/mayfly").join(self.tag()).join(machine)
    }
}
