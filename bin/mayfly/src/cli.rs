//! The commands, and which function answers which.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    apps, audit, auth, autoscale, certs, checks, ci, cloud, cloud_status, completion, config,
    console, curl, deploy, dig, docs, doctor, events, hosts, image, info, ips, launch, logs,
    machine, man, network_policies, orgs, ping, platform, proxy, releases, scale, secrets, ssh,
    status, tokens, trust, version, volumes, wireguard,
};
use crate::context::Context;
use crate::program;

/// Run apps on a cloud of your own.
///
/// Mayfly gives every app its own machines, started from container images. `mayfly up` starts a cloud on this server;
/// the other commands work on it, or on the one FLY_FLAPS_BASE_URL names.
#[derive(Parser, Debug)]
#[command(
    version,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "A first machine:\n  mayfly apps create hello\n  mayfly machine run nginx --app hello --port \
                  80/tcp:http\n  mayfly logs --app hello"
)]
pub(crate) struct Cli {
    /// Token to use instead of the one signed in with
    #[arg(
        short = 't',
        long,
        global = true,
        value_name = "TOKEN",
        hide_env = true
    )]
    access_token: Option<String>,
    /// Say on stderr which calls are made
    #[arg(long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

/// Made once per process, so its largest variant costs nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Subcommand, Debug)]
enum Command {
    /// Manage apps
    #[command(subcommand, alias = "app")]
    Apps(apps::AppsCommand),
    /// Show who changed what in an organization, newest first
    Audit(audit::Audit),
    /// Manage authentication
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Manage health checks
    #[command(subcommand)]
    Checks(checks::ChecksCommand),
    /// Set up continuous integration: deployments and previews
    #[command(subcommand)]
    Ci(ci::CiCommand),
    /// Manage hostnames of an app and their certificates
    #[command(subcommand, alias = "cert", alias = "certificates")]
    Certs(certs::CertsCommand),
    /// Print a completion script for a shell
    Completion(completion::Completion),
    /// Manage an app's configuration
    #[command(subcommand, alias = "configuration")]
    Config(config::ConfigCommand),
    /// Run a console in a new machine, which goes with it
    Console(console::Console),
    /// Measure how fast a URL answers
    Curl(curl::Curl),
    /// Look up names as the machines of a private network do
    Dig(dig::Dig),
    /// Deploy an app: record what it shall be, and follow until it is
    Deploy(deploy::Deploy),
    /// Show where the documentation is
    Docs(docs::Docs),
    /// Check the way to the cloud and to an app, and say what is wrong
    Doctor(doctor::Doctor),
    Down(cloud::DownArgs),
    /// Show what changed in the cloud: every change, oldest first
    Events(events::Events),
    /// Manage the servers of the cloud
    #[command(subcommand, alias = "host")]
    Hosts(hosts::HostsCommand),
    /// Manage the images on the host
    #[command(subcommand, alias = "images")]
    Image(image::ImageCommand),
    /// Show details of an app
    Info(info::Info),
    Install(cloud::InstallArgs),
    /// Manage the addresses of an app
    #[command(subcommand, alias = "ip")]
    Ips(ips::IpsCommand),
    /// Create and configure an app from sources or an image
    Launch(Box<launch::Launch>),
    /// View the logs of an app
    #[command(alias = "log")]
    Logs(logs::Logs),
    /// Manage machines
    #[command(subcommand, visible_aliases = ["machines", "m"])]
    Machine(machine::MachineCommand),
    /// Write the manual pages
    Man(man::Man),
    /// Manage what machines of an app may begin, and who may begin something with them
    #[command(subcommand, alias = "network-policy")]
    NetworkPolicies(network_policies::NetworkPoliciesCommand),
    /// Open an app in the browser
    Open(apps::open::Open),
    /// Manage organizations
    #[command(subcommand, alias = "org")]
    Orgs(orgs::OrgsCommand),
    /// Send echoes to a machine over its private network
    Ping(ping::Ping),
    /// Show what the cloud offers
    #[command(subcommand)]
    Platform(platform::PlatformCommand),
    /// Lead local ports to machines on a private network
    Proxy(proxy::Proxy),
    /// Copy files from and to a machine
    #[command(subcommand)]
    Sftp(ssh::sftp::SftpCommand),
    /// Get into machines: shells, files, certificates
    #[command(subcommand)]
    Ssh(ssh::SshCommand),
    /// Show the releases of an app, and go back to earlier ones
    #[command(aliases = ["release", "history"])]
    Releases(releases::ReleasesCommand),
    /// Have machines come and go with the load
    #[command(subcommand)]
    Autoscale(autoscale::AutoscaleCommand),
    /// Change how many machines an app has, and how large they are
    #[command(subcommand)]
    Scale(scale::ScaleCommand),
    /// Manage the secrets of an app
    #[command(subcommand, alias = "secret")]
    Secrets(secrets::SecretsCommand),
    /// Show the status of an app, or of the cloud when no app is named
    Status(status::Status),
    /// Manage tokens for CI, colleagues and programs
    #[command(subcommand, alias = "token")]
    Tokens(tokens::TokensCommand),
    Trust(trust::Trust),
    Up(cloud::UpArgs),
    /// Show the version of this program
    Version(version::Version),
    /// Manage volumes: disk space that outlives machines
    #[command(subcommand, visible_aliases = ["volume", "vol"])]
    Volumes(volumes::VolumesCommand),
    /// Manage WireGuard peers: devices that reach the private network
    #[command(subcommand, visible_alias = "wg")]
    Wireguard(wireguard::WireguardCommand),
}

