use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of a request for a token that says who a machine is.
    pub struct CreateOidcToken {
        /// For whom the token is; the issuer itself if nobody is named.
        pub aud: String,
        /// Whether the token also carries session tags for AWS.
        pub aws_principal_tags: bool,
    }
}
