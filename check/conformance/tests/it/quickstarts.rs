//! The quick starts people know, on the sources in `quickstarts/`: from `launch` to `apps destroy`, with our Dockerfiles on
//! the base images that `quickstarts/make-images` made of packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use mayfly_conformance::{Stage, tool};
use mayfly_testing::{CliAnswer, CliRunner, wait_until};

/// Sources of an app, and what is expected of them.
struct QuickStart {
    /// The folder in `quickstarts/`, and the app's name.
    name: &'static str,
    /// What `launch` calls them.
    kind: &'static str,
    /// The file that says `the first time`; of a framework, what its page says.
    greets: &'static str,
    /// Lines of the Dockerfile that is built.
    dockerfile: &'static [&'static str],
    /// Another path, and what is found there.
    serves: Option<(&'static str, &'static str)>,
}

const QUICK_STARTS: [QuickStart; 6] = [
    QuickStart {
        name: "node",
        kind: "NodeJS",
        greets: "greeting/index.js",
        dockerfile: &["ARG NODE_VERSION=22", "RUN npm ci --include=dev"],
        serves: None,
    },
    QuickStart {
        name: "python",
        kind: "Flask",
        greets: "app.py",
        dockerfile: &["ARG PYTHON_VERSION=3.11", "RUN pip install gunicorn"],
        serves: None,
    },
    QuickStart {
        name: "go",
        kind: "Go",
        greets: "greeting.txt",
        dockerfile: &["ARG GO_VERSION=1.19", "FROM debian:bookworm-slim"],
        serves: None,
    },
    QuickStart {
        name: "static",
        kind: "Static",
        greets: "index.html",
        dockerfile: &["FROM nginx:alpine"],
        serves: None,
    },
    QuickStart {
        name: "rust",
        kind: "Rust",
        greets: "src/main.rs",
        dockerfile: &["FROM rust:${RUST_VERSION}-bookworm AS build"],
        serves: None,
    },
    QuickStart {
        name: "dockerfile",
        kind: "Dockerfile",
        greets: "greeting.txt",
        dockerfile: &["EXPOSE 8123"],
        serves: None,
    },
];

/// Frameworks, whose Dockerfiles differ in how they build and not in what comes of it: these are launched and asked.
const FRAMEWORKS: [QuickStart; 6] = [
    QuickStart {
        name: "django",
        kind: "Django",
        // A visit is a row of a table: the database was migrated.
        greets: "hello from Django, the first time</p>\n<p>visit ",
        dockerfile: &["RUN SECRET_KEY=only-to-collect python manage.py collectstatic --noinput"],
        serves: Some(("/static/greetings/style.css", "font-family")),
    },
    QuickStart {
        name: "fastapi",
        kind: "FastAPI",
        greets: "{\"greeting\":\"hello from FastAPI, the first time\"}",
        dockerfile: &["RUN pip install -r requirements.txt"],
        serves: Some(("/docs", "swagger")),
    },
    QuickStart {
        name: "next",
        kind: "Next.js",
        greets: "<p>hello from Next.js, the first time</p>",
        dockerfile: &["COPY --from=build --chown=node:node /app/.next/standalone ./"],
        serves: Some(("/icon.svg", "<circle")),
    },
    QuickStart {
        name: "vite",
        kind: "Vite",
        greets: "<title>hello from Vite, the first time</title>",
        dockerfile: &["RUN npm run build"],
        // The app's own router knows this path.
        serves: Some(("/a/page/of/its/own", "/assets/index-")),
    },
    QuickStart {
        name: "deno",
        kind: "Deno",
        greets: "hello from Deno, the first time",
        dockerfile: &["RUN deno cache main.ts"],
        serves: None,
    },
    QuickStart {
        name: "bun",
        kind: "Bun",
        greets: "hello from Bun, the first time",
        dockerfile: &["RUN bun install"],
        serves: None,
    },
];

/// More, whose builds take long, some on images that are large: run with `MAYFLY_ALL_QUICK_STARTS=1`.
const LONG: [QuickStart; 6] = [
    QuickStart {
        name: "remix",
        kind: "Remix",
        greets: "<p>hello from Remix, the first time</p>",
        dockerfile: &["RUN npm prune --omit=dev"],
        serves: None,
    },
    QuickStart {
        name: "sinatra",
        kind: "Ruby",
        greets: "hello from Sinatra, the first time",
        dockerfile: &["RUN bundle install"],
        serves: None,
    },
    QuickStart {
        name: "rails",
        kind: "Rails",
        // A visit is a row of a table on the volume: the database was prepared.
        greets: "hello from Rails, the first time; visit ",
        dockerfile: &["ENTRYPOINT [\"/rails/bin/docker-entrypoint\"]"],
        serves: Some(("/up", "background-color: green")),
    },
    QuickStart {
        name: "laravel",
        kind: "Laravel",
        greets: "hello from Laravel, the first time; visit ",
        dockerfile: &["FROM serversideup/php:${PHP_VERSION}-fpm-nginx"],
        serves: None,
    },
    QuickStart {
        name: "poetry",
        kind: "Python",
        greets: "hello from Poetry, the first time",
        dockerfile: &["RUN poetry install --only main --no-root"],
        serves: None,
    },
    QuickStart {
        name: "elixir",
        kind: "Elixir",
        greets: "hello from Elixir, the first time",
        dockerfile: &["RUN mix release"],
        serves: None,
    },
];

