use mayfly_machine::{Handler, PortSpec};

/// What a port's handlers come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Bytes as they are.
    Raw,
    Http,
    /// TLS ends here, bytes go on.
    Tls,
    TlsHttp,
    /// TLS as PostgreSQL's clients ask for it.
    PgTls,
}

impl Treatment {
    pub(super) fn of(port: &PortSpec) -> Treatment {
        let has = |handler| port.handlers.contains(&handler);
        let http = has(Handler::Http) || has(Handler::EdgeHttp);
        match (has(Handler::Tls), http, has(Handler::PgTls)) {
            (true, true, _) => Treatment::TlsHttp,
            (true, false, _) => Treatment::Tls,
            (false, true, _) => Treatment::Http,
            (false, false, true) => Treatment::PgTls,
            (false, false, false) => Treatment::Raw,
        }
    }
}
