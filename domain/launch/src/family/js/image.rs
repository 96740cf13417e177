use super::package::{Manager, Package};
use crate::text::cmd;
use crate::tree::SourceTree;

/// What differs between the images of JavaScript apps.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) build: Vec<String>,
    /// Keep the development dependencies in the image.
    pub(super) keep_dev: bool,
    pub(super) env: Vec<(&'static str, &'static str)>,
    /// What of the build is copied, and where to; everything if empty.
    pub(super) copies: Vec<(String, String)>,
    pub(super) command: Vec<String>,
    pub(super) port: u16,
}

/// A Meteor bundle is made by Meteor and run by Node.
pub(super) const METEOR: &str = "FROM node:22-bookworm AS build\n\
RUN curl -fsSL https://install.meteor.com/ | sh\n\
WORKDIR /app\nCOPY . .\n\
RUN meteor npm install --allow-superuser && meteor build --allow-superuser --directory /bundle --server-only\n\
WORKDIR /bundle/bundle/programs/server\nRUN npm install --omit=dev\n\n\
FROM node:22-slim\nENV NODE_ENV=production PORT=3000\nWORKDIR /app\n\
COPY --from=build --chown=node:node /bundle/bundle /app\nUSER node\nEXPOSE 3000\nCMD [\"node\", \"main.js\"]\n";

fn base(tree: &SourceTree, package: &Package) -> String {
    match package.manager {
        Manager::Bun => "ARG BUN_VERSION=1\nFROM oven/bun:${BUN_VERSION}-slim AS base\n".to_owned(),
        manager => {
            let tool = match manager {
                Manager::Pnpm => format!(
                    "RUN npm install --global pnpm@{}\n",
                    package.named_manager("pnpm").unwrap_or("9")
                ),
                Manager::Yarn if tree.has(".yarnrc.yml") => "RUN corepack enable\n".to_owned(),
                _ => String::new(),
            };
            format!(
                "ARG NODE_VERSION={}\nFROM node:${{NODE_VERSION}}-slim AS base\n{tool}",
                package.node_version(tree)
            )
        }
    }
}

/// Lines that copy what names the dependencies, install them, and copy the rest.
fn install(tree: &SourceTree, package: &Package) -> String {
    let mut files = vec!["package.json"];
    files.extend(package.lock);
    files.extend(
        [".npmrc", ".yarnrc.yml", "pnpm-workspace.yaml"]
            .into_iter()
            .filter(|file| tree.has(file)),
    );
    let copied = files.join(" ");
    let (before, after) = if package.has_local_parts(tree) || package.runs_as_it_installs() {
        // Without the project's own packages beside it, a manager installs nothing and calls that success. What it runs
        // as it installs may want any of the sources.
        ("COPY . .\n".to_owned(), "")
    } else if tree.has_dir("patches") {
        let patches = "COPY patches ./patches\n";
        (format!("COPY {copied} ./\n{patches}"), "COPY . .\n")
    } else if tree.has_dir(".yarn/releases") {
        let yarn = "COPY .yarn ./.yarn\n";
        (format!("COPY {copied} ./\n{yarn}"), "COPY . .\n")
    } else {
        (format!("COPY {copied} ./\n"), "COPY . .\n")
    };
    let command = match (package.manager, package.lock) {
        (Manager::Npm, Some(_)) => "npm ci --include=dev",
        (Manager::Npm, None) => "npm install --include=dev",
        (Manager::Yarn, _) if tree.has(".yarnrc.yml") => "yarn install --immutable",
        (Manager::Yarn, _) => "yarn install --frozen-lockfile --production=false",
        (Manager::Pnpm, _) => "pnpm install --frozen-lockfile --prod=false",
        (Manager::Bun, Some(_)) => "bun install --frozen-lockfile",
        (Manager::Bun, None) => "bun install",
    };
    let prisma = tree
        .paths()
        .find(|path| path.ends_with("schema.prisma"))
        .filter(|_| package.has_prisma());
    let prisma = prisma.and_then(|path| path.rsplit_once('/')).map_or_else(String::new, |(directory, _)| {
        format!("COPY {directory} ./{directory}\nRUN npx prisma generate --schema {directory}/schema.prisma\n")
    });
    format!("{before}RUN {command}\n{prisma}{after}")
}

