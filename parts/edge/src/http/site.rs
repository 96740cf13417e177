//! Which service a request is for.

use std::sync::Arc;

use mayfly_edge_api::ReplaySource;
use mayfly_machine::{Handler, HttpOptions, PortSpec, Protocol};
use mayfly_routing::{Party, ReplaySources};

use super::core::Core;
use super::head::RequestHead;
use super::problem::Problem;
use crate::fleet::{App, Service, Table};
use crate::transport::{ConnInfo, Reach};

/// An app's service as one of its public ports shows it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) app: Arc<App>,
    pub(crate) service: Arc<Service>,
    /// Place of the port among the service's.
    port: usize,
}

impl Site {
    /// The service that answers at `port` of an app.
    pub(crate) fn at(app: &Arc<App>, port: u16) -> Option<Site> {
        let (service, public) = app.port(port, Protocol::Tcp)?;
        let place = service
            .spec()
            .ports
            .iter()
            .position(|other| std::ptr::eq(other, public))?;
        Some(Site {
            app: Arc::clone(app),
            service: Arc::clone(service),
            port: place,
        })
    }

    /// Where a replay that was received at `port` goes in another app: the same port, else what people reach it by.
    pub(crate) fn for_replay(app: &Arc<App>, port: u16) -> Option<Site> {
        [port, 443, 80]
            .into_iter()
            .find_map(|port| Site::at(app, port).filter(|site| site.is_http()))
    }

    pub(crate) fn port(&self) -> &PortSpec {
        &self.service.spec().ports[self.port]
    }

    pub(crate) fn options(&self) -> &HttpOptions {
        &self.port().http
    }

    pub(crate) fn is_http(&self) -> bool {
        self.port()
            .handlers
            .iter()
            .any(|handler| matches!(handler, Handler::Http | Handler::EdgeHttp))
    }
}

/// What the last request of a connection was for: most are followed by others to the same place.
#[derive(Debug)]
pub(crate) struct Known {
    /// Of the table it was found in.
    version: u64,
    host: Box<str>,
    pub(crate) site: Site,
}

impl Known {
    /// Finds what a request is for, unless it is known from the last one and still stands.
    ///
    /// # Errors
    /// Those of [`find`].
    pub(crate) fn find(
        last: Option<Arc<Known>>,
        core: &Core,
        conn: &ConnInfo,
        head: &RequestHead,
    ) -> Result<Arc<Known>, Problem> {
        let version = core.fleet.version();
        let host = head.host();
        match last {
            Some(last) if last.version == version && *last.host == *host => Ok(last),
            _ => Ok(Arc::new(Known {
                version,
                site: find(core, &core.table(), conn, head)?,
                host: host.into(),
            })),
        }
    }
}

/// Who an app is when it sends or takes replays.
pub(crate) fn party(app: &App) -> Party {
    Party {
        app: app.app_id,
        org: app.org_id,
        network: app.network,
    }
}

/// Who beside its own may replay to an app.
pub(crate) fn replay_sources(app: &App) -> ReplaySources {
    let mut sources = ReplaySources::default();
    let granted = app.directory.iter().flat_map(|told| &told.replay_sources);
    for source in granted {
        match source {
            ReplaySource::Organization(org) => sources.organizations.push(*org),
            ReplaySource::App(app) => sources.apps.push(*app),
        }
    }
    sources
}

/// Finds what a request is for: on a shared door by host name, else by the address.
///
/// # Errors
/// No app has that name, or it serves nothing at the door's port.
fn find(core: &Core, table: &Table, conn: &ConnInfo, head: &RequestHead) -> Result<Site, Problem> {
    let app = match conn.door.reach {
        Reach::Shared => table.by_host(head.host()),
        Reach::Dedicated | Reach::Private(_) => table.by_address(conn.door.ip.to_canonical()),
    };
    let app = app.ok_or_else(|| {
        Problem::new(
            404,
            "app_not_found",
            format!(
                "No app answers to {}. Apps are served at <app>.{}.",
                head.host(),
                core.settings.domain
            ),
        )
    })?;
    let port = conn.door.port;
    Site::at(app, port).filter(Site::is_http).ok_or_else(|| {
        let message = if app
            .services
            .iter()
            .all(|service| service.spec().ports.is_empty())
        {
            format!(
                "App {} has no service. Say in its configuration which port it listens on: \
                     [http_service] with internal_port, or --port for a machine.",
                app.name
            )
        } else {
            format!("App {} does not serve HTTP at port {port}.", app.name)
        };
        Problem::new(404, "no_service", message)
    })
}
