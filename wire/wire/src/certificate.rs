use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of asking for a certificate.
    pub struct RequestCertificate {
        pub hostname: String,
    }

    /// Body of bringing a certificate; chain and key in PEM form.
    pub struct ImportCertificate {
        pub hostname: String,
        pub fullchain: String,
        pub private_key: String,
    }
}

/// A page of an app's custom host names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificatePage {
    pub certificates: Vec<CertificateSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    pub total_count: i64,
}

/// A custom host name in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateSummary {
    pub hostname: String,
    /// `active`, `pending_validation` or `pending_ownership`.
    pub status: String,
    pub dns_provider: String,
    pub acme_dns_configured: bool,
    pub acme_alpn_configured: bool,
    pub acme_http_configured: bool,
    pub ownership_txt_configured: bool,
    pub configured: bool,
    pub acme_requested: bool,
    pub has_custom_certificate: bool,
    pub has_fly_certificate: bool,
    /// When the certificate that is served ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Everything about a custom host name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateDetail {
    pub hostname: String,
    /// DNS leads here.
    pub configured: bool,
    pub acme_requested: bool,
    pub status: String,
    pub dns_provider: String,
    pub rate_limited_until: Option<Timestamp>,
    pub certificates: Vec<HeldCertificate>,
    pub validation: CertificateValidation,
    pub dns_requirements: DnsRequirements,
    /// What DNS says; in answers to a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_records: Option<DnsRecords>,
    pub validation_errors: Vec<ValidationError>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldCertificate {
    /// `fly` for what the platform obtained, `custom` for what the user brought.
    pub source: String,
    /// `active`, `pending_ownership` or `expired`.
    pub status: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub issuer: Option<String>,
    pub issued: Vec<IssuedCertificate>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IssuedCertificate {
    /// `ecdsa` or `rsa`.
    #[serde(rename = "type")]
    pub key_type: String,
    pub expires_at: Timestamp,
    /// `lets_encrypt`, `local`, or the host of the ACME directory.
    pub certificate_authority: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateValidation {
    pub dns_configured: bool,
    pub alpn_configured: bool,
    pub http_configured: bool,
    pub ownership_txt_configured: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsRequirements {
    pub a: Vec<String>,
    pub aaaa: Vec<String>,
    pub cname: String,
    pub acme_challenge: AcmeChallengeRecord,
    pub ownership: OwnershipRecord,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcmeChallengeRecord {
    pub name: String,
    /// What the name is to be an alias of; empty where this cloud answers no DNS.
    pub target: String,
    /// What a text record under the name must hold just now, if an order waits for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnershipRecord {
    pub name: String,
    pub app_value: String,
    pub org_value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsRecords {
    pub a: Vec<String>,
    pub aaaa: Vec<String>,
    pub cname: Vec<String>,
    pub resolved_addresses: Vec<String>,
    pub soa: Option<String>,
    pub acme_challenge_cname: Option<String>,
    pub ownership_txt: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValidationError {
    /// `DNS_NOT_CONFIGURED`, `DNS_RECORD_MISMATCH`, …
    pub code: String,
    pub message: String,
    pub remediation: String,
    pub timestamp: Timestamp,
}