impl Image {
    /// A program's image: built in one stage, run in another by a user without rights.
    pub(super) fn node(&self, tree: &SourceTree, package: &Package) -> String {
        let is_bun = package.manager == Manager::Bun;
        let user = if is_bun { "bun" } else { "node" };
        let openssl = if package.has_prisma() {
            "RUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y openssl ca-certificates && \\\n    \
             rm -rf /var/lib/apt/lists/*\n"
        } else {
            ""
        };
        let native = ["better-sqlite3", "sqlite3", "bcrypt", "sharp", "canvas"]
            .iter()
            .any(|name| package.needs(name));
        let tools = if native && !is_bun {
            "RUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y build-essential pkg-config python3 && \\\n    \
             rm -rf /var/lib/apt/lists/*\n"
        } else {
            ""
        };
        let build: String = self
            .build
            .iter()
            .map(|command| format!("RUN {command}\n"))
            .collect();
        let prune = match (self.keep_dev || !self.copies.is_empty(), package.manager) {
            (true, _) => "",
            (false, Manager::Npm) => "RUN npm prune --omit=dev\n",
            (false, Manager::Yarn) if tree.has(".yarnrc.yml") => {
                "RUN yarn workspaces focus --production\n"
            }
            (false, Manager::Yarn) => {
                "RUN yarn install --production=true --ignore-scripts --prefer-offline\n"
            }
            (false, Manager::Pnpm) => "RUN pnpm prune --prod\n",
            (false, Manager::Bun) => "RUN rm -rf node_modules && bun install --production\n",
        };
        let copies = if self.copies.is_empty() {
            format!("COPY --from=build --chown={user}:{user} /app /app\n")
        } else {
            let copy = |(from, to): &(String, String)| {
                format!("COPY --from=build --chown={user}:{user} /app/{from} {to}\n")
            };
            self.copies.iter().map(copy).collect()
        };
        let data = if package.needs("better-sqlite3") || package.has_prisma() {
            format!("RUN mkdir -p /data && chown {user}:{user} /data\n")
        } else {
            String::new()
        };
        let env: String = self
            .env
            .iter()
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        format!(
            "{base}{openssl}WORKDIR /app\nENV NODE_ENV=production\n\n\
             FROM base AS build\n{tools}{install}{build}{prune}\n\
             FROM base\n{data}RUN chown {user}:{user} /app\n{copies}USER {user}\nENV PORT={port}{env}\nEXPOSE {port}\nCMD {cmd}\n",
            base = base(tree, package),
            install = install(tree, package),
            port = self.port,
            cmd = cmd(&self.command.iter().map(String::as_str).collect::<Vec<_>>()),
        )
    }

    /// Files served by nginx; a path without a file is the app's own to route.
    pub(super) fn files(
        tree: &SourceTree,
        package: &Package,
        build: &Option<String>,
        directory: &str,
        port: u16,
    ) -> String {
        let build = build
            .as_ref()
            .map_or_else(String::new, |command| format!("RUN {command}\n"));
        format!(
            "{base}WORKDIR /app\n\nFROM base AS build\n{install}{build}\n\
             FROM nginx:alpine\n\
             RUN printf 'server {{\\n  listen {port};\\n  root /usr/share/nginx/html;\\n  gzip on;\\n  gzip_types text/css application/javascript image/svg+xml;\\n  \
             location / {{ try_files $uri $uri/ /index.html; }}\\n}}\\n' > /etc/nginx/conf.d/default.conf\n\
             COPY --from=build /app/{directory} /usr/share/nginx/html\nEXPOSE {port}\n",
            base = base(tree, package),
            install = install(tree, package),
        )
    }
}
