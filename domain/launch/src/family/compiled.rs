mod go;
mod rust;

use crate::ignore::dockerignore;
use crate::project::{Backing, Project, SecretSource};
use crate::text::version_in;
use crate::tree::SourceTree;

pub(super) use go::go;
pub(super) use rust::rust;

/// Lucky, of Crystal.
pub(super) fn lucky(tree: &SourceTree) -> Option<Project> {
    if !tree.text("shard.yml").contains("lucky") {
        return None;
    }
    let mut project = Project::new("Lucky", 8080);
    project.file(
        "Dockerfile",
        "FROM crystallang/crystal:1-build AS build\nWORKDIR /app\nCOPY shard.* ./\nRUN shards install --production\nCOPY . .\n\
         RUN shards build --production --release && crystal build --release tasks.cr -o /usr/local/bin/lucky\n\n\
         FROM crystallang/crystal:1\nWORKDIR /app\nCOPY --from=build /app/bin /app/bin\nCOPY --from=build /app/public /app/public\n\
         COPY --from=build /app/config /app/config\nCOPY --from=build /app/db /app/db\nCOPY --from=build /usr/local/bin/lucky /usr/local/bin/lucky\n\
         RUN useradd --create-home app\nUSER app\nEXPOSE 8080\nCMD [\"./bin/start_server\"]\n",
    );
    project.file(
        ".dockerignore",
        dockerignore(tree, &["lib", "bin", "**/node_modules", "public/assets"]),
    );
    for (name, value) in [
        ("LUCKY_ENV", "production"),
        ("APP_DOMAIN", "APP_URL"),
        ("PORT", "8080"),
        ("HOST", "0.0.0.0"),
    ] {
        project.env(name, value);
    }
    project.secret(
        "SECRET_KEY_BASE",
        SecretSource::RandomBase64 {
            bytes: 32,
            prefix: "",
        },
    );
    project.note("Set the key of your mail service: secrets set SEND_GRID_KEY=… (\"unused\" while there is none).");
    project.wants(Backing::Postgres);
    project.migrates("Lucky", "lucky db.migrate");
    project
        .statics
        .push(("/app/public".to_owned(), "/".to_owned()));
    Some(project)
}

/// ASP.NET Core, by a project of the web SDK.
pub(super) fn dotnet(tree: &SourceTree) -> Option<Project> {
    let sources = tree.sources(".csproj");
    let (path, text) = sources
        .into_iter()
        .find(|(_, text)| text.contains("Microsoft.NET.Sdk.Web"))?;
    let framework = text
        .split_once("<TargetFramework>")
        .map_or("", |(_, rest)| rest);
    let version = version_in(framework).unwrap_or_else(|| "8.0".to_owned());
    let major: u32 = version.split('.').next()?.parse().ok()?;
    if major < 6 {
        return None;
    }
    let named = text
        .split_once("<AssemblyName>")
        .and_then(|(_, rest)| rest.split('<').next());
    let name = match named {
        Some(name) => name.trim(),
        None => path.rsplit('/').next()?.trim_end_matches(".csproj"),
    };
    // Restoring wants the projects this one refers to, and what stands above them all.
    let project_alone = !text.contains("<ProjectReference")
        && !tree.has_any(&[
            "Directory.Packages.props",
            "Directory.Build.props",
            "nuget.config",
            "NuGet.Config",
        ]);
    let (before, after) = if project_alone {
        (format!("COPY {path} {path}"), "COPY . .\n")
    } else {
        ("COPY . .".to_owned(), "")
    };
    let user = if major >= 8 { "USER app\n" } else { "" };
    let mut project = Project::new(".NET", 8080);
    project.file(
        "Dockerfile",
        format!(
            "FROM mcr.microsoft.com/dotnet/sdk:{version} AS build\nWORKDIR /src\n{before}\nRUN dotnet restore {path}\n{after}\
             RUN dotnet publish {path} --configuration Release --no-restore --output /app\n\n\
             FROM mcr.microsoft.com/dotnet/aspnet:{version}\nWORKDIR /app\nCOPY --from=build /app .\n\
             ENV ASPNETCORE_URLS=http://+:8080\n{user}EXPOSE 8080\nENTRYPOINT [\"dotnet\", \"{name}.dll\"]\n"
        ),
    );
    project.file(
        ".dockerignore",
        dockerignore(tree, &["**/bin", "**/obj", ".vs"]),
    );
    if text.contains("Npgsql") {
        project.wants(Backing::Postgres);
    }
    if text.contains("StackExchange.Redis") {
        project.wants(Backing::Redis);
    }
    Some(project)
}

/// Spring Boot, built by Maven or Gradle.
pub(super) fn spring(tree: &SourceTree) -> Option<Project> {
    let gradle = tree.first(&["build.gradle", "build.gradle.kts"]);
    let pom = tree.text("pom.xml");
    let text = if pom.is_empty() {
        tree.text(gradle?)
    } else {
        pom
    };
    if !text.contains("spring-boot") && !text.contains("springframework.boot") {
        return None;
    }
    let build = if pom.is_empty() {
        "FROM gradle:8-jdk21 AS build\nWORKDIR /src\nCOPY . .\nRUN gradle bootJar --no-daemon && mv build/libs/*.jar /app.jar\n"
    } else {
        "FROM maven:3-eclipse-temurin-21 AS build\nWORKDIR /src\nCOPY pom.xml .\nRUN mvn --batch-mode dependency:go-offline\nCOPY . .\n\
         RUN mvn --batch-mode package -DskipTests && mv target/*.jar /app.jar\n"
    };
    let mut project = Project::new("Spring Boot", 8080);
    project.file(
        "Dockerfile",
        format!(
            "{build}\nFROM eclipse-temurin:21-jre\nRUN useradd --create-home app\nWORKDIR /app\nCOPY --from=build /app.jar app.jar\n\
             USER app\nENV JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=75\nEXPOSE 8080\nCMD [\"java\", \"-jar\", \"app.jar\"]\n"
        ),
    );
    project.file(
        ".dockerignore",
        dockerignore(tree, &["target", "build", ".gradle"]),
    );
    project.env("SERVER_PORT", 8080);
    if text.contains("postgresql") {
        project.wants(Backing::Postgres);
    }
    if text.contains("data-redis") {
        project.wants(Backing::Redis);
    }
    if text.contains("spring-boot-starter-actuator") {
        project.check = Some(crate::project::Check {
            path: "/actuator/health/liveness".to_owned(),
            headers: Vec::new(),
        });
    }
    project.hungry_runtime = Some("Java");
    Some(project)
}
