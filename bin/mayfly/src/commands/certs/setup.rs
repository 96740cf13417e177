use mayfly_wire::{CertificateDetail, DnsRequirements};

use crate::output::Output;

/// The records that make a name work, and those still missing for its certificate.
pub(super) fn print(out: &Output, detail: &CertificateDetail) -> anyhow::Result<()> {
    Ok(out.text(&instructions(detail))?)
}

fn instructions(detail: &CertificateDetail) -> String {
    let (hostname, needs) = (&detail.hostname, &detail.dns_requirements);
    let validation = &detail.validation;
    if detail.status == "active" && detail.configured {
        return format!(
            "{hostname} leads to this app and has its certificate. Nothing is left to do.\n"
        );
    }
    let mut steps = Vec::new();
    if !detail.configured {
        steps.push(traffic(hostname, needs));
    }
    if detail.status == "pending_ownership" || behind_a_proxy(detail) {
        steps.push(ownership(needs));
    }
    if detail.acme_requested
        && !needs.acme_challenge.target.is_empty()
        && !validation.dns_configured
    {
        steps.push(format!(
            "To get the certificate before traffic moves here{}, add this record:\n\n    CNAME  {}  {}\n",
            if is_wildcard(hostname) { ", which a wildcard always needs" } else { "" },
            needs.acme_challenge.name,
            needs.acme_challenge.target
        ));
    } else if detail.acme_requested
        && !validation.dns_configured
        && !needs.acme_challenge.values.is_empty()
    {
        let values = needs.acme_challenge.values.iter();
        let records: String = values
            .map(|value| format!("    TXT  {}  \"{value}\"\n", needs.acme_challenge.name))
            .collect();
        let when = match is_wildcard(hostname) {
            true => {
                "A wildcard is proved in DNS only. Add this record; it changes with every renewal:"
            }
            false => "To get the certificate before traffic moves here, add this record:",
        };
        steps.push(format!("{when}\n\n{records}"));
    } else if is_wildcard(hostname) && detail.acme_requested && detail.status != "active" {
        steps.push(format!(
            "A wildcard is proved in DNS only: a text record {} will be needed. Its value is being asked for; see it \
             in a moment with `certs setup`.\n",
            needs.acme_challenge.name
        ));
    }
    if steps.is_empty() {
        return format!("DNS is set up for {hostname}; its certificate is on the way.\n");
    }
    let mut text = format!("Set these records in the DNS of {hostname}:\n");
    for (number, step) in (1..).zip(&steps) {
        text.push_str(&format!("\n{number}. {step}"));
    }
    text.push_str("\nThen see how far it is with `certs check`.\n");
    text
}

fn is_wildcard(hostname: &str) -> bool {
    hostname.starts_with("*.")
}

/// Somebody else's addresses answer for the name, and may do so on purpose.
fn behind_a_proxy(detail: &CertificateDetail) -> bool {
    !detail.validation.ownership_txt_configured
        && detail
            .validation_errors
            .iter()
            .any(|error| error.code == "DNS_RECORD_MISMATCH")
}

fn traffic(hostname: &str, needs: &DnsRequirements) -> String {
    // What looks like a domain of its own cannot be an alias (RFC 1034, 3.6.2).
    let is_apex = hostname.split('.').count() == 2;
    let mut records = String::new();
    for (kind, ips) in [("A", &needs.a), ("AAAA", &needs.aaaa)] {
        for ip in ips {
            records.push_str(&format!("    {kind:<5}  {hostname}  {ip}\n"));
        }
    }
    let alias = format!("    CNAME  {hostname}  {}\n", needs.cname);
    match (is_apex, records.is_empty()) {
        (true, false) => format!(
            "Lead traffic to the app:\n\n{records}\n   A domain itself cannot be a CNAME; where your provider offers \
             ALIAS or ANAME, point it at {}.\n",
            needs.cname
        ),
        (true, true) => format!(
            "Lead traffic to the app: a domain itself cannot be a CNAME; use your provider's ALIAS or ANAME to {}, or \
             A and AAAA records with this server's public addresses (`edge.public_addresses` of the server names them \
             here).\n",
            needs.cname
        ),
        (false, true) => format!("Lead traffic to the app:\n\n{alias}"),
        (false, false) => format!("Lead traffic to the app:\n\n{alias}\n   or\n\n{records}"),
    }
}

fn ownership(needs: &DnsRequirements) -> String {
    format!(
        "Prove that the name is yours (one of the two values is enough):\n\n    TXT  {name}  \"{}\"\n    TXT  {name}  \
         \"{}\"\n",
        needs.ownership.app_value,
        needs.ownership.org_value,
        name = needs.ownership.name,
    )
}

#[cfg(test)]
mod tests {
    use mayfly_wire::{AcmeChallengeRecord, OwnershipRecord};

    use super::*;

    fn detail(hostname: &str, status: &str, configured: bool) -> CertificateDetail {
        CertificateDetail {
            hostname: hostname.to_owned(),
            status: status.to_owned(),
            configured,
            acme_requested: true,
            dns_requirements: DnsRequirements {
                a: vec!["192.0.2.1".to_owned()],
                aaaa: vec!["2001:db8::1".to_owned()],
                cname: "web.apps.test".to_owned(),
                acme_challenge: AcmeChallengeRecord {
                    name: format!("_acme-challenge.{}", hostname.trim_start_matches("*.")),
                    ..AcmeChallengeRecord::default()
                },
                ownership: OwnershipRecord {
                    name: "_fly-ownership.x.test".to_owned(),
                    app_value: "app-1".to_owned(),
                    org_value: "org-2".to_owned(),
                },
            },
            ..CertificateDetail::default()
        }
    }

    #[test]
    fn an_apex_gets_addresses_and_a_subdomain_an_alias() {
        let apex = instructions(&detail("x.test", "pending_validation", false));
        assert!(apex.contains("    A      x.test  192.0.2.1\n"), "{apex}");
        assert!(apex.contains("    AAAA   x.test  2001:db8::1\n"), "{apex}");
        assert!(apex.contains("cannot be a CNAME"), "{apex}");
        let below = instructions(&detail("www.x.test", "pending_validation", false));
        assert!(
            below.contains("    CNAME  www.x.test  web.apps.test\n"),
            "{below}"
        );
    }

    #[test]
    fn a_wildcard_is_told_its_text_record() {
        let mut wildcard = detail("*.x.test", "pending_validation", true);
        let early = instructions(&wildcard);
        assert!(early.contains("_acme-challenge.x.test"), "{early}");
        wildcard.dns_requirements.acme_challenge.values = vec!["digest".to_owned()];
        let text = instructions(&wildcard);
        assert!(
            text.contains("    TXT  _acme-challenge.x.test  \"digest\"\n"),
            "{text}"
        );
    }

    #[test]
    fn a_name_somebody_else_has_is_to_be_proved() {
        let text = instructions(&detail("www.x.test", "pending_ownership", true));
        assert!(
            text.contains("TXT  _fly-ownership.x.test  \"app-1\""),
            "{text}"
        );
        let done = instructions(&detail("www.x.test", "active", true));
        assert!(done.contains("Nothing is left"), "{done}");
    }
}
