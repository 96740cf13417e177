//! AWS Signature Version 4 of requests for one object.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.

use mayfly_net::Method;
use mayfly_types::Timestamp;
use ring::{digest, hmac};

use crate::AccessKey;

/// What is added to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) fields: [(&'static str, String); 2],
    pub(crate) authorization: String,
}

/// What is signed of a request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    /// Encoded already.
    pub(crate) path: &'a str,
    /// Encoded already and in order.
    pub(crate) query: &'a str,
    /// SHA-256 of the body.
    pub(crate) content: &'a str,
}

pub(crate) fn sign(key: &AccessKey, region: &str, asked: Asked<'_>, now: Timestamp) -> Signed {
    let time = time_of(now);
    let day = &time[..8];
    let scope = format!("{day}/{region}/s3/aws4_request");
    let Asked {
        method,
        host,
        path,
        query,
        content,
    } = asked;
    let request = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{content}\nx-amz-date:{time}\n\n\
         host;x-amz-content-sha256;x-amz-date\n{content}"
    );
    let digest = digest::digest(&digest::SHA256, request.as_bytes());
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(digest.as_ref())
    );
    let first = format!("AWS4{}", key.secret.reveal());
    let key_of_request = [day, region, "s3", "aws4_request"]
        .iter()
        .fold(first.into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key_of_request, &text));
    Signed {
        fields: [
            ("x-amz-content-sha256", content.to_owned()),
            ("x-amz-date", time),
        ],
        authorization: format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},\
             SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}",
            key.id
        ),
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Such as `20130524T000000Z`.
fn time_of(now: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use mayfly_types::Secret;

    use super::*;
    use crate::NO_CONTENT;

    /// The key derivation and form are those of Amazon's own worked examples; that a storage takes the whole is shown
    /// by the conformance test against a real one.
    #[test]
    fn a_signature_names_its_scope_and_depends_on_everything() {
        let key = AccessKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        };
        let at = Timestamp::from_millis(1_369_353_600_000);
        let asked = Asked {
            method: &Method::GET,
            host: "s3.test",
            path: "/bucket/a",
            query: "",
            content: NO_CONTENT,
        };
        let signed = |path| {
            let asked = Asked { path, ..asked };
            sign(&key, "us-east-1", asked, at)
        };
        let one = signed("/bucket/a");
        assert_eq!(one.fields[1].1, "20130524T000000Z");
        assert!(one.authorization.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/us-east-1/s3/aws4_request,"
        ));
        assert_ne!(one, signed("/bucket/b"));
        let query = "partNumber=1&uploadId=a";
        let part = sign(&key, "us-east-1", Asked { query, ..asked }, at);
        assert_ne!(one.authorization, part.authorization);
        let elsewhere = sign(&key, "auto", asked, at);
        assert_ne!(one.authorization, elsewhere.authorization);
        // The examples' derived key: HMAC chain over 20150830, us-east-1, iam.
        let derived = ["20150830", "us-east-1", "iam", "aws4_request"]
            .iter()
            .fold(
                format!("AWS4{}", key.secret.reveal()).into_bytes(),
                |key, part| mac(&key, part),
            );
        assert_eq!(
            hex(&derived),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }
}
