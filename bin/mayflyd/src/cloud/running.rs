use std::sync::Arc;
use std::time::Duration;

use mayfly_driver::ContainerDriver;
use mayfly_image::ImageStore;
use mayfly_runtime::{Stop, TaskSet};
use tokio::sync::watch;
use tracing::error;

use super::Cloud;
use crate::control_plane::ControlPlane;
use crate::edge_load::LoadDesk;
use crate::fleet::{Fleet, ThisServer};

impl Cloud {
    /// Begins to serve: the host continues what its journal says, then requests are answered.
    pub(crate) async fn serve(self) -> Running {
        let tasks = TaskSet::new();
        let hosts = self.hosts.clone();
        for host in self.hosts {
            tasks
                .spawn("host", |stop| async move { host.run(stop).await })
                .await;
        }
        self.catalogs.spawn(&tasks).await;
        let names = self.names;
        tasks.spawn("names", |stop| names.run(stop)).await;
        if let Some(challenges) = self.challenges {
            tasks.spawn("challenges", |stop| challenges.run(stop)).await;
        }
        for gateway in self.gateways {
            tasks.spawn("gateway", |stop| gateway.run(stop)).await;
        }
        let answered_for = self.answered_for;
        tasks
            .spawn("addresses", |stop| answered_for.follow(stop))
            .await;
        let keeper = self.keeper;
        tasks.spawn("fleet", |stop| keeper.run(stop)).await;
        let here = self
            .control
            .as_ref()
            .map(|(_, plane)| LoadDesk::Here(plane.door()));
        let link = self.fleet.as_ref().and_then(Fleet::control);
        if let Some(desk) = here.or_else(|| link.cloned().map(LoadDesk::There)) {
            let routes = self.routes;
            tasks
                .spawn("edge.load", |stop| routes.tell_load(Arc::new(desk), stop))
                .await;
        }
        let edges = TaskSet::new();
        for edge in self.edges {
            edges
                .spawn("edge", |stop| async move {
                    if let Err(error) = edge.run(stop).await {
                        error!(error = mayfly_runtime::report(&error), "edge ended");
                    }
                })
                .await;
        }
        let traffic = self.traffic;
        tasks.spawn("traffic", |stop| traffic.run(stop)).await;
        let doors = self.doors;
        tasks.spawn("doors", |stop| doors.run(stop)).await;
        let door = self.control.as_ref().map(|(_, plane)| plane.door());
        let registry_listener = match (self.distant_registry, &self.fleet) {
            (Some(hosts), Some(fleet)) => {
                let clients = self.registry_listener;
                fleet.lead_to_registry(clients, hosts, &tasks).await;
                None
            }
            _ => Some(self.registry_listener),
        };
        if let Some(fleet) = self.fleet {
            let server = ThisServer {
                hosts,
                images: self.images.clone(),
                registry: self.led_registry,
                control: door,
                api: self.control.as_ref().map(|(_, plane)| plane.router()),
                directory: self.directory,
                others: self.others,
                uploads: self.uploads,
                clock: self.clock,
                entropy: self.entropy,
            };
            fleet.spawn(&tasks, server).await;
        }
        if let Some(backhaul) = self.backhaul {
            tasks.spawn("backhaul", |stop| backhaul.run(stop)).await;
        }
        let api = TaskSet::new();
        let control = match self.control {
            None => {
                if let Some(passages) = self.passages {
                    let passage = passages.at_api(self.inner_listener);
                    tasks.spawn("fleet.api", |stop| passage.run(stop)).await;
                }
                None
            }
            Some((listener, mut plane)) => {
                plane.serve(listener, &api).await;
                // With limits of its own: machines cannot take the places of those who manage them.
                plane.serve(self.inner_listener, &api).await;
                if let Some(listener) = registry_listener {
                    plane.serve_registry(listener, &api).await;
                }
                plane.spawn(&tasks).await;
                Some(plane)
            }
        };
        Running {
            api,
            tasks,
            edges,
            edge_patience: self.edge_patience,
            control,
            driver: self.driver,
            images: self.images,
            requests: self.requests,
        }
    }
}

/// A serving cloud.
pub(crate) struct Running {
    api: TaskSet,
    tasks: TaskSet,
    edges: TaskSet,
    edge_patience: Duration,
    control: Option<ControlPlane>,
    driver: ContainerDriver,
    images: ImageStore,
    requests: Stop,
}

impl Running {
    /// True once the control plane has its store.
    pub(crate) fn has_control(&self) -> watch::Receiver<bool> {
        match &self.control {
            Some(control) => control.present(),
            // Another server's: nothing is waited for here.
            None => watch::Sender::new(true).subscribe(),
        }
    }

    /// Stops accepting, lets requests and operations finish for at most `patience` each, ends everything else. Machines
    /// run on. True if nothing had to be cut off.
    pub(crate) async fn shut_down(self, patience: Duration) -> bool {
        self.requests.cancel();
        let answered = self.api.shut_down(patience).await;
        let finished = match &self.control {
            Some(control) => control.drain(patience).await,
            None => true,
        };
        let drained = self.edges.shut_down(self.edge_patience).await;
        let ended = self.tasks.shut_down(patience).await;
        let closed = self.driver.shut_down(patience).await;
        self.images.shut_down().await;
        answered && finished && drained && ended && closed
    }
}
