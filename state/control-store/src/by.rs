use mayfly_types::Timestamp;

/// When a change is made, by whom and on which request: the first columns of its row in the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub at: Timestamp,
    /// `user:<id>`, `machine:<id>`, `host:<id>`, `wireguard_token:<name>`, `autoscaler` or `platform`.
    pub actor: String,
    /// The id of the request or of the event that led to this.
    pub cause: Option<String>,
}

impl By {
    /// One of our own loops, or the operator's command line.
    pub fn platform(at: Timestamp) -> By {
        By {
            at,
            actor: "platform".to_owned(),
            cause: None,
        }
    }

    /// The rules by which machines come and go with the load.
    pub fn autoscaler(at: Timestamp) -> By {
        By {
            at,
            actor: "autoscaler".to_owned(),
            cause: None,
        }
    }

    /// A machine that speaks for itself.
    pub fn machine(at: Timestamp, machine: mayfly_types::MachineId, cause: Option<String>) -> By {
        By {
            at,
            actor: format!("machine:{machine}"),
            cause,
        }
    }

    /// A program that may enter devices and nothing else.
    pub fn wireguard_token(at: Timestamp, name: &str, cause: Option<String>) -> By {
        By {
            at,
            actor: format!("wireguard_token:{name}"),
            cause,
        }
    }

    /// A person or robot with a token.
    pub fn user(at: Timestamp, user: mayfly_types::UserId, cause: Option<String>) -> By {
        By {
            at,
            actor: format!("user:{user}"),
            cause,
        }
    }
}
