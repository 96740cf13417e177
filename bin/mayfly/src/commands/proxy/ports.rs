use std::path::PathBuf;

use crate::failure::Failure;

/// Where a proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Local {
    Port(u16),
    Socket(PathBuf),
}

/// A place here and the port it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) local: Local,
    pub(super) remote: u16,
}

/// The mappings of a command line, and the host at its end if it names one.
pub(super) fn read(words: &[String]) -> anyhow::Result<(Vec<Mapping>, Option<String>)> {
    let mut mappings = Vec::new();
    for (index, word) in words.iter().enumerate() {
        match mapping(word) {
            Some(mapping) => mappings.push(mapping),
            None if index > 0 && index + 1 == words.len() => {
                return Ok((mappings, Some(word.clone())));
            }
            None => {
                return Err(Failure::new(format!("{word} names no ports"))
                    .remedy("Use <local>[:<remote>], such as 5432, 15432:5432 or ./pg.sock:5432.")
                    .into());
            }
        }
    }
    Ok((mappings, None))
}

fn mapping(word: &str) -> Option<Mapping> {
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let Some((local, remote)) = word.rsplit_once(':') else {
        let port = port(word)?;
        return Some(Mapping {
            local: Local::Port(port),
            remote: port,
        });
    };
    let remote = port(remote)?;
    let local = match local.parse::<u16>() {
        // Port 0 is any that is free.
        Ok(port) => Local::Port(port),
        Err(_) if local.contains('/') || local.ends_with(".sock") => {
            Local::Socket(PathBuf::from(local))
        }
        Err(_) => return None,
    };
    Some(Mapping { local, remote })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn ports_and_hosts_are_told_apart() {
        let port = |local, remote| Mapping {
            local: Local::Port(local),
            remote,
        };
        let socket = Mapping {
            local: Local::Socket("./pg.sock".into()),
            remote: 5432,
        };
        for (text, mappings, host) in [
            ("5432", vec![port(5432, 5432)], None),
            ("0:80 6379", vec![port(0, 80), port(6379, 6379)], None),
            (
                "8080:80 web.flycast",
                vec![port(8080, 80)],
                Some("web.flycast"),
            ),
            (
                "./pg.sock:5432 fdaa:0:1::3",
                vec![socket],
                Some("fdaa:0:1::3"),
            ),
        ] {
            let (read, its_host) = read(&words(text)).unwrap();
            assert_eq!((read, its_host.as_deref()), (mappings, host), "{text}");
        }
        for text in ["web", "0", "80:0", "70000", "web.internal 80", "x:80"] {
            assert!(read(&words(text)).is_err(), "{text}");
        }
    }
}
