use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use mayfly_control::{first_start_with, fresh_token};
use mayfly_control_store::ControlStore;
use mayfly_runtime::{Clock, Entropy};
use mayfly_types::Secret;

/// Makes the first user, with the token in the data directory's `admin-token`.
///
/// The file is written before the user is made and read again after a crash in between, so that the token of the one
/// user a cloud begins with is never lost. A cloud that has users is left alone, whether the file is there or not.
pub(crate) async fn first_start(
    data_dir: &Path,
    store: &ControlStore,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    domain: &str,
) -> anyhow::Result<()> {
    let path = data_dir.join("admin-token");
    let (token, written_now) = match fs::read_to_string(&path) {
        Ok(text) => (Secret::new(text.trim()), false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = fresh_token(entropy);
            write_private(&path, &token).with_context(|| format!("write {}", path.display()))?;
            (token, true)
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let made = first_start_with(store, clock, entropy, domain, &token)
        .await
        .context("make the first user")?;
    if written_now && !made {
        // There are users, and somebody took the file away: the fresh token is nobody's.
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

fn write_private(path: &Path, token: &Secret) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{}", token.reveal())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
