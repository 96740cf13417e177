use mayfly_types::Timestamp;
use mayfly_wire::CertificateDetail;

use crate::output::{Output, fields, relative_time};

/// A status in the words people know.
pub(super) fn status_word(status: &str, configured: bool) -> &str {
    match (status, configured) {
        ("active", _) => "Ready",
        ("pending_ownership", _) => "Awaiting ownership",
        ("pending_validation", true) => "Awaiting certificates",
        ("pending_validation", false) => "Awaiting configuration",
        (other, _) => other,
    }
}

/// Everything about a name but the records it needs.
pub(super) fn print(
    out: &Output,
    detail: &CertificateDetail,
    now: Timestamp,
) -> anyhow::Result<()> {
    let hostname = &detail.hostname;
    let ready = detail.status == "active";
    out.line(&match ready {
        true => format!("The certificate for {hostname} has been issued.\n"),
        false => format!("The certificate for {hostname} has not been issued yet.\n"),
    })?;
    let issued = detail.certificates.iter().flat_map(|held| &held.issued);
    let types: Vec<&str> = issued
        .clone()
        .map(|issued| issued.key_type.as_str())
        .collect();
    let authorities: Vec<&str> = issued
        .map(|issued| match issued.certificate_authority.as_str() {
            "lets_encrypt" => "Let's Encrypt",
            other => other,
        })
        .collect();
    let sources: Vec<&str> = detail
        .certificates
        .iter()
        .map(|held| held.source.as_str())
        .collect();
    let expires = detail.certificates.iter().map(|held| held.expires_at).max();
    let expires = expires.map(|at| relative_time(at, now)).unwrap_or_default();
    let added = relative_time(detail.created_at, now);
    let mut pairs = vec![
        ("Status", status_word(&detail.status, detail.configured)),
        ("DNS Provider", detail.dns_provider.as_str()),
    ];
    let (authorities, types, sources) =
        (authorities.join(", "), types.join(","), sources.join(", "));
    pairs.extend([
        ("Certificate Authority", authorities.as_str()),
        ("Issued", types.as_str()),
        ("Expires", expires.as_str()),
        ("Added to App", added.as_str()),
        ("Source", sources.as_str()),
    ]);
    let limited = detail.rate_limited_until.map(|at| relative_time(at, now));
    if let Some(limited) = &limited {
        pairs.push(("Rate Limited For", limited));
    }
    fields(out, hostname, &pairs)?;
    for error in &detail.validation_errors {
        out.line(&format!("{}: {}", error.code, error.message))?;
        out.line(&format!("  {}\n", error.remediation))?;
    }
    if let Some(records) = &detail.dns_records {
        let list = |values: &[String]| values.join(", ");
        let alias = records.acme_challenge_cname.clone().unwrap_or_default();
        let ownership = records.ownership_txt.clone().unwrap_or_default();
        let pairs = [
            ("A", list(&records.a)),
            ("AAAA", list(&records.aaaa)),
            ("CNAME", list(&records.cname)),
            ("Leads to", list(&records.resolved_addresses)),
            ("_acme-challenge", alias),
            ("_fly-ownership", ownership),
        ];
        let found: Vec<(&str, &str)> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if !found.is_empty() {
            fields(out, "DNS records found", &found)?;
        }
    }
    Ok(())
}