/// The whole command line under the name it was called by.
pub(crate) fn definition() -> clap::Command {
    let name = program::name();
    Cli::command().name(name).bin_name(name)
}

/// Reads the command line and does what it says. A wrong one ends the process with clap's message.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let matches = definition().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let context = Context::new(cli.access_token, cli.verbose);
    match cli.command {
        Command::Apps(command) => return command.run(&context).await,
        Command::Audit(command) => command.run(&context).await?,
        Command::Autoscale(command) => command.run(&context).await?,
        Command::Auth(command) => command.run(&context).await?,
        Command::Checks(command) => command.run(&context).await?,
        Command::Ci(command) => command.run(&context)?,
        Command::Certs(command) => command.run(&context).await?,
        Command::Completion(command) => command.run(&context)?,
        Command::Config(command) => command.run(&context).await?,
        Command::Console(command) => return Box::pin(command.run(&context)).await,
        Command::Curl(command) => command.run(&context).await?,
        Command::Dig(command) => command.run(&context).await?,
        Command::Deploy(command) => return command.run(&context).await,
        Command::Down(args) => cloud::down(&context, args).await?,
        Command::Docs(command) => command.run(&context)?,
        Command::Doctor(command) => return command.run(&context).await,
        Command::Events(command) => command.run(&context).await?,
        Command::Hosts(command) => command.run(&context).await?,
        Command::Image(command) => return command.run(&context).await,
        Command::Info(command) => command.run(&context).await?,
        Command::Install(args) => cloud::install(&context, args).await?,
        Command::Ips(command) => command.run(&context).await?,
        Command::Launch(command) => return Box::pin(command.run(&context)).await,
        Command::Logs(command) => command.run(&context).await?,
        Command::Machine(command) => return Box::pin(command.run(&context)).await,
        Command::NetworkPolicies(command) => command.run(&context).await?,
        Command::Man(command) => command.run(&context)?,
        Command::Open(command) => command.run(&context).await?,
        Command::Orgs(command) => command.run(&context).await?,
        Command::Ping(command) => command.run(&context).await?,
        Command::Platform(command) => command.run(&context).await?,
        Command::Proxy(command) => return Box::pin(command.run(&context)).await,
        Command::Sftp(command) => Box::pin(command.run(&context)).await?,
        Command::Ssh(command) => return Box::pin(command.run(&context)).await,
        Command::Releases(command) => return command.run(&context).await,
        Command::Scale(command) => return command.run(&context).await,
        Command::Secrets(command) => return command.run(&context).await,
        Command::Status(command) => match command.app.find()? {
            Some(app) => command.run(&context, &app).await?,
            None => cloud_status::run(&context, command.json).await?,
        },
        Command::Tokens(command) => command.run(&context).await?,
        Command::Trust(command) => command.run(&context).await?,
        Command::Up(args) => return cloud::up(&context, args).await,
        Command::Version(command) => command.run(&context)?,
        Command::Volumes(command) => command.run(&context).await?,
        Command::Wireguard(command) => command.run(&context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn aliases_and_flags_of_upstream_parse() {
        for line in [
            "fly m list -a web -q",
            "fly machines ls --json",
            "fly machine run nginx -a web -p 80/tcp:http -e A=1 --memory 512 --cpus 2 --rm --detach",
            "fly machine run alpine -a web -- sh -c 'echo hi'",
            "fly machine run alpine --autostop --autostart=false -- sleep inf",
            "fly machine run alpine --autostop=suspend --skip-dns-registration",
            "fly machine update 3d8d7a11 -C 'sleep 1' -y --skip-start",
            "fly machine clone 3d8d7a11 --region lhr --standby-for source",
            "fly machine exec 3d8d7a11 'ls -l' --timeout 5",
            "fly machine exec 3d8d7a11 --tty -- /bin/sh -l",
            "fly m rm 3d8d7a11 other --force",
            "fly machine leases clear 3d8d7a11",
            "fly machine lease list",
            "fly machine stop 3d8d7a11 -s SIGTERM --timeout 10 -w 30s",
            "fly apps destroy a b -y",
            "fly apps rm a --yes",
            "fly apps create web-pr-7 --org previews --ttl 7d",
            "fly apps ttl 12h -a web-pr-7",
            "fly apps ttl none",
            "fly ci init gitlab -a web --preview-org previews -y",
            "fly ci init github --no-previews",
            "fly logs -a web -n -i 3d8d7a11 -r iad -j",
            "fly status --app web --all --watch --rate 2",
            "fly status",
            "fly checks list -a web --check-name http -j",
            "fly orgs show personal",
            "fly orgs budget previews --apps 3 --machines none --ttl 7d -j",
            "fly auth login -t token",
            "fly image import ./app.tar --name web:1",
            "fly platform vm-sizes --json",
            "fly completion zsh",
            "fly hosts token --ttl 10m",
            "fly hosts list -j",
            "fly hosts show 0123abcd",
            "fly hosts drain 0123abcd -d",
            "fly hosts drain 0123abcd --undo",
            "fly hosts undrain 0123abcd",
            "fly hosts remove 0123abcd --force -y",
            "fly up --join 192.0.2.1:4290 --join-token mfj1_00",
            "fly ips list -a web -j",
            "fly ips allocate-v4 --shared -a web",
            "fly ips allocate-v4 -y -r fra",
            "fly ips allocate-v6 --private --network own --org team",
            "fly ips release 127.80.0.1 127.80.0.2",
            "fly ips private",
            "fly up --regions iad,fra,nrt",
            "fly certs create www.example.com -a web -j",
            "fly certs delete www.example.com --acme --yes",
            "fly certs import a.example.com --fullchain chain.pem --private-key key.pem -a web",
            "fly trust --remove",
            "fly config show --local --yaml",
            "fly config save -a web --json -y",
            "fly config validate --strict -c fly.toml",
            "fly config env -a web",
            "fly launch --name hello-fly --region iad --now",
            "fly launch --no-deploy --copy-config --org staging --ha=false --vm-memory 512 --internal-port 3000 -y",
            "fly launch --from https://example.com/a/b --into there --generate-name --json",
            "fly launch -i nginx --auto-stop suspend -e A=b --no-db --no-redis --no-object-storage",
            "fly ssh console -a web -C 'ls | wc -l' -u app --pty",
            "fly ssh console -s -r fra -g worker -q -A fdaa:0:1:a:b:c:d:2 --no-container",
            "fly ssh console --machine 3d8d7a11 --container side",
            "fly ssh sftp get /etc/hosts hosts -a web",
            "fly ssh sftp put -R dir /data/dir --mode 0600",
            "fly sftp shell -a web",
            "fly sftp find /data",
            "fly ssh issue personal id --hours 1 --dotssh --overwrite -u root,app",
            "fly ssh issue --agent -o personal",
            "fly ssh log -o personal -j",
            "fly proxy 5432 -a db",
            "fly proxy 15432:5432 6379 db.internal -b 0.0.0.0 -q --watch-stdin",
            "fly proxy --stdio web.internal:22",
            "fly console -a web -C 'printenv FLY_APP_NAME' -r iad",
            "fly ping -n 3 web.internal -i 200ms",
            "fly dig txt vms.web.internal --short",
            "fly dig web.internal -o personal",
            "fly doctor -a web --json",
            "fly curl http://127.0.0.1 -n 2",
            "fly curl http://web.internal:8080/ -o personal",
            "fly deploy -a web --image nginx --strategy bluegreen --wait-timeout 2m --ha=false",
            "fly deploy -a web -i nginx -e A=1 -e B=2 --detach",
            "fly deploy attach -a web",
            "fly deploy cancel -a web 3",
            "fly releases -a web --image -j",
            "fly releases list -a web",
            "fly history -a web --image -j",
            "fly releases rollback 3 -a web --keep-secrets",
            "fly releases diff 2 3 -a web",
            "fly secrets set A=1 B=2 -a web --stage",
            "fly secrets import -a web",
            "fly secrets unset A B -a web",
            "fly secrets ls -a web -j",
            "fly secrets deploy -a web --detach --dns-checks=false",
            "fly secrets sync -a web --stage",
            "fly deploy --now --dns-checks=false --lease-timeout 13s --deploy-retries auto --no-public-ips --https-failover=false",
            "fly deploy -s SIGTERM --max-concurrent 4 --flycast --host-dedication-id x --auto-confirm --volume-initial-size 3",
            "fly deploy --file-literal /a=b --file-local /b=c --file-secret /d=E --release-command-timeout none",
            "fly volumes create data --size 10 --region iad -a web --snapshot-retention 7 --count 2 -y",
            "fly vol create data -r iad --require-unique-zone=false --vm-memory 512 --no-encryption",
            "fly volume list -a web --all -j",
            "fly volumes show vol_abc",
            "fly volumes extend vol_abc -s +5 -y",
            "fly volumes update vol_abc --snapshot-retention 7 --scheduled-snapshots=false",
            "fly volumes delete vol_abc vol_def --yes",
            "fly volumes fork vol_abc --region nrt",
            "fly volumes snapshots list vol_abc",
            "fly machine run alpine -a web -v data:/data:3 --rm",
            "fly machine clone 3d8d7a11 --attach-volume vol_abc:/data --volume-requires-unique-zone=false",
            "fly scale count 3 --with-new-volumes",
            "fly up --export env",
            "fly up --temporary --regions iad,fra -- npm test --watch",
            "fly down --remove",
        ] {
            let words = shlex::split(line).unwrap();
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }
}
