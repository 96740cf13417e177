//! The projects, as small as their family can be told from.

/// A file of a project: its path and its text.
pub(crate) type File = (&'static str, &'static str);

/// A project: its name in the golden files, the family it is, and its files.
pub(crate) const PROJECTS: &[(&str, &str, &[File])] = &[
    (
        "django",
        "Django",
        &[
            (
                "requirements.txt",
                "Django==5.1\npsycopg2==2.9\ncelery\nboto3\ngunicorn\n",
            ),
            ("manage.py", "#!/usr/bin/env python"),
            (
                "shop/settings.py",
                "STATIC_ROOT = BASE_DIR / \"staticfiles\"\n",
            ),
            ("shop/wsgi.py", ""),
            ("shop/asgi.py", ""),
            (".python-version", "3.11.9\n"),
        ],
    ),
    (
        "django-async",
        "Django",
        &[
            (
                "pyproject.toml",
                "[project]\nname = 'x'\nrequires-python = '>=3.12'\ndependencies = ['django', 'daphne']\n",
            ),
            ("uv.lock", ""),
            ("site/asgi.py", ""),
            (
                "site/settings.py",
                "ENGINE = 'django.db.backends.sqlite3'\n",
            ),
        ],
    ),
    (
        "laravel",
        "Laravel",
        &[
            ("artisan", "#!/usr/bin/env php"),
            (
                "composer.json",
                r#"{"require":{"php":"^8.2","league/flysystem-aws-s3-v3":"3"}}"#,
            ),
            (".env", "DB_CONNECTION=pgsql\nCACHE_STORE=redis\n"),
            ("package.json", r#"{"scripts":{"build":"vite build"}}"#),
            ("package-lock.json", "{}"),
        ],
    ),
    (
        "phoenix",
        "Phoenix",
        &[
            (
                "mix.exs",
                "def project do\n [app: :my_shop, elixir: \"~> 1.18\"]\nend\ndefp deps do\n [{:phoenix, \"~> 1.7\"}, {:postgrex, \">= 0\"}, {:ecto_sql, \"3\"}]\nend\n\"assets.deploy\": []\n",
            ),
            ("mix.lock", ""),
            ("lib/my_shop.ex", ""),
            ("config/config.exs", ""),
            ("assets/js/app.js", ""),
            ("priv/repo/migrations/1.exs", ""),
        ],
    ),
    (
        "phoenix-sqlite",
        "Phoenix",
        &[
            (
                "mix.exs",
                "[app: :notes]\n{:phoenix, \"1\"}, {:ecto_sqlite3, \"0\"}\n",
            ),
            ("rel/overlays/bin/server", ""),
            ("rel/overlays/bin/migrate", ""),
            ("rel/env.sh.eex", "own"),
            ("lib/notes.ex", ""),
        ],
    ),
    (
        "rails",
        "Rails",
        &[
            (
                "Gemfile",
                "source 'x'\nruby \"3.3.5\"\ngem \"rails\"\ngem \"pg\"\ngem \"sidekiq\"\ngem \"bootsnap\"\ngem \"propshaft\"\n",
            ),
            ("Gemfile.lock", "    rails (8.0)\n"),
            ("bin/rails", ""),
            ("bin/docker-entrypoint", ""),
            ("config/routes.rb", "get \"up\" => \"rails/health#show\"\n"),
            ("config/master.key", "0123"),
            ("config/database.yml", "adapter: postgresql\n"),
        ],
    ),
    (
        "rails-sqlite",
        "Rails",
        &[
            ("Gemfile", "gem 'rails'\ngem 'sqlite3'\n"),
            ("bin/rails", ""),
            ("package.json", "{}"),
            ("yarn.lock", ""),
        ],
    ),
    (
        "redwood",
        "RedwoodJS",
        &[
            ("redwood.toml", ""),
            ("package.json", r#"{"devDependencies":{"prisma":"5"}}"#),
            ("yarn.lock", ""),
            (".yarnrc.yml", ""),
            (
                "api/db/schema.prisma",
                "datasource db {\n  provider = \"sqlite\"\n}\n",
            ),
        ],
    ),
    (
        "next",
        "Next.js",
        &[
            (
                "package.json",
                r#"{"dependencies":{"next":"15"},"scripts":{"build":"next build","start":"next start"},"engines":{"node":"20.x"}}"#,
            ),
            ("package-lock.json", "{}"),
            ("next.config.mjs", "export default { output: 'standalone' }"),
            ("public/a.txt", ""),
        ],
    ),
    (
        "next-plain",
        "Next.js",
        &[
            (
                "package.json",
                r#"{"dependencies":{"next":"15","@prisma/client":"5"},"devDependencies":{"prisma":"5"},"scripts":{"build":"next build","start":"next start"}}"#,
            ),
            ("pnpm-lock.yaml", ""),
            (
                "prisma/schema.prisma",
                "datasource db {\n  provider = \"postgresql\"\n}\n",
            ),
        ],
    ),
    (
        "remix",
        "Remix",
        &[
            (
                "package.json",
                r#"{"dependencies":{"@remix-run/node":"2","@remix-run/react":"2","better-sqlite3":"11"},"scripts":{"build":"remix vite:build","start":"remix-serve build/server/index.js"}}"#,
            ),
            ("package-lock.json", "{}"),
        ],
    ),
    (
        "react-router",
        "React Router",
        &[(
            "package.json",
            r#"{"dependencies":{"@react-router/node":"7"},"scripts":{"build":"react-router build","start":"react-router-serve ./build/server/index.js"}}"#,
        )],
    ),
    (
        "nuxt",
        "Nuxt",
        &[
            (
                "package.json",
                r#"{"devDependencies":{"nuxt":"3"},"scripts":{"build":"nuxt build"}}"#,
            ),
            ("yarn.lock", ""),
            ("nuxt.config.ts", ""),
        ],
    ),
    (
        "astro",
        "Astro",
        &[
            (
                "package.json",
                r#"{"dependencies":{"astro":"5"},"scripts":{"build":"astro build"}}"#,
            ),
            ("package-lock.json", "{}"),
        ],
    ),
    (
        "astro-ssr",
        "Astro (SSR)",
        &[(
            "package.json",
            r#"{"dependencies":{"astro":"5","@astrojs/node":"9"},"scripts":{"build":"astro build"}}"#,
        )],
    ),
    (
        "sveltekit",
        "SvelteKit",
        &[(
            "package.json",
            r#"{"devDependencies":{"@sveltejs/kit":"2","@sveltejs/adapter-node":"5","vite":"6"},"scripts":{"build":"vite build"}}"#,
        )],
    ),
    (
        "vite",
        "Vite",
        &[
            (
                "package.json",
                r#"{"devDependencies":{"vite":"6"},"scripts":{"build":"vite build","start":"vite"}}"#,
            ),
            ("package-lock.json", "{}"),
            ("index.html", "<html>"),
        ],
    ),
    (
        "gatsby",
        "Gatsby",
        &[(
            "package.json",
            r#"{"dependencies":{"gatsby":"5"},"scripts":{"build":"gatsby build","start":"gatsby develop"}}"#,
        )],
    ),
    (
        "cra",
        "Create React App",
        &[(
            "package.json",
            r#"{"dependencies":{"react-scripts":"5"},"scripts":{"build":"react-scripts build","start":"react-scripts start"}}"#,
        )],
    ),
    (
        "nest",
        "NestJS",
        &[
            (
                "package.json",
                r#"{"dependencies":{"@nestjs/core":"10","ioredis":"5","mysql2":"3"},"scripts":{"build":"nest build","start":"nest start"}}"#,
            ),
            ("package-lock.json", "{}"),
        ],
    ),
    (
        "adonis",
        "AdonisJS",
        &[(
            "package.json",
            r#"{"dependencies":{"@adonisjs/core":"6","pg":"8"},"scripts":{"build":"node ace build","start":"node bin/server.js"}}"#,
        )],
    ),
    (
        "meteor",
        "Meteor",
        &[
            ("package.json", r#"{"scripts":{"start":"meteor run"}}"#),
            (".meteor/release", "METEOR@3"),
        ],
    ),
    (
        "shopify",
        "Shopify",
        &[
            (
                "package.json",
                r#"{"dependencies":{"@remix-run/node":"2"},"scripts":{"build":"remix build","start":"remix-serve","docker-start":"npm run setup"}}"#,
            ),
            ("shopify.app.toml", ""),
        ],
    ),
    (
        "node",
        "NodeJS",
        &[
            (
                "package.json",
                r#"{"dependencies":{"express":"4","pg":"8","@aws-sdk/client-s3":"3"},"scripts":{"start":"node server.js"}}"#,
            ),
            ("package-lock.json", "{}"),
            ("server.js", "app.listen(process.env.PORT || 8080)"),
        ],
    ),
    (
        "node-plain",
        "NodeJS",
        &[
            ("package.json", r#"{"main":"app.js"}"#),
            ("app.js", "http.createServer(f).listen(4000)"),
        ],
    ),
    (
        "bun",
        "Bun",
        &[
            (
                "package.json",
                r#"{"scripts":{"start":"bun run index.ts"}}"#,
            ),
            ("bun.lock", ""),
            ("index.ts", "Bun.serve({ port: 3000 })"),
        ],
    ),
    (
        "dockerfile",
        "Dockerfile",
        &[(
            "Dockerfile",
            "FROM alpine\nEXPOSE 5000\nVOLUME /data\nENV API_KEY=x\nCOPY .env .\n",
        )],
    ),
    (
        "procfile",
        "Procfile",
        &[("Procfile", "web: ./run\nworker: ./work\n")],
    ),
    (
        "bridgetown",
        "Bridgetown",
        &[("Gemfile", "gem \"bridgetown\"\n"), ("package.json", "{}")],
    ),
    (
        "lucky",
        "Lucky",
        &[(
            "shard.yml",
            "dependencies:\n  lucky:\n    github: luckyframework/lucky\n",
        )],
    ),
    (
        "ruby",
        "Ruby",
        &[
            ("Gemfile", "gem 'sinatra'\ngem 'puma'\ngem 'pg'\n"),
            ("config.ru", "run App"),
            (".ruby-version", "3.2.1"),
        ],
    ),
    (
        "go",
        "Go",
        &[
            (
                "go.mod",
                "module x\n\ngo 1.23.4\n\nrequire github.com/jackc/pgx/v5 v5\n",
            ),
            ("go.sum", ""),
            (
                "cmd/server/main.go",
                "package main\nfunc main() { http.ListenAndServe(\":9000\", nil) }\n",
            ),
            ("templates/a.html", ""),
        ],
    ),
    (
        "go-vendored",
        "Go",
        &[
            ("go.mod", "module x\ngo 1.22\n"),
            ("go.sum", ""),
            ("main.go", "package main\n"),
            ("vendor/modules.txt", ""),
        ],
    ),
    (
        "go-plain",
        "Go",
        &[
            ("go.mod", "module x\ngo 1.22\n"),
            ("main.go", "package main\n"),
        ],
    ),
    (
        "elixir",
        "Elixir",
        &[("mix.exs", "[app: :plain]\n"), ("lib/plain.ex", "")],
    ),
    (
        "flask",
        "Flask",
        &[
            ("requirements.txt", "flask\nredis\n"),
            ("app.py", "from flask import Flask\nweb = Flask(__name__)\n"),
        ],
    ),
    (
        "flask-factory",
        "Flask",
        &[
            (
                "Pipfile",
                "[packages]\nflask = \"*\"\nflask-migrate = \"*\"\npsycopg = \"*\"\n",
            ),
            ("Pipfile.lock", ""),
            (
                "blog/__init__.py",
                "def create_app():\n    app = Flask(__name__)\n    return app\n",
            ),
        ],
    ),
    (
        "fastapi",
        "FastAPI",
        &[
            (
                "pyproject.toml",
                "[tool.poetry]\nname = 'x'\n[tool.poetry.dependencies]\npython = '^3.11'\nfastapi = '*'\nalembic = '*'\nasyncpg = '*'\n",
            ),
            ("poetry.lock", ""),
            ("alembic.ini", ""),
            (
                "api/main.py",
                "from fastapi import FastAPI\napp = FastAPI(title='x')\n",
            ),
        ],
    ),
    (
        "streamlit",
        "Streamlit",
        &[
            ("requirements.txt", "streamlit\n"),
            ("dash.py", "import streamlit as st\n"),
        ],
    ),
    (
        "python",
        "Python",
        &[("requirements.txt", "aiohttp\n"), ("main.py", "")],
    ),
    ("conda", "Python", &[("environment.yml", "name: x\n")]),
    (
        "deno",
        "Deno",
        &[
            ("deno.json", "{}"),
            ("main.ts", "Deno.serve({ port: 8000 }, f)"),
        ],
    ),
    (
        "deno-imports",
        "Deno",
        &[(
            "server.ts",
            "import { serve } from \"https://deno.land/std/http/server.ts\";",
        )],
    ),
    (
        "static",
        "Static",
        &[("index.html", "<html>"), ("style.css", "")],
    ),
    (
        "static-served",
        "Static",
        &[
            (
                "package.json",
                r#"{"scripts":{"dev":"http-server ./public"}}"#,
            ),
            ("public/index.html", ""),
        ],
    ),
    (
        "dotnet",
        ".NET",
        &[(
            "src/Web/Web.csproj",
            "<Project Sdk=\"Microsoft.NET.Sdk.Web\">\n<TargetFramework>net8.0</TargetFramework>\nNpgsql\n",
        )],
    ),
    (
        "spring",
        "Spring Boot",
        &[(
            "pom.xml",
            "<parent>spring-boot-starter-parent</parent> spring-boot-starter-actuator postgresql",
        )],
    ),
    (
        "rust-axum",
        "Axum",
        &[
            (
                "Cargo.toml",
                "[package]\nname = 'web'\n[dependencies]\naxum = '0.8'\nsqlx = '0.8'\n",
            ),
            ("Cargo.lock", ""),
            ("src/main.rs", "let a = \"0.0.0.0:3000\";"),
            ("static/a.css", ""),
        ],
    ),
    (
        "rust-rocket",
        "Rocket",
        &[
            (
                "Cargo.toml",
                "[package]\nname = 'web'\n[dependencies]\nrocket = '0.5'\n",
            ),
            ("src/main.rs", ""),
        ],
    ),
    (
        "node-workspace",
        "NodeJS",
        &[
            (
                "package.json",
                r#"{"workspaces":["packages/*"],"scripts":{"start":"node server.js"}}"#,
            ),
            ("package-lock.json", "{}"),
            ("packages/a/package.json", r#"{"name":"a"}"#),
            ("server.js", ""),
        ],
    ),
    (
        "node-patched",
        "NodeJS",
        &[
            (
                "package.json",
                r#"{"scripts":{"start":"node server.js","postinstall":"patch-package"}}"#,
            ),
            ("patches/a+1.0.0.patch", ""),
            ("server.js", ""),
        ],
    ),
    (
        "python-lists",
        "Python",
        &[
            ("requirements.txt", "-r requirements/base.txt\n"),
            ("requirements/base.txt", "httpx\n"),
            ("main.py", ""),
        ],
    ),
    (
        "rust-program",
        "Rust",
        &[
            (
                "Cargo.toml",
                "[package]\nname = 'shop'\n[[bin]]\nname = 'server'\npath = 'src/main.rs'\n",
            ),
            ("src/main.rs", ""),
        ],
    ),
    (
        "rust-workspace",
        "Actix Web",
        &[
            ("Cargo.toml", "[workspace]\nmembers = ['server']\n"),
            (
                "server/Cargo.toml",
                "[package]\nname = 'server'\n[dependencies]\nactix-web = '4'\n",
            ),
            ("server/src/main.rs", ".bind(\"127.0.0.1:8080\")"),
        ],
    ),
    (
        "rust-programs",
        "Axum",
        &[
            (
                "Cargo.toml",
                "[package]\nname = 'shop'\n[dependencies]\naxum = '0.8'\n",
            ),
            ("src/bin/admin.rs", ""),
            ("src/bin/web/main.rs", "\"0.0.0.0:3000\""),
            ("src/bin/web/routes.rs", ""),
            ("src/lib.rs", ""),
        ],
    ),
    (
        "django-below",
        "Django",
        &[
            ("requirements.txt", "django\ndj-database-url\n"),
            ("backend/manage.py", ""),
            ("backend/shop/wsgi.py", ""),
            (
                "backend/shop/settings/base.py",
                "SECRET_KEY = os.environ[\"DJANGO_SECRET_KEY\"]\nALLOWED_HOSTS = []\n\
                 DATABASES = {\"default\": dj_database_url.config(default=os.environ[\"DATABASE_URL\"])}\n\
                 if not DEBUG:\n    STATIC_ROOT = os.path.join(\"/srv\", \"static\")\n\
                 STATIC_URL = \"assets/\"\n",
            ),
        ],
    ),
    (
        "vite-elsewhere",
        "Vite",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"vite build","prepare":"husky"},"packageManager":"pnpm@10.4.1+sha512.ab","devDependencies":{"vite":"7"}}"#,
            ),
            ("pnpm-lock.yaml", ""),
            ("Procfile", "web: npm start\n"),
            (
                "vite.config.ts",
                "export default { build: { outDir: \"./www/\" } }",
            ),
        ],
    ),
    (
        "laravel-sqlite",
        "Laravel",
        &[
            ("artisan", ""),
            ("composer.json", r#"{"require":{"php":"^8.2"}}"#),
            (".env.example", "DB_CONNECTION=sqlite\nAPP_KEY=\n"),
        ],
    ),
    (
        "rails-storage",
        "Rails",
        &[
            ("Gemfile", "gem \"rails\", \"~> 8.0\"\ngem \"sqlite3\"\n"),
            ("bin/rails", ""),
            (
                "config/database.yml",
                "production:\n  primary:\n    adapter: sqlite3\n    database: storage/production.sqlite3\n  \
                 cache:\n    database: storage/production_cache.sqlite3\n",
            ),
        ],
    ),
    (
        "dotnet-solution",
        ".NET",
        &[
            (
                "src/Web/Web.csproj",
                "<Project Sdk=\"Microsoft.NET.Sdk.Web\"><PropertyGroup><TargetFramework>net8.0</TargetFramework>\
                 <AssemblyName>shop</AssemblyName></PropertyGroup><ProjectReference Include=\"../Core/Core.csproj\" /></Project>",
            ),
            (
                "src/Core/Core.csproj",
                "<Project Sdk=\"Microsoft.NET.Sdk\" />",
            ),
        ],
    ),
    (
        "bun-plain",
        "Bun",
        &[
            ("package.json", r#"{"scripts":{"start":"bun index.ts"}}"#),
            ("index.ts", "Bun.serve({ port: 4000 })"),
        ],
    ),
];
