//! `/v1/apps/<app>/network_policies`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::StoredPolicy;
use mayfly_edge_api::{
    NetworkPolicy, PolicyAction, PolicyDirection, PolicyPort, PolicyProtocol, PolicyRule,
    PolicySelector,
};
use mayfly_types::{AppName, IpRange, MachineId};
use mayfly_wire as wire;

use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

const POLICIES_MAX: i64 = 64;
const RULES_MAX: usize = 100;
/// Ports, ranges or apps of one rule, and machines or metadata of a selector.
const LIST_MAX: usize = 100;
const NAME_MAX: usize = 63;

/// `GET …/network_policies`, oldest first.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
) -> Result<Json<Vec<wire::NetworkPolicy>>, ApiError> {
    let policies = cloud.store.network_policies(access.app.id).await?;
    Ok(Json(policies.into_iter().map(view).collect()))
}

/// `GET …/network_policies/<id>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<Json<wire::NetworkPolicy>, ApiError> {
    let id = path.get("policy").cloned().unwrap_or_default();
    Ok(Json(view(
        cloud.store.network_policy(access.app.id, id).await?,
    )))
}

/// `POST …/network_policies`: adds a policy, or replaces the one whose id is given.
pub(crate) async fn put(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<wire::NetworkPolicy>,
) -> Result<(StatusCode, Json<wire::NetworkPolicy>), ApiError> {
    let given = request.id.clone().filter(|id| !id.is_empty());
    let id = given.clone().unwrap_or_else(|| {
        let bytes: [u8; 10] = cloud.entropy.bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    });
    let policy = check(request, id)?;
    let by = access.caller.by(&cloud);
    let (app, known) = (access.app.id, given.is_some());
    let stored = cloud
        .store
        .put_network_policy(app, policy, known, POLICIES_MAX, by)
        .await?;
    let status = if known {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(view(stored))))
}

/// `DELETE …/network_policies/<id>`.
pub(crate) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<StatusCode, ApiError> {
    let id = path.get("policy").cloned().unwrap_or_default();
    let by = access.caller.by(&cloud);
    cloud
        .store
        .delete_network_policy(access.app.id, id, by)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(request: wire::NetworkPolicy, id: String) -> Result<NetworkPolicy, ApiError> {
    let name = request.name.unwrap_or_default();
    if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "name: use 1 to {NAME_MAX} characters that can be printed"
        )));
    }
    let rules = request.rules.unwrap_or_default();
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(ApiError::invalid(format!(
            "rules: give 1 to {RULES_MAX} rules"
        )));
    }
    let rules = rules.into_iter().enumerate();
    Ok(NetworkPolicy {
        id,
        name,
        selector: selector(request.selector.unwrap_or_default())?,
        rules: rules
            .map(|(index, one)| rule(one, &format!("rules[{index}]")))
            .collect::<Result<_, _>>()?,
    })
}

fn selector(given: wire::NetworkPolicySelector) -> Result<PolicySelector, ApiError> {
    let metadata = given.metadata.unwrap_or_default();
    let machines = given.machines.filter(|machines| !machines.is_empty());
    if given.all != Some(true) && metadata.is_empty() && machines.is_none() {
        return Err(ApiError::invalid(
            "selector: say {\"all\": true}, or name machines or metadata",
        ));
    }
    short("selector.metadata", metadata.len())?;
    short("selector.machines", machines.as_ref().map_or(0, Vec::len))?;
    let machines = machines
        .map(|machines| {
            let parse = |(index, machine): (usize, wire::NetworkPolicyMachine)| {
                let id = machine.id.unwrap_or_default();
                id.parse::<MachineId>().map_err(|error| {
                    ApiError::invalid(format!("selector.machines[{index}].id: {error}"))
                })
            };
            machines.into_iter().enumerate().map(parse).collect()
        })
        .transpose()?;
    Ok(PolicySelector { machines, metadata })
}

