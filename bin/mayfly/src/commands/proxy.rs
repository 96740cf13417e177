mod ports;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::client::{Api, Machine, PrivateNetwork};
use crate::commands::private_flags::PrivateFlags;
use crate::context::Context;
use crate::failure::Failure;
use ports::Local;

/// Connections at once, over all ports.
const CONNECTIONS_MAX: usize = 1024;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  proxy 5432 --app db\n  proxy 15432:5432 6379 --app db\n  proxy 8080:80 web.flycast\n  proxy \
                  ./pg.sock:5432 --app db --machine 3d8d7a11\n  ssh -o ProxyCommand='mayfly proxy --stdio %h:%p' \
                  root@3d8d7a11.vm.web.internal\n\nEvery connection is made anew, so the proxy outlives restarts of what it \
                  leads to, and of the cloud."
)]
pub(crate) struct Proxy {
    /// Ports as <local>[:<remote>], where <local> may be the path of a socket; then, if wanted, the host they lead to (a
    /// private name, address or machine ID; default: the app)
    #[arg(required = true, value_name = "PORTS [HOST]")]
    words: Vec<String>,
    #[command(flatten)]
    network: PrivateFlags,
    /// Lead to this machine of the app
    #[arg(long, value_name = "ID")]
    machine: Option<String>,
    /// Choose the machine from a list
    #[arg(short, long)]
    select: bool,
    /// Address to listen on here
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind_addr: String,
    /// Say nothing on the way
    #[arg(short, long)]
    quiet: bool,
    /// End when standard input ends
    #[arg(long)]
    watch_stdin: bool,
    /// Connect standard input and output to <host>:<port>, and nothing else
    #[arg(long, conflicts_with_all = ["watch_stdin", "select", "machine"])]
    stdio: bool,
}

/// Where all connections of one proxy go.
struct Route {
    api: Api,
    network: PrivateNetwork,
    host: String,
    quiet: bool,
}

impl Proxy {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let api = context.api()?;
        if self.stdio {
            return self.stdio(&api).await;
        }
        let (mappings, host) = ports::read(&self.words)?;
        let named = self.host(context, &api, host).await?;
        let network = self.network.network(&api, Some(&named)).await?;
        let route = Rc::new(Route {
            api,
            network,
            host: named,
            quiet: self.quiet,
        });
        // Every port is bound before the first is served.
        let mut bound = Vec::with_capacity(mappings.len());
        for mapping in mappings {
            bound.push((Bound::to(&mapping.local, &self.bind_addr).await?, mapping));
        }
        for (listener, mapping) in &bound {
            if !self.quiet {
                context.out.line(&format!(
                    "Proxying {} to remote {}:{}",
                    listener.describe()?,
                    bracketed(&route.host),
                    mapping.remote
                ))?;
            }
        }
        let local = LocalSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for (listener, mapping) in bound {
            let (route, places) = (Rc::clone(&route), Arc::clone(&places));
            local.spawn_local(async move { listener.serve(route, mapping.remote, places).await });
        }
        let watch = self.watch_stdin;
        local.run_until(ended(watch)).await?;
        Ok(ExitCode::SUCCESS)
    }

    async fn stdio(&self, api: &Api) -> anyhow::Result<ExitCode> {
        let [to] = self.words.as_slice() else {
            return Err(Failure::new("--stdio takes one <host>:<port>").into());
        };
        let (host, port) = to
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
            .ok_or_else(|| Failure::new(format!("{to} is no <host>:<port>")))?;
        let network = self.network.network(api, Some(host)).await?;
        let to = format!("{}:{port}", bracketed(host));
        let tunnel = api
            .connect(&network, &to)
            .await
            .with_context(|| format!("could not connect to {to}"))?;
        let (input, output) = (
            standard(rustix::stdio::stdin())?,
            standard(rustix::stdio::stdout())?,
        );
        tunnel.carry(input, output).await;
        Ok(ExitCode::SUCCESS)
    }

    /// The name or address that connections are for.
    async fn host(
        &self,
        context: &Context,
        api: &Api,
        host: Option<String>,
    ) -> anyhow::Result<String> {
        let machine_name = |app: &str, id: &str| format!("{id}.vm.{app}.internal");
        let is_id =
            |text: &str| text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(host) = host {
            return Ok(match is_id(&host) {
                true => machine_name(&self.network.app.require()?, &host),
                false => host,
            });
        }
        let app = self.network.app.require()?;
        if let Some(id) = &self.machine {
            return Ok(machine_name(&app, id));
        }
        if self.select {
            let mut machines = api.machines(&app, false).await?;
            machines.retain(|machine| machine.state() == "started");
            let at = pick(context, &app, &machines)?;
            return Ok(machines[at].private_ip().to_owned());
        }
        Ok(format!("{app}.internal"))
    }
}

