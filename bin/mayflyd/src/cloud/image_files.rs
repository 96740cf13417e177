use std::path::PathBuf;

use mayfly_edge::StaticFiles;
use mayfly_host::Host;
use mayfly_types::MachineId;

/// The files of the images of this server's machines.
pub(super) struct ImageFiles(pub(super) Vec<Host>);

impl StaticFiles for ImageFiles {
    fn layers(&self, machine: MachineId) -> Option<Vec<PathBuf>> {
        self.0.iter().find_map(|host| host.image_layers(machine))
    }
}