/// A quick start in a user's home.
struct Replay<'a> {
    stage: &'a Stage,
    start: &'a QuickStart,
    cli: CliRunner,
    path: PathBuf,
}

impl<'a> Replay<'a> {
    fn new(stage: &'a Stage, start: &'a QuickStart) -> Self {
        let cli = stage.cloud.cli();
        let path = cli.home().join(start.name);
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("quickstarts");
        copy(&sources.join(start.name), &path);
        Self {
            stage,
            start,
            cli,
            path,
        }
    }

    /// The words of a line, `HERE` for the sources and `APP` for the app.
    #[track_caller]
    fn run(&self, line: &str) -> CliAnswer {
        let path = self.path.to_str().expect("a plain path");
        let words = line.split(' ');
        self.cli
            .run(words.map(|word| word.replace("HERE", path).replace("APP", self.start.name)))
    }

    #[track_caller]
    fn answers(&self, what: &str) {
        self.answers_at("/", what);
    }

    #[track_caller]
    fn answers_at(&self, path: &str, what: &str) {
        let app = self.start.name;
        wait_until(&format!("{app} says `{what}` at {path}"), || {
            self.page(path).is_some_and(|page| page.contains(what))
        });
    }

    /// What a browser gets: a launched app wants HTTPS.
    fn page(&self, path: &str) -> Option<String> {
        let edge = self.stage.cloud.edge_tls();
        let (ip, port) = (edge.ip(), edge.port());
        let name = format!("{}.mayfly.localhost", self.start.name);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--insecure", "--max-time", "10"])
            .args(["--resolve", &format!("{name}:{port}:{ip}")])
            .arg(format!("https://{name}:{port}{path}"))
            .output()
            .expect("curl is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    fn machines(&self) -> usize {
        let machines = self
            .stage
            .cloud
            .get(&format!("/v1/apps/{}/machines", self.start.name));
        machines.json().as_array().map_or(0, Vec::len)
    }

    /// From the sources to an app that is up, by the Dockerfile that is expected.
    fn launch(&self) {
        let start = self.start;
        let launched = self.run("launch --path HERE --name APP --yes --ha=false");
        let said = launched.ok();
        assert!(
            said.contains(&format!("= {}\n", start.kind)),
            "{launched:?}"
        );
        assert!(
            said.contains(&format!("v1 of {} is live", start.name)),
            "{launched:?}"
        );
        let dockerfile = fs::read_to_string(self.path.join("Dockerfile")).unwrap();
        for line in start.dockerfile {
            assert!(
                dockerfile.lines().any(|found| found == *line),
                "{line}: {dockerfile}"
            );
        }
        self.run("config validate --strict --config HERE").ok();
    }

    fn launch_and_ask(&self) {
        self.launch();
        self.answers(self.start.greets);
        if let Some((path, what)) = self.start.serves {
            self.answers_at(path, what);
        }
        self.run("apps destroy APP --yes").ok();
    }

    fn replay(&self) {
        self.launch();
        let start = self.start;
        self.answers("the first time");

        let file = self.path.join(start.greets);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("the first time", "once more")).unwrap();
        let deployed = self.run("deploy HERE");
        assert!(
            deployed
                .ok()
                .contains(&format!("v2 of {} is live", start.name)),
            "{deployed:?}"
        );
        self.answers("once more");

        let back = self.run("releases rollback --app APP --yes");
        assert!(
            back.ok().contains(&format!("v3 of {} is live", start.name)),
            "{back:?}"
        );
        self.answers("the first time");

        self.run("scale count 2 --app APP --yes").ok();
        wait_until("there are two machines", || self.machines() == 2);
        self.answers("the first time");
        self.run("apps destroy APP --yes").ok();
        assert!(!self.run("apps list").ok().contains(start.name));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// In one cloud, some at a time: much of a deployment is watching whether the app stays up.
#[test]
fn known_quick_starts_are_replayed_from_launch_to_destroy() {
    let all = std::env::var_os("MAYFLY_ALL_QUICK_STARTS").is_some();
    let stage = Stage::set();
    stage.import_builder();
    stage.import_all(&tool("quickstarts.tar"));
    if all {
        stage.import_all(&tool("quickstarts-rare.tar"));
    }
    // Signed in before the first of them runs: they share a home.
    let replays = QUICK_STARTS
        .each_ref()
        .map(|start| Replay::new(&stage, start));
    let long = LONG.iter().filter(|_| all);
    let frameworks: Vec<_> = FRAMEWORKS
        .iter()
        .chain(long)
        .map(|start| Replay::new(&stage, start))
        .collect();
    thread::scope(|scope| {
        for some in replays.chunks(2) {
            scope.spawn(move || some.iter().for_each(Replay::replay));
        }
        for some in frameworks.chunks(4) {
            scope.spawn(move || some.iter().for_each(Replay::launch_and_ask));
        }
    });
}