fn pick(context: &Context, app: &str, machines: &[Machine]) -> anyhow::Result<usize> {
    if machines.is_empty() {
        return Err(Failure::new(format!("app {app} has no started machine")).into());
    }
    let choices: Vec<String> = machines
        .iter()
        .map(|machine| {
            let (id, region) = (machine.id(), machine.region());
            format!("{region}: {id} {}", machine.private_ip())
        })
        .collect();
    context
        .out
        .choose("Select instance:", &choices, "--machine ID")
}

/// Addresses of IPv6 stand in brackets before a port.
fn bracketed(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

/// Until a signal, or the end of standard input if that is watched.
async fn ended(watch_stdin: bool) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let input_ended = async {
        if !watch_stdin {
            std::future::pending::<()>().await;
        }
        let Ok(mut input) = standard(rustix::stdio::stdin()) else {
            return;
        };
        let mut piece = [0; 1024];
        while input.read(&mut piece).await.is_ok_and(|length| length > 0) {}
    };
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        () = input_ended => {}
    }
    Ok(())
}

/// One of our standard streams, without what this process has buffered of it.
fn standard(stream: BorrowedFd<'_>) -> std::io::Result<tokio::fs::File> {
    let copy = std::fs::File::from(stream.try_clone_to_owned()?);
    Ok(tokio::fs::File::from_std(copy))
}

/// A listener of ours.
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removed with its listener.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bound {
    async fn to(local: &Local, address: &str) -> anyhow::Result<Bound> {
        match local {
            Local::Port(port) => {
                let bare = address.trim_start_matches('[').trim_end_matches(']');
                let listener = TcpListener::bind((bare, *port)).await;
                let listener = listener
                    .with_context(|| format!("could not listen on {address} port {port}"))?;
                Ok(Bound::Tcp(listener))
            }
            Local::Socket(path) => {
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("could not listen on {}", path.display()))?;
                Ok(Bound::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    fn describe(&self) -> anyhow::Result<String> {
        Ok(match self {
            Bound::Tcp(listener) => {
                let address = listener.local_addr()?;
                match address.ip().is_loopback() {
                    true => format!("local port {}", address.port()),
                    false => format!("{address}"),
                }
            }
            Bound::Unix(_, file) => format!("local socket {}", file.0.display()),
        })
    }

    async fn serve(self, route: Rc<Route>, port: u16, places: Arc<Semaphore>) {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = match &self {
                Bound::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Single letters are sent at once.
                    let _ = stream.set_nodelay(true);
                    Stream::Tcp(stream)
                }),
                Bound::Unix(listener, _) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| Stream::Unix(stream)),
            };
            let Ok(stream) = accepted else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let route = Rc::clone(&route);
            tokio::task::spawn_local(async move {
                route.lead(stream, port).await;
                drop(place);
            });
        }
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Route {
    async fn lead(&self, stream: Stream, port: u16) {
        let to = format!("{}:{port}", bracketed(&self.host));
        let tunnel = match self.api.connect(&self.network, &to).await {
            Ok(tunnel) => tunnel,
            Err(error) => {
                if !self.quiet {
                    // The program that connected sees its connection end.
                    eprintln!("could not connect to {to}: {error:#}");
                }
                return;
            }
        };
        match stream {
            Stream::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                tunnel.carry(reader, writer).await;
            }
            Stream::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                tunnel.carry(reader, writer).await;
            }
        }
    }
}
