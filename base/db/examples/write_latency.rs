//! What a transaction costs, beside the disk flush it cannot avoid: medians, in ratios to a bare write and fdatasync.
//!
//! `cargo run --release -p mayfly-db --example write_latency [directory]`

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mayfly_db::{Db, DbError, Migration, args};

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "note",
    sql: "CREATE TABLE IF NOT EXISTS note (id BIGINT PRIMARY KEY, text TEXT)",
}];

const PUT: &str = "
    INSERT INTO note (id, text) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET text = excluded.text";

const ROUNDS: i64 = 300;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("mayfly-write-latency-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let outcome = measure(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    outcome
}

async fn measure(directory: &Path) -> Result<(), Box<dyn Error>> {
    let db = Db::open(&format!("sqlite://{}/t.db", directory.display())).await?;
    db.migrate(SCHEMA).await?;
    let mut flush = Vec::new();
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("flush"))?;
    let mut one = Vec::new();
    let mut five = Vec::new();
    let mut read = Vec::new();
    for round in 0..ROUNDS {
        let begin = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        flush.push(begin.elapsed());
        for (statements, times) in [(1, &mut one), (5, &mut five)] {
            let begin = Instant::now();
            write(&db, round, statements).await?;
            times.push(begin.elapsed());
        }
        let begin = Instant::now();
        db.read(move |reader| reader.row("SELECT text FROM note WHERE id = $1", args![round]))
            .await?;
        read.push(begin.elapsed());
    }
    let flush = median(flush);
    let line = |what: &str, time: Duration| {
        let ratio = time.as_secs_f64() / flush.as_secs_f64();
        println!(
            "{what:<46} {:>8.1} µs  {ratio:>5.2} ×",
            time.as_secs_f64() * 1e6
        );
    };
    line("write of 4 KiB and fdatasync", flush);
    line("transaction of 1 statement", median(one));
    line("transaction of 5 statements", median(five));
    line("one row read", median(read));
    for waiting in [8, 64] {
        let begin = Instant::now();
        for round in 0..ROUNDS / 10 {
            let writes = (0..waiting).map(|n| write(&db, round * waiting + n, 5));
            for result in join_all(writes).await {
                result?;
            }
        }
        let each = begin.elapsed() / u32::try_from(ROUNDS / 10 * waiting)?;
        line(&format!("the same, each of {waiting} at once"), each);
    }
    Ok(())
}

async fn write(db: &Db, id: i64, statements: i64) -> Result<(), DbError> {
    db.write(move |tx| {
        for n in 0..statements {
            tx.execute(
                PUT,
                args![id * 10 + n, "a line of text that is not very long"],
            )?;
        }
        Ok(())
    })
    .await
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
