use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mayfly_certs::dns::{DnsError, Resolver};
use mayfly_types::{Hostname, Timestamp};
use mayfly_wire::{DnsRecords, ValidationError};
use serde::{Deserialize, Serialize};

use super::needs::Needs;

/// Stands for every name a wildcard holds.
const ANY_LABEL: &str = "mayfly-check";

/// What DNS says about a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Findings {
    a: Vec<Ipv4Addr>,
    aaaa: Vec<Ipv6Addr>,
    cname: Option<String>,
    soa: Option<String>,
    acme_challenge_cname: Option<String>,
    pub(super) acme_challenge_txt: Vec<String>,
    ownership_txt: Vec<String>,
    /// Why an answer is missing.
    failure: Option<String>,
    at: Timestamp,
}

/// What findings mean for an app that wants the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Some address is ours, or the name is an alias of the app's.
    pub(super) points_here: bool,
    /// No address is somebody else's.
    pub(super) only_here: bool,
    pub(super) ipv6_here: bool,
    /// The text that only the owner can set names the app or its organization.
    pub(super) owner: bool,
    /// That text names the app itself, or the name is an alias of the app's, or has an address of its own.
    pub(super) names_app: bool,
}

impl Findings {
    /// Asks for everything at once. A part that cannot be looked up is missing, with the reason.
    pub(super) async fn look_up(
        resolver: &Resolver,
        hostname: &Hostname,
        needs: &Needs,
        now: Timestamp,
    ) -> Findings {
        let visited = match hostname.is_wildcard() {
            true => format!("{ANY_LABEL}.{}", hostname.base()),
            false => hostname.to_string(),
        };
        let (a, aaaa, cname, soa, challenge_cname, challenge_txt, ownership) = tokio::join!(
            resolver.a(&visited),
            resolver.aaaa(&visited),
            resolver.cname(&visited),
            resolver.soa(hostname.base()),
            resolver.cname(&needs.challenge_name),
            resolver.txt(&needs.challenge_name),
            resolver.txt(&needs.ownership_name),
        );
        let mut failure = None;
        fn taken<T: Default>(answer: Result<T, DnsError>, failure: &mut Option<String>) -> T {
            answer.unwrap_or_else(|error| {
                failure.get_or_insert(error.to_string());
                T::default()
            })
        }
        Findings {
            a: taken(a, &mut failure),
            aaaa: taken(aaaa, &mut failure),
            cname: taken(cname, &mut failure),
            soa: taken(soa, &mut failure),
            acme_challenge_cname: taken(challenge_cname, &mut failure),
            acme_challenge_txt: taken(challenge_txt, &mut failure),
            ownership_txt: taken(ownership, &mut failure),
            failure,
            at: now,
        }
    }

    /// Reads what was stored; what is unknown counts as never looked up.
    pub(super) fn stored(value: Option<&serde_json::Value>) -> Findings {
        value
            .and_then(|value| Findings::deserialize(value).ok())
            .unwrap_or_default()
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.a.iter().copied().map(IpAddr::V4);
        v4.chain(self.aaaa.iter().copied().map(IpAddr::V6))
    }

    pub(super) fn verdict(&self, needs: &Needs) -> Verdict {
        let ours = |ip: IpAddr| needs.addresses().any(|our| our == ip);
        let alias = self.cname.as_deref() == Some(needs.cname.as_str());
        let texts = self.ownership_txt.iter().flat_map(|text| text.split(';'));
        let texts: Vec<&str> = texts.map(str::trim).collect();
        let says = |value: &String| texts.contains(&value.as_str());
        let found = self.addresses().next().is_some();
        Verdict {
            points_here: alias || self.addresses().any(ours),
            only_here: alias || (found && self.addresses().all(ours)),
            ipv6_here: self.aaaa.iter().any(|ip| ours(IpAddr::V6(*ip))),
            owner: says(&needs.app_value) || says(&needs.org_value),
            names_app: says(&needs.app_value)
                || alias
                || self.addresses().any(|ip| needs.dedicated.contains(&ip)),
        }
    }

    /// The organization that runs the zone's name servers, as far as their name tells.
    pub(super) fn dns_provider(&self) -> String {
        let Some(server) = &self.soa else {
            return String::new();
        };
        for (mark, provider) in [
            ("cloudflare.com", "cloudflare"),
            ("awsdns", "aws"),
            ("googledomains.com", "google"),
            ("domaincontrol.com", "godaddy"),
            ("registrar-servers.com", "namecheap"),
            ("name-services.com", "enom"),
            ("digitalocean.com", "digitalocean"),
        ] {
            if server.contains(mark) {
                return provider.to_owned();
            }
        }
        let labels: Vec<&str> = server.rsplit('.').take(2).collect();
        labels
            .last()
            .map_or_else(String::new, |label| (*label).to_owned())
    }

    pub(super) fn records(&self) -> DnsRecords {
        let text = |ip: IpAddr| ip.to_string();
        let direct = self.cname.is_none();
        DnsRecords {
            a: self
                .a
                .iter()
                .filter(|_| direct)
                .map(ToString::to_string)
                .collect(),
            aaaa: self
                .aaaa
                .iter()
                .filter(|_| direct)
                .map(ToString::to_string)
                .collect(),
            cname: self.cname.iter().cloned().collect(),
            resolved_addresses: self.addresses().map(text).collect(),
            soa: self.soa.clone(),
            acme_challenge_cname: self.acme_challenge_cname.clone(),
            ownership_txt: (!self.ownership_txt.is_empty()).then(|| self.ownership_txt.join(";")),
        }
    }

