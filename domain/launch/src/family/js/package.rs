use serde_json::Value;

use crate::tree::SourceTree;

/// The program that installs what a project depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    Npm,
    Yarn,
    Pnpm,
    Bun,
}

impl Manager {
    pub(super) fn runtime(self) -> &'static str {
        match self {
            Manager::Bun => "bun",
            _ => "node",
        }
    }

    pub(super) fn run(self) -> &'static str {
        match self {
            Manager::Npm => "npm run",
            Manager::Yarn => "yarn run",
            Manager::Pnpm => "pnpm run",
            Manager::Bun => "bun run",
        }
    }
}

/// `package.json`, and what lies beside it.
pub(super) struct Package {
    json: Value,
    pub(super) manager: Manager,
    /// The lock file's name.
    pub(super) lock: Option<&'static str>,
    start: String,
}

impl Package {
    pub(super) fn read(tree: &SourceTree) -> Option<Self> {
        let json: Value = serde_json::from_str(tree.text("package.json")).ok()?;
        let locks = [
            ("bun.lock", Manager::Bun),
            ("bun.lockb", Manager::Bun),
            ("pnpm-lock.yaml", Manager::Pnpm),
            ("yarn.lock", Manager::Yarn),
            ("package-lock.json", Manager::Npm),
        ];
        let found = locks.into_iter().find(|(lock, _)| tree.has(lock));
        let mut package = Self {
            json,
            manager: Manager::Npm,
            lock: found.map(|(lock, _)| lock),
            start: String::new(),
        };
        package.manager = match found {
            Some((_, manager)) => manager,
            None => package.wanted_manager(),
        };
        let manager = package.manager;
        let script = package.script("start");
        // Started without its manager, the program gets signals itself.
        let plain = script
            .strip_prefix("node ")
            .or_else(|| script.strip_prefix("bun "));
        package.start = match plain {
            Some(arguments) if !arguments.contains(['&', '|', ';', '$', '"', '\'', '=']) => {
                script.to_owned()
            }
            _ => format!("{} start", manager.run()),
        };
        Some(package)
    }

    /// The manager of a project without a lock file.
    fn wanted_manager(&self) -> Manager {
        let is_bun = self.named_manager("bun").is_some()
            || ["start", "dev"]
                .iter()
                .any(|name| self.script(name).starts_with("bun "));
        match is_bun {
            true => Manager::Bun,
            false => Manager::Npm,
        }
    }

    /// The version in `"packageManager": "<name>@<version>"`.
    pub(super) fn named_manager(&self, name: &str) -> Option<&str> {
        let named = self.json["packageManager"].as_str()?;
        let version = named.strip_prefix(name)?.strip_prefix('@')?;
        // What follows is a checksum.
        version.split('+').next()
    }

    pub(super) fn needs(&self, name: &str) -> bool {
        ["dependencies", "devDependencies"]
            .iter()
            .any(|list| self.json[list].get(name).is_some())
    }

    pub(super) fn script(&self, name: &str) -> &str {
        self.json["scripts"][name]
            .as_str()
            .unwrap_or_default()
            .trim()
    }

    pub(super) fn has_script(&self, name: &str) -> bool {
        !self.script(name).is_empty()
    }

    /// The command of the start script.
    pub(super) fn start_line(&self) -> &str {
        &self.start
    }

    /// The program's file: `main`, or one of the usual names.
    pub(super) fn main(&self, tree: &SourceTree) -> Option<String> {
        let named = self.json["main"]
            .as_str()
            .map(|main| main.trim_start_matches("./"));
        if let Some(named) = named.filter(|named| tree.has(named)) {
            return Some(named.to_owned());
        }
        tree.first(&[
            "server.js",
            "index.js",
            "app.js",
            "main.js",
            "index.mjs",
            "server.mjs",
            "index.ts",
            "server.ts",
        ])
        .map(str::to_owned)
    }

    /// What makes the app from its sources, if anything does.
    pub(super) fn build_command(&self, family: &str) -> Option<String> {
        if self.has_script("build") {
            return Some(format!("{} build", self.manager.run()));
        }
        match family {
            "Next.js" => Some("npx next build".to_owned()),
            "Nuxt" => Some("npx nuxt build".to_owned()),
            "Vite" => Some("npx vite build".to_owned()),
            "Astro" | "Astro (SSR)" => Some("npx astro build".to_owned()),
            _ => None,
        }
    }

    /// Whether something of the development dependencies is called in the running image: tools that migrate.
    pub(super) fn needs_dev_at_run_time(&self) -> bool {
        [
            "prisma",
            "drizzle-kit",
            "knex",
            "sequelize-cli",
            "tsx",
            "ts-node",
        ]
        .iter()
        .any(|name| self.json["devDependencies"].get(name).is_some())
    }

    /// Whether packages of the project itself are installed with its dependencies.
    pub(super) fn has_local_parts(&self, tree: &SourceTree) -> bool {
        let is_local = |wanted: &Value| {
            let wanted = wanted.as_str().unwrap_or_default();
            ["file:", "link:", "portal:", "workspace:"]
                .iter()
                .any(|kind| wanted.starts_with(kind))
        };
        let needs_local = ["dependencies", "devDependencies"]
            .iter()
            .filter_map(|list| self.json[list].as_object())
            .any(|list| list.values().any(is_local));
        self.json.get("workspaces").is_some() || tree.has("pnpm-workspace.yaml") || needs_local
    }

    /// Whether installing the dependencies runs scripts of the project, which may want any of its files.
    pub(super) fn runs_as_it_installs(&self) -> bool {
        ["preinstall", "install", "postinstall", "prepare"]
            .iter()
            .any(|name| self.has_script(name))
    }

    pub(super) fn has_prisma(&self) -> bool {
        self.needs("prisma") || self.needs("@prisma/client")
    }

    /// The Node the project asks for, by its major version.
    pub(super) fn node_version(&self, tree: &SourceTree) -> String {
        let major = |text: &str| {
            let digits: String = text
                .trim_start_matches(|letter: char| !letter.is_ascii_digit())
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse::<u32>().ok().filter(|major| *major >= 16)
        };
        let engines = self.json["engines"]["node"].as_str().unwrap_or_default();
        // A lower bound is no wish.
        let engines = if engines.starts_with(">=") {
            None
        } else {
            major(engines)
        };
        let asked = major(tree.text(".nvmrc")).or(engines).unwrap_or(22);
        asked.to_string()
    }

    /// A command with Bun in place of Node.
    pub(super) fn bun_command(&self, command: Vec<String>) -> Vec<String> {
        command
            .into_iter()
            .enumerate()
            .map(|(index, word)| match (index, word.as_str()) {
                (0, "node") => "bun".to_owned(),
                (0, "npx") => "bunx".to_owned(),
                _ => word,
            })
            .collect()
    }
}
