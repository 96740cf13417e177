use http::Method;
use mayfly_access::{Action, Feature};

/// What a route does, as tokens see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) action: Action,
    pub(crate) feature: Option<Feature>,
    /// Upstream's name for the same change.
    pub(crate) mutation: Option<&'static str>,
    /// Runs a command that the handler knows: it has to ask [`super::MachineAccess::may_run`].
    pub(crate) runs_command: bool,
    /// About one app or organization that is asked for on the way, so that nothing has to be refused before.
    pub(crate) placed: bool,
}

const MACHINE: &str = "/v1/apps/{app}/machines/{machine}";

/// What changes how a machine runs, but not what it is.
const CONTROLS: [&str; 10] = [
    "/start",
    "/stop",
    "/restart",
    "/suspend",
    "/signal",
    "/cordon",
    "/uncordon",
    "/lease",
    "/memory",
    "/memory/reclaim",
];

/// The need of a route by its pattern. What is not named here is what its method says.
pub(crate) fn need(method: &Method, path: &str) -> Need {
    let path = path.trim_end_matches('/');
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let action = match *method {
        Method::GET | Method::HEAD => Action::READ,
        Method::DELETE => Action::DELETE,
        _ => Action::WRITE,
    };
    let mut need = Need {
        action,
        feature: None,
        mutation: None,
        runs_command: false,
        placed: path.starts_with("/v1/apps/{app}")
            || path.starts_with("/v1/orgs/{slug}")
            || path.starts_with("/api/v1/"),
    };
    if let Some(rest) = path.strip_prefix(MACHINE) {
        match rest {
            "/exec" | "/exec/stream" => {
                need.action = Action::CONTROL;
                need.runs_command = true;
                // Whoever may have a certificate for shells gets in that way, too.
                need.mutation = Some("issueCertificate");
            }
            rest if !reads && CONTROLS.contains(&rest) => need.action = Action::CONTROL,
            _ => {}
        }
        return need;
    }
    let created = |need: Need| Need {
        action: if reads { Action::READ } else { Action::CREATE },
        placed: true,
        ..need
    };
    match path {
        "/v1/apps" | "/v1/apps/{app}/machines" | "/v1/apps/{app}/volumes" => created(need),
        // The upgrade to a stream of both directions is a GET.
        "/v1/apps/{app}/builds" => Need {
            action: Action::WRITE,
            ..need
        },
        // Whoever says when an app goes may take it away.
        "/v1/apps/{app}/ttl" => Need {
            action: Action::DELETE,
            ..need
        },
        "/v1/platform/placements" => Need {
            action: Action::READ,
            ..need
        },
        "/v1/orgs/{slug}" if !reads => Need {
            feature: Some(Feature::Deletion),
            ..need
        },
        "/v1/orgs/{slug}/wireguard_peers" => Need {
            feature: Some(Feature::WireGuard),
            mutation: (!reads).then_some("addWireGuardPeer"),
            ..created(need)
        },
        "/v1/orgs/{slug}/wireguard_peers/{name}" => Need {
            feature: Some(Feature::WireGuard),
            mutation: (!reads).then_some("removeWireGuardPeer"),
            ..need
        },
        "/v1/orgs/{slug}/wireguard_tokens" => Need {
            feature: Some(Feature::WireGuard),
            mutation: (!reads).then_some("createDelegatedWireGuardToken"),
            ..created(need)
        },
        "/v1/orgs/{slug}/wireguard_tokens/{name}" => Need {
            feature: Some(Feature::WireGuard),
            mutation: Some("deleteDelegatedWireGuardToken"),
            ..need
        },
        // A connection into the private network is what a peer has.
        "/v1/orgs/{slug}/connect" => Need {
            action: Action::CREATE,
            feature: Some(Feature::WireGuard),
            mutation: Some("addWireGuardPeer"),
            ..need
        },
        "/v1/orgs/{slug}/dns" | "/v1/orgs/{slug}/ping" => Need {
            action: Action::READ,
            feature: Some(Feature::WireGuard),
            mutation: Some("addWireGuardPeer"),
            ..need
        },
        "/v1/orgs/{slug}/ssh/certificates" => Need {
            feature: Some(Feature::WireGuard),
            mutation: Some("issueCertificate"),
            ..created(need)
        },
        "/v1/orgs/{slug}/members/{email}" | "/v1/orgs/{slug}/invitations/{email}" => Need {
            feature: Some(Feature::Membership),
            ..need
        },
        // Who may say what an organization may have is who says who is in it.
        "/v1/orgs/{slug}/budget" if !reads => Need {
            feature: Some(Feature::Membership),
            ..need
        },
        "/v1/orgs/{slug}/invitations" => Need {
            feature: Some(Feature::Membership),
            ..created(need)
        },
        "/v1/orgs/{slug}/tokens" => Need {
            feature: Some(Feature::Authentication),
            ..created(need)
        },
        path if path.starts_with("/v1/orgs/{slug}/replay_sources") => Need {
            feature: Some(Feature::Replay),
            ..need
        },
        _ => need,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_need_what_they_do() {
        for (method, path, action, feature) in [
            (Method::GET, "/v1/apps/{app}", Action::READ, None),
            (Method::DELETE, "/v1/apps/{app}", Action::DELETE, None),
            (Method::POST, "/v1/apps/{app}/ttl", Action::DELETE, None),
            (Method::POST, "/v1/apps", Action::CREATE, None),
            (
                Method::POST,
                "/v1/apps/{app}/machines",
                Action::CREATE,
                None,
            ),
            (
                Method::POST,
                "/v1/apps/{app}/machines/{machine}/",
                Action::WRITE,
                None,
            ),
            (
                Method::POST,
                "/v1/apps/{app}/machines/{machine}/start",
                Action::CONTROL,
                None,
            ),
            (
                Method::GET,
                "/v1/apps/{app}/machines/{machine}/lease",
                Action::READ,
                None,
            ),
            (
                Method::DELETE,
                "/v1/apps/{app}/machines/{machine}/lease",
                Action::CONTROL,
                None,
            ),
            (
                Method::GET,
                "/v1/apps/{app}/machines/{machine}/exec/stream",
                Action::CONTROL,
                None,
            ),
            (Method::POST, "/v1/apps/{app}/secrets", Action::WRITE, None),
            (Method::GET, "/v1/orgs/{slug}", Action::READ, None),
            (
                Method::DELETE,
                "/v1/orgs/{slug}",
                Action::DELETE,
                Some(Feature::Deletion),
            ),
            (
                Method::GET,
                "/v1/orgs/{slug}/connect",
                Action::CREATE,
                Some(Feature::WireGuard),
            ),
            (
                Method::PUT,
                "/v1/orgs/{slug}/members/{email}",
                Action::WRITE,
                Some(Feature::Membership),
            ),
            (
                Method::PUT,
                "/v1/orgs/{slug}/replay_sources/{source}",
                Action::WRITE,
                Some(Feature::Replay),
            ),
            (Method::GET, "/v1/apps/{app}/builds", Action::WRITE, None),
            (Method::POST, "/v1/something/new", Action::WRITE, None),
        ] {
            let need = need(&method, path);
            assert_eq!(
                (need.action, need.feature),
                (action, feature),
                "{method} {path}"
            );
        }
        assert!(!need(&Method::POST, "/v1/something/new").placed);
        assert!(
            need(
                &Method::GET,
                "/v1/apps/{app}/machines/{machine}/exec/stream"
            )
            .runs_command
        );
    }
}
