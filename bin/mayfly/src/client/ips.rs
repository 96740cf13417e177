use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in};

/// An address of an app as the API describes it.
#[derive(Clone, Debug)]
pub(crate) struct Ip(Value);

/// What a new address is asked to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllocateIp {
    /// `v4`, `v6`, `shared_v4` or `private_v6`.
    pub(crate) kind: &'static str,
    pub(crate) region: Option<String>,
    pub(crate) org: Option<String>,
    pub(crate) network: Option<String>,
}

impl Ip {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> &str {
        self.text("ip")
    }

    /// As the cloud says it, or else read off the address.
    pub(crate) fn kind(&self) -> &str {
        let ip = self.address();
        match self.text("type") {
            "" if self.0["egress"] == true && ip.contains(':') => "egress_v6",
            "" if self.0["egress"] == true => "egress_v4",
            "" if self.0["shared"] == true => "shared_v4",
            "" if ip.starts_with("fdaa:") => "private_v6",
            "" if ip.contains(':') => "v6",
            "" => "v4",
            kind => kind,
        }
    }

    pub(crate) fn region(&self) -> &str {
        match self.text("region") {
            "" => "global",
            region => region,
        }
    }

    pub(crate) fn created_at(&self) -> &str {
        self.text("created_at")
    }

    pub(crate) fn service_name(&self) -> &str {
        self.text("service_name")
    }

    /// Name and organization of the network that reaches a private address.
    pub(crate) fn network(&self) -> Option<[&str; 2]> {
        let network = self.0.get("network")?;
        let word = |key: &str| network.get(key)?.as_str();
        Some([word("name")?, word("org_slug").unwrap_or_default()])
    }
}

impl Api {
    pub(crate) async fn ips(&self, app: &str) -> Result<Vec<Ip>, ApiError> {
        let path = path(app);
        let answer = self.get(&path).send().await?;
        let ips = list_in(answer, "ips", &path)?;
        Ok(ips.into_iter().map(Ip).collect())
    }

    pub(crate) async fn allocate_ip(&self, app: &str, wanted: AllocateIp) -> Result<Ip, ApiError> {
        let mut body = json!({ "type": wanted.kind });
        let fields = [
            ("region", wanted.region),
            ("org_slug", wanted.org),
            ("network", wanted.network),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        Ok(Ip(self.post(&path(app)).json(body).send().await?))
    }

    /// What an app with services should have: an IPv6 address of its own, announced in `region` or in all, and an IPv4
    /// address. Answers with what it did not have before.
    pub(crate) async fn allocate_recommended_ips(
        &self,
        app: &str,
        region: Option<String>,
    ) -> Result<Vec<Ip>, ApiError> {
        let had = self.ips(app).await?;
        let has = |kinds: &[&str]| had.iter().any(|ip| kinds.contains(&ip.kind()));
        let own = AllocateIp {
            kind: "v6",
            region,
            ..AllocateIp::default()
        };
        let shared = AllocateIp {
            kind: "shared_v4",
            ..AllocateIp::default()
        };
        let mut made = Vec::new();
        if !has(&["v6"]) {
            made.push(self.allocate_ip(app, own).await?);
        }
        if !has(&["v4", "shared_v4"]) {
            made.push(self.allocate_ip(app, shared).await?);
        }
        Ok(made)
    }

    /// A pair of addresses that machines of one region leave by.
    pub(crate) async fn allocate_egress(
        &self,
        app: &str,
        region: &str,
    ) -> Result<Vec<Ip>, ApiError> {
        let body = json!({ "type": "egress_pair", "region": region });
        let answer = self.post(&path(app)).json(body).send().await?;
        let pair = ["v4", "v6"].map(|family| Ip(answer["ip_pair"][family].clone()));
        Ok(pair.into())
    }

    pub(crate) async fn release_ip(&self, app: &str, ip: &str) -> Result<(), ApiError> {
        let path = format!("{}/{}", path(app), encoded(ip));
        self.delete(&path).send().await.map(drop)
    }
}

fn path(app: &str) -> String {
    format!("/v1/apps/{}/ip_assignments", encoded(app))
}