fn rule(given: wire::NetworkPolicyRule, at: &str) -> Result<PolicyRule, ApiError> {
    let ports = given.ports.unwrap_or_default();
    let cidrs = given.cidrs.unwrap_or_default();
    let apps = given.apps.unwrap_or_default();
    short(&format!("{at}.ports"), ports.len())?;
    short(&format!("{at}.cidrs"), cidrs.len())?;
    short(&format!("{at}.apps"), apps.len())?;
    Ok(PolicyRule {
        action: match given.action.as_deref() {
            Some("allow") => PolicyAction::Allow,
            Some("deny") => PolicyAction::Deny,
            other => return Err(word(at, "action", "allow, deny", other)),
        },
        direction: match given.direction.as_deref() {
            Some("ingress") => PolicyDirection::Ingress,
            Some("egress") => PolicyDirection::Egress,
            other => return Err(word(at, "direction", "ingress, egress", other)),
        },
        ports: ports
            .into_iter()
            .enumerate()
            .map(|(index, one)| port(one, &format!("{at}.ports[{index}]")))
            .collect::<Result<_, _>>()?,
        ranges: cidrs
            .iter()
            .enumerate()
            .map(|(index, text)| {
                text.parse::<IpRange>()
                    .map_err(|error| ApiError::invalid(format!("{at}.cidrs[{index}]: {error}")))
            })
            .collect::<Result<_, _>>()?,
        apps: apps
            .iter()
            .enumerate()
            .map(|(index, text)| {
                text.parse::<AppName>()
                    .map_err(|error| ApiError::invalid(format!("{at}.apps[{index}]: {error}")))
            })
            .collect::<Result<_, _>>()?,
    })
}

fn port(given: wire::NetworkPolicyPort, at: &str) -> Result<PolicyPort, ApiError> {
    let protocol = match given.protocol.as_deref() {
        Some("tcp") => PolicyProtocol::Tcp,
        Some("udp") => PolicyProtocol::Udp,
        Some("icmp") => PolicyProtocol::Icmp,
        None | Some("any") => PolicyProtocol::Any,
        other => return Err(word(at, "protocol", "tcp, udp, icmp, any", other)),
    };
    let first = given.port.filter(|port| *port > 0);
    let has_ports = matches!(protocol, PolicyProtocol::Tcp | PolicyProtocol::Udp);
    if !has_ports && (first.is_some() || given.end_port.is_some()) {
        return Err(ApiError::invalid(format!(
            "{at}.port belongs to the protocols tcp and udp"
        )));
    }
    let (first, last) = match (first, given.end_port) {
        (None, None) => (0, u16::MAX),
        (Some(first), None) => (first, first),
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => {
            return Err(ApiError::invalid(format!(
                "{at}.end_port must not be below port"
            )));
        }
    };
    Ok(PolicyPort {
        protocol,
        first,
        last,
    })
}

fn short(field: &str, length: usize) -> Result<(), ApiError> {
    if length <= LIST_MAX {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "{field}: at most {LIST_MAX} are possible, got {length}"
    )))
}

fn word(at: &str, field: &str, allowed: &str, given: Option<&str>) -> ApiError {
    let given = given.unwrap_or_default();
    ApiError::invalid(format!(
        "{at}.{field} must be one of {allowed}, got \"{given}\""
    ))
}

fn view(stored: StoredPolicy) -> wire::NetworkPolicy {
    let StoredPolicy {
        policy,
        created_at,
        updated_at,
    } = stored;
    let PolicySelector { machines, metadata } = policy.selector;
    let all = machines.is_none() && metadata.is_empty();
    let machines = machines.map(|machines| {
        let ids = machines.into_iter().map(|id| wire::NetworkPolicyMachine {
            id: Some(id.to_string()),
        });
        ids.collect()
    });
    wire::NetworkPolicy {
        id: Some(policy.id),
        name: Some(policy.name),
        selector: Some(wire::NetworkPolicySelector {
            all: all.then_some(true),
            machines,
            metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
        }),
        rules: Some(policy.rules.into_iter().map(rule_view).collect()),
        created_at: Some(created_at),
        updated_at: Some(updated_at),
    }
}

fn rule_view(rule: PolicyRule) -> wire::NetworkPolicyRule {
    let texts = |texts: Vec<String>| Some(texts).filter(|texts| !texts.is_empty());
    wire::NetworkPolicyRule {
        action: Some(
            match rule.action {
                PolicyAction::Allow => "allow",
                PolicyAction::Deny => "deny",
            }
            .to_owned(),
        ),
        direction: Some(
            match rule.direction {
                PolicyDirection::Ingress => "ingress",
                PolicyDirection::Egress => "egress",
            }
            .to_owned(),
        ),
        ports: Some(rule.ports.into_iter().map(port_view).collect())
            .filter(|ports: &Vec<_>| !ports.is_empty()),
        cidrs: texts(rule.ranges.iter().map(IpRange::to_string).collect()),
        apps: texts(rule.apps.iter().map(AppName::to_string).collect()),
    }
}

fn port_view(port: PolicyPort) -> wire::NetworkPolicyPort {
    let protocol = match port.protocol {
        PolicyProtocol::Tcp => "tcp",
        PolicyProtocol::Udp => "udp",
        PolicyProtocol::Icmp => "icmp",
        PolicyProtocol::Any => "any",
    };
    let is_all = (port.first, port.last) == (0, u16::MAX);
    wire::NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: (!is_all).then_some(port.first),
        end_port: (!is_all && port.last != port.first).then_some(port.last),
    }
}