    /// What is wrong with the records of a name that shall lead here, with what to do about it.
    pub(super) fn problems(&self, hostname: &Hostname, needs: &Needs) -> Vec<ValidationError> {
        let verdict = self.verdict(needs);
        let problem = |code: &str, message: String, remediation: String| {
            vec![ValidationError {
                code: code.to_owned(),
                message,
                remediation,
                timestamp: self.at,
            }]
        };
        let list = |ips: Vec<IpAddr>| {
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            ips.join(", ")
        };
        let wanted = list(needs.addresses().collect());
        let remedy = if wanted.is_empty() {
            format!("Make {hostname} a CNAME of {}.", needs.cname)
        } else {
            format!(
                "Point {hostname} at {wanted}, or make it a CNAME of {}.",
                needs.cname
            )
        };
        let ours = |ip: &IpAddr| needs.addresses().any(|our| our == *ip);
        let foreign: Vec<IpAddr> = self.addresses().filter(|ip| !ours(ip)).collect();
        if self.at == Timestamp::default() || (verdict.points_here && verdict.only_here) {
            return Vec::new();
        }
        if let Some(failure) = &self.failure
            && self.addresses().next().is_none()
        {
            let remedy = format!("Check the name servers of {hostname}, then check again.");
            return problem("DNS_TIMEOUT", failure.clone(), remedy);
        }
        if self.addresses().next().is_none() && self.cname.is_none() {
            let message = format!("{hostname} has neither an A, AAAA nor CNAME record");
            return problem("DNS_NOT_CONFIGURED", message, remedy);
        }
        if verdict.points_here {
            let message = format!(
                "{hostname} also leads to {}, which is not this app",
                list(foreign)
            );
            let remedy = format!("Remove the records for {hostname} that lead elsewhere.");
            return problem("DNS_RECORD_PARTIAL_MATCH", message, remedy);
        }
        if wanted.is_empty() {
            let message = format!("no public address is known that {hostname} could point at");
            return problem("NO_ALLOCATED_IPS", message, remedy);
        }
        let message = match (&self.cname, foreign.is_empty()) {
            (Some(alias), true) => {
                format!("{hostname} is a CNAME of {alias}, which has no address")
            }
            _ => format!(
                "{hostname} leads to {}, which is not this app",
                list(foreign)
            ),
        };
        problem("DNS_RECORD_MISMATCH", message, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs() -> Needs {
        Needs {
            dedicated: vec!["192.0.2.9".parse().unwrap()],
            shared: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            cname: "web.apps.test".to_owned(),
            challenge_name: "_acme-challenge.x.test".to_owned(),
            challenge_target: String::new(),
            ownership_name: "_fly-ownership.x.test".to_owned(),
            app_value: "app-1".to_owned(),
            org_value: "org-2".to_owned(),
        }
    }

    fn found(a: &[&str], cname: Option<&str>, texts: &[&str]) -> Findings {
        Findings {
            a: a.iter().map(|ip| ip.parse().unwrap()).collect(),
            cname: cname.map(str::to_owned),
            ownership_txt: texts.iter().map(|text| (*text).to_owned()).collect(),
            at: Timestamp::from_millis(1),
            ..Findings::default()
        }
    }

    #[test]
    fn addresses_aliases_and_texts_are_weighed() {
        for (findings, here, only, owner, names_app, code) in [
            (
                found(&[], None, &[]),
                false,
                false,
                false,
                false,
                "DNS_NOT_CONFIGURED",
            ),
            (
                found(&["192.0.2.1"], None, &[]),
                true,
                true,
                false,
                false,
                "",
            ),
            (
                found(&["192.0.2.9"], None, &[]),
                true,
                true,
                false,
                true,
                "",
            ),
            (
                found(&["198.51.100.1"], None, &[]),
                false,
                false,
                false,
                false,
                "DNS_RECORD_MISMATCH",
            ),
            (
                found(&["192.0.2.1", "198.51.100.1"], None, &[]),
                true,
                false,
                false,
                false,
                "DNS_RECORD_PARTIAL_MATCH",
            ),
            (
                found(&[], Some("web.apps.test"), &[]),
                true,
                true,
                false,
                true,
                "",
            ),
            (
                found(&[], Some("other.test"), &[]),
                false,
                false,
                false,
                false,
                "DNS_RECORD_MISMATCH",
            ),
            (
                found(&[], None, &["v=spf1", "x; app-1"]),
                false,
                false,
                true,
                true,
                "DNS_NOT_CONFIGURED",
            ),
            (
                found(&[], None, &["org-2"]),
                false,
                false,
                true,
                false,
                "DNS_NOT_CONFIGURED",
            ),
        ] {
            let verdict = findings.verdict(&needs());
            assert_eq!(
                (
                    verdict.points_here,
                    verdict.only_here,
                    verdict.owner,
                    verdict.names_app
                ),
                (here, only, owner, names_app),
                "{findings:?}"
            );
            let problems = findings.problems(&"x.test".parse().unwrap(), &needs());
            let codes: Vec<&str> = problems
                .iter()
                .map(|problem| problem.code.as_str())
                .collect();
            assert_eq!(codes.join(","), code, "{findings:?}");
        }
    }

    #[test]
    fn without_any_address_of_ours_the_error_says_so() {
        let nowhere = Needs {
            dedicated: Vec::new(),
            shared: Vec::new(),
            ..needs()
        };
        let findings = found(&["198.51.100.1"], None, &[]);
        let problems = findings.problems(&"x.test".parse().unwrap(), &nowhere);
        assert_eq!(problems[0].code, "NO_ALLOCATED_IPS");
        assert!(problems[0].remediation.contains("web.apps.test"));
    }
}
