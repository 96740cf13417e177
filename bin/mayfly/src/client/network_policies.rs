use serde_json::Value;

use super::{Api, ApiError, encoded};

/// A network policy as the API describes it.
#[derive(Clone, Debug)]
pub(crate) struct NetworkPolicy(pub(crate) Value);

impl NetworkPolicy {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    /// Which machines it is for, in a few words.
    pub(crate) fn selected(&self) -> String {
        let selector = &self.0["selector"];
        let mut words = Vec::new();
        for machine in selector["machines"].as_array().into_iter().flatten() {
            words.extend(machine["id"].as_str().map(str::to_owned));
        }
        for (key, value) in selector["metadata"].as_object().into_iter().flatten() {
            words.push(format!("{key}={}", value.as_str().unwrap_or_default()));
        }
        if words.is_empty() {
            words.push("all machines".to_owned());
        }
        words.join(" ")
    }

    /// Its rules, each in a few words: `allow egress tcp/443 to 10.0.0.0/8`.
    pub(crate) fn rules(&self) -> Vec<String> {
        let rules = self.0["rules"].as_array();
        rules.into_iter().flatten().map(rule_words).collect()
    }
}

fn rule_words(rule: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |key: &str| rule[key].as_array().cloned().unwrap_or_default();
    let mut words = vec![text(&rule["action"]), text(&rule["direction"])];
    for port in list("ports") {
        let protocol = text(&port["protocol"]);
        words.push(match (port["port"].as_u64(), port["end_port"].as_u64()) {
            (None, _) => protocol,
            (Some(first), None) => format!("{protocol}/{first}"),
            (Some(first), Some(last)) => format!("{protocol}/{first}-{last}"),
        });
    }
    let others: Vec<String> = [list("cidrs"), list("apps")]
        .concat()
        .iter()
        .map(text)
        .collect();
    if !others.is_empty() {
        words.push(
            if rule["direction"] == "ingress" {
                "from"
            } else {
                "to"
            }
            .to_owned(),
        );
        words.extend(others);
    }
    words.join(" ")
}

impl Api {
    pub(crate) async fn network_policies(&self, app: &str) -> Result<Vec<NetworkPolicy>, ApiError> {
        let answer = self.get(&path(app)).send().await?;
        let policies = answer.as_array().cloned().unwrap_or_default();
        Ok(policies.into_iter().map(NetworkPolicy).collect())
    }

    pub(crate) async fn network_policy(
        &self,
        app: &str,
        id: &str,
    ) -> Result<NetworkPolicy, ApiError> {
        let path = format!("{}/{}", path(app), encoded(id));
        Ok(NetworkPolicy(self.get(&path).send().await?))
    }

    /// Adds the policy, or replaces the one whose id it has.
    pub(crate) async fn put_network_policy(
        &self,
        app: &str,
        policy: Value,
    ) -> Result<NetworkPolicy, ApiError> {
        let answer = self.post(&path(app)).json(policy).send().await?;
        Ok(NetworkPolicy(answer))
    }

    pub(crate) async fn delete_network_policy(&self, app: &str, id: &str) -> Result<(), ApiError> {
        let path = format!("{}/{}", path(app), encoded(id));
        self.delete(&path).send().await.map(drop)
    }
}

fn path(app: &str) -> String {
    format!("/v1/apps/{}/network_policies", encoded(app))
}
