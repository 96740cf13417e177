use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mayfly_types::ErrorKind;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// Signs JSON web tokens with ECDSA over P-256 and SHA-256 (ES256, RFC 7518).
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// Why there is no key, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("make a signing key")]
    Make,
    #[error("read a signing key: {0}")]
    Unreadable(String),
    #[error("sign a token")]
    Sign,
}

impl SigningError {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl SigningKey {
    /// A new key, and itself as PKCS #8, which is secret.
    pub fn generate() -> Result<(SigningKey, Vec<u8>), SigningError> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .map_err(|_| SigningError::Make)?;
        let key = SigningKey::from_pkcs8(document.as_ref())?;
        Ok((key, document.as_ref().to_vec()))
    }

    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<SigningKey, SigningError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|reason| SigningError::Unreadable(reason.to_string()))?;
        Ok(SigningKey { pair, random })
    }

    /// Names the key in tokens; follows from the public half.
    pub fn id(&self) -> String {
        let hash = digest(&SHA256, self.pair.public_key().as_ref());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
    }

    /// The public half as a JSON web key (RFC 7517).
    pub fn public_key(&self) -> Value {
        // Uncompressed: 4, then both coordinates (SEC 1, 2.3.3).
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({
            "kty": "EC",
            "crv": "P-256",
            "alg": "ES256",
            "use": "sig",
            "kid": self.id(),
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// A signed token in its compact form (RFC 7515, 7.1).
    pub fn token(&self, claims: &Value) -> Result<String, SigningError> {
        let header = json!({ "alg": "ES256", "kid": self.id(), "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self
            .pair
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| SigningError::Sign)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_is_verified_with_what_is_shown() {
        let (key, pkcs8) = SigningKey::generate().unwrap();
        let token = SigningKey::from_pkcs8(&pkcs8)
            .unwrap()
            .token(&json!({ "sub": "a:b:c" }))
            .unwrap();
        let shown = key.public_key();
        assert_eq!(shown["kid"], key.id());
        let coordinate = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(shown[name].as_str().unwrap())
                .unwrap()
        };
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        assert!(SigningKey::from_pkcs8(b"no key").is_err());
    }
}
