//! How names and certificates look in the API.

use mayfly_control_store::{CertificateSource, CustomHostname, StoredCertificate};
use mayfly_types::Timestamp;
use mayfly_wire::{
    CertificateDetail, CertificateSummary, CertificateValidation, HeldCertificate,
    IssuedCertificate, ValidationError,
};
use serde::Deserialize;

use super::findings::Findings;
use super::issue::LOCAL;
use super::needs::Needs;

/// A name with everything its picture is made of.
pub(super) struct Picture<'a> {
    pub(super) hostname: &'a CustomHostname,
    pub(super) needs: &'a Needs,
    /// What an order waits for in DNS.
    pub(super) challenge_values: Vec<String>,
    /// Show the records themselves.
    pub(super) with_records: bool,
    pub(super) now: Timestamp,
}

impl Picture<'_> {
    fn findings(&self) -> Findings {
        Findings::stored(self.hostname.findings.as_ref())
    }

    fn has(&self, source: CertificateSource) -> Option<&StoredCertificate> {
        let mut held = self.hostname.certificates.iter();
        held.find(|certificate| certificate.source == source && certificate.not_after > self.now)
    }

    fn status(&self) -> &'static str {
        let hostname = self.hostname;
        if !hostname.holder {
            "pending_ownership"
        } else if hostname
            .certificates
            .iter()
            .any(|held| held.not_after > self.now)
        {
            "active"
        } else {
            "pending_validation"
        }
    }

    fn validation(&self, findings: &Findings) -> CertificateValidation {
        let verdict = findings.verdict(self.needs);
        let values = &self.challenge_values;
        let shown = |value: &String| findings.acme_challenge_txt.contains(value);
        CertificateValidation {
            dns_configured: !values.is_empty() && values.iter().all(shown),
            alpn_configured: verdict.points_here && verdict.only_here,
            http_configured: verdict.points_here || verdict.ipv6_here,
            ownership_txt_configured: verdict.owner,
        }
    }

    pub(super) fn summary(&self) -> CertificateSummary {
        let (hostname, findings) = (self.hostname, self.findings());
        let validation = self.validation(&findings);
        let custom = self.has(CertificateSource::Custom);
        let served = custom.or_else(|| self.has(CertificateSource::Fly));
        CertificateSummary {
            hostname: hostname.name.to_string(),
            status: self.status().to_owned(),
            dns_provider: findings.dns_provider(),
            acme_dns_configured: validation.dns_configured,
            acme_alpn_configured: validation.alpn_configured,
            acme_http_configured: validation.http_configured,
            ownership_txt_configured: validation.ownership_txt_configured,
            configured: findings.verdict(self.needs).points_here,
            acme_requested: hostname.acme,
            has_custom_certificate: custom.is_some(),
            has_fly_certificate: self.has(CertificateSource::Fly).is_some(),
            expires_at: served.map(|certificate| certificate.not_after),
            created_at: hostname.created_at,
            updated_at: hostname.updated_at,
        }
    }

    pub(super) fn detail(&self) -> CertificateDetail {
        let (hostname, findings) = (self.hostname, self.findings());
        let mut errors = findings.problems(&hostname.name, self.needs);
        let failure = hostname.failure.as_ref();
        errors.extend(failure.and_then(|failure| ValidationError::deserialize(failure).ok()));
        CertificateDetail {
            hostname: hostname.name.to_string(),
            configured: findings.verdict(self.needs).points_here,
            acme_requested: hostname.acme,
            status: self.status().to_owned(),
            dns_provider: findings.dns_provider(),
            rate_limited_until: hostname.limited_until.filter(|until| *until > self.now),
            certificates: hostname
                .certificates
                .iter()
                .map(|certificate| self.held(certificate))
                .collect(),
            validation: self.validation(&findings),
            dns_requirements: self.needs.view(self.challenge_values.clone()),
            dns_records: self.with_records.then(|| findings.records()),
            validation_errors: errors,
            created_at: hostname.created_at,
            updated_at: hostname.updated_at,
        }
    }

    fn held(&self, certificate: &StoredCertificate) -> HeldCertificate {
        let status = if certificate.not_after <= self.now {
            "expired"
        } else if self.hostname.holder {
            "active"
        } else {
            "pending_ownership"
        };
        let ours = certificate.source == CertificateSource::Fly;
        let issued = IssuedCertificate {
            key_type: certificate.key_type.clone(),
            expires_at: certificate.not_after,
            certificate_authority: authority_name(&certificate.authority),
        };
        HeldCertificate {
            source: certificate.source.to_string(),
            status: status.to_owned(),
            created_at: certificate.created_at,
            expires_at: certificate.not_after,
            issuer: Some(certificate.issuer.clone()),
            issued: if ours { vec![issued] } else { Vec::new() },
        }
    }
}

/// `lets_encrypt` as clients know it, `local`, or the directory's host.
fn authority_name(authority: &str) -> String {
    if authority == LOCAL {
        return LOCAL.to_owned();
    }
    let host = authority
        .split_once("://")
        .map_or(authority, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    match host.ends_with(".letsencrypt.org") {
        true => "lets_encrypt".to_owned(),
        false => host.to_owned(),
    }
}
