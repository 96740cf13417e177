//! A private PostgreSQL for tests, from the Debian package.

use std::fs;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The address of a new, empty database in a server that this process shares.
///
/// The server listens on a socket in a temporary directory only. It stops, and the directory goes, when this process
/// ends, however it ends.
///
/// # Panics
/// When PostgreSQL is not installed (Debian's package `postgresql`) or does not start.
pub fn postgres_url() -> String {
    let (server, name) = new_database();
    url(&name, &server.directory)
}

fn url(database: &str, sockets: &Path) -> String {
    format!(
        "postgres://postgres@localhost/{database}?host={}",
        sockets.display()
    )
}

fn new_database() -> (&'static Server, String) {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let server = Server::shared();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let made = Command::new(server.programs.join("createdb"))
        .arg("--host")
        .arg(&server.directory)
        .args(["--username", "postgres", &name])
        .output()
        .expect("createdb is installed beside initdb");
    assert!(
        made.status.success(),
        "createdb: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    (server, name)
}

/// A new, empty database with an entrance of its own. While that is shut, the server is gone for whoever uses it.
#[derive(Debug)]
pub struct PostgresDoor {
    sockets: TempDir,
    database: String,
}

impl PostgresDoor {
    /// # Panics
    /// As [`postgres_url`].
    pub fn new() -> Self {
        let (_, database) = new_database();
        let sockets = tempfile::tempdir().expect("a temporary directory can be made");
        let door = Self { sockets, database };
        fs::write(door.url_file(), url(&door.database, door.sockets.path()))
            .expect("the directory is ours");
        door.open();
        door
    }

    /// Holds the database's address.
    pub fn url_file(&self) -> PathBuf {
        self.sockets.path().join("url")
    }

    /// # Panics
    /// If it is open already.
    pub fn open(&self) {
        let server = Server::shared();
        std::os::unix::fs::symlink(server.directory.join(SOCKET), self.socket())
            .expect("the door was shut");
    }

    /// Lets nobody in any more, and ends the sessions of those inside.
    ///
    /// # Panics
    /// If it is shut already.
    pub fn shut(&self) {
        fs::remove_file(self.socket()).expect("the door was open");
        let server = Server::shared();
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.database
        );
        let ended = Command::new(server.programs.join("psql"))
            .arg("--host")
            .arg(&server.directory)
            .args(["--username", "postgres", "--command", &end, "postgres"])
            .output()
            .expect("psql is installed beside initdb");
        assert!(ended.status.success(), "{ended:?}");
    }

    fn socket(&self) -> PathBuf {
        self.sockets.path().join(SOCKET)
    }
}

impl Default for PostgresDoor {
    fn default() -> Self {
        Self::new()
    }
}

const SOCKET: &str = ".s.PGSQL.5432";

struct Server {
    programs: PathBuf,
    directory: PathBuf,
    /// Ends the server when its standard input, whose other end this process holds, is closed.
    _guard: Child,
}

/// A PostgreSQL that listens at an address of a network namespace, port 5432, and believes everybody there.
///
/// It stops, and its directory goes, when this is dropped.
#[derive(Debug)]
pub struct NamespacePostgres {
    guard: Child,
}

impl NamespacePostgres {
    /// # Panics
    /// As [`postgres_url`].
    pub fn start(namespace: &Path, address: Ipv6Addr) -> Self {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("mayfly-pg-{}-{number}", std::process::id()));
        let place = [
            namespace.to_string_lossy().into_owned(),
            address.to_string(),
        ];
        let guard = start(&directory, &programs(), Some(&place));
        NamespacePostgres { guard }
    }
}

impl Drop for NamespacePostgres {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Runs the server until standard input ends, then stops it and removes its directory ($1); $2 is the program, $3 the
/// network namespace and $4 the address at which it listens there. PostgreSQL refuses to run as root.
const GUARD: &str = r#"
    trap '' INT TERM HUP
    directory=$1
    program=$2
    address=$4
    enter=${3:+nsenter --net=$3}
    set --
    if [ "$(id -u)" = 0 ]; then
        set -- $enter setpriv --reuid=postgres --regid=postgres --clear-groups
    fi
    [ -z "$address" ] || echo "host all all ::/0 trust" >>"$directory/data/pg_hba.conf"
    "$@" "$program" -D "$directory/data" -k "$directory" -c "listen_addresses=$address" -c fsync=off \
        -c max_connections=200 \
        </dev/null >"$directory/server.log" 2>&1 &
    server=$!
    read -r _
    kill -INT "$server"
    wait "$server"
    rm -rf "$directory"
"#;

impl Server {
    fn shared() -> &'static Server {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Server::start)
    }

    fn start() -> Server {
        let programs = programs();
        let directory = std::env::temp_dir().join(format!("mayfly-pg-{}", std::process::id()));
        let guard = start(&directory, &programs, None);
        Server {
            programs,
            directory,
            _guard: guard,
        }
    }
}

/// Starts a server of its own in a new directory; `place` is a namespace and an address in it.
fn start(directory: &Path, programs: &Path, place: Option<&[String; 2]>) -> Child {
    fs::create_dir(directory).expect("the directory's name has this process's id");
    // The server's user must be able to write here; its own data directory is private.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o1777))
        .expect("the directory is ours");
    let mut guard = Command::new("sh")
        .args(["-c", &format!("{INITDB}{GUARD}"), "sh"])
        .arg(directory)
        .arg(programs.join("postgres"))
        .args(place.into_iter().flatten())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell is installed");
    wait_for_socket(directory, &mut guard);
    guard
}

const INITDB: &str = r#"
    as_postgres() {
        if [ "$(id -u)" = 0 ]; then
            setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
        else
            "$@"
        fi
    }
    cd "$1" || exit 1
    as_postgres "$(dirname "$2")/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
        >"$1/initdb.log" 2>&1 || exit 1
"#;

/// The newest installed version's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .filter(|path| path.join("initdb").exists())
            .max()
    });
    versions
        .ok()
        .flatten()
        .expect("PostgreSQL is installed: apt-get install postgresql")
}

fn wait_for_socket(directory: &Path, guard: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let accepted = std::os::unix::net::UnixStream::connect(directory.join(SOCKET)).is_ok();
        // The postmaster makes the socket before it can serve; its pid file says `ready` last.
        let pid_file = fs::read_to_string(directory.join("data/postmaster.pid"));
        if accepted && pid_file.is_ok_and(|text| text.contains("ready")) {
            return;
        }
        let ended = guard.try_wait().expect("the guard is our child");
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "PostgreSQL did not start in {}: {}{}",
            directory.display(),
            fs::read_to_string(directory.join("initdb.log")).unwrap_or_default(),
            fs::read_to_string(directory.join("server.log")).unwrap_or_default(),
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
