use async_trait::async_trait;
use mayfly_edge::{LoadListener, LoadUnheard};
use mayfly_edge_api::EdgeLoad;
use mayfly_fleet::Link;

use crate::control_plane::LateControl;

/// Where the control plane hears how busy this server's edges are.
pub(crate) enum LoadDesk {
    /// In this process, once its store is there.
    Here(LateControl),
    There(Link),
}

#[async_trait]
impl LoadListener for LoadDesk {
    async fn tell(&self, load: EdgeLoad) -> Result<(), LoadUnheard> {
        match self {
            LoadDesk::Here(control) => {
                let control = control.get();
                let control = control
                    .ok_or_else(|| LoadUnheard("the control store is away".to_owned().into()))?;
                control.hear_load(load);
                Ok(())
            }
            LoadDesk::There(control) => {
                let said = control.say_load(load).await;
                said.map_err(|error| LoadUnheard(Box::new(error)))
            }
        }
    }
}
