use super::InvalidReplay;

/// Changes to a request before its target sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transform {
    path: Option<String>,
    delete_headers: Vec<String>,
    set_headers: Vec<(String, String)>,
}

/// These delimit the message or belong to the connection: an app that could change them could smuggle requests.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const CHANGES_MAX: usize = 64;
const VALUE_MAX: usize = 16 * 1024;

impl Transform {
    /// # Errors
    /// A path that does not begin with `/`, a name that is no token, a value with line breaks, or a field that delimits
    /// the message.
    pub fn new(
        path: Option<String>,
        delete_headers: Vec<String>,
        set_headers: Vec<(String, String)>,
    ) -> Result<Transform, InvalidReplay> {
        if let Some(path) = &path
            && !(path.starts_with('/')
                && path.len() <= VALUE_MAX
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'#'))
        {
            return Err(InvalidReplay::field(
                "transform.path",
                path,
                "begin with / and encode everything but visible ASCII",
            ));
        }
        if delete_headers.len() + set_headers.len() > CHANGES_MAX {
            return Err(InvalidReplay::field(
                "transform",
                "",
                "change at most 64 headers",
            ));
        }
        for name in &delete_headers {
            check_name("transform.delete_headers", name)?;
            if name.eq_ignore_ascii_case("host") {
                return Err(InvalidReplay::field(
                    "transform.delete_headers",
                    name,
                    "every request has a host; set another one instead",
                ));
            }
        }
        for (name, value) in &set_headers {
            check_name("transform.set_headers", name)?;
            check_value(name, value)?;
        }
        Ok(Transform {
            path,
            delete_headers,
            set_headers,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.path.is_none() && self.delete_headers.is_empty() && self.set_headers.is_empty()
    }

    /// The new path and query, in place of both.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Names to take away, in any case.
    pub fn delete_headers(&self) -> &[String] {
        &self.delete_headers
    }

    /// Name and value of every field that takes the place of those of the same name.
    pub fn set_headers(&self) -> &[(String, String)] {
        &self.set_headers
    }

    /// Whether a field called `name` does not stay as the client sent it.
    pub fn touches(&self, name: &[u8]) -> bool {
        let same = |own: &str| own.as_bytes().eq_ignore_ascii_case(name);
        self.delete_headers.iter().any(|own| same(own))
            || self.set_headers.iter().any(|(own, _)| same(own))
    }
}

fn check_name(field: &'static str, name: &str) -> Result<(), InvalidReplay> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        return Err(InvalidReplay::field(
            field,
            name,
            "use a header name (RFC 9110, 5.1)",
        ));
    }
    if FRAMING.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(InvalidReplay::field(
            field,
            name,
            "headers that delimit the message or belong to the connection stay as they are",
        ));
    }
    if name.len() >= 4 && name.as_bytes()[..4].eq_ignore_ascii_case(b"fly-") {
        return Err(InvalidReplay::field(
            field,
            name,
            "headers that begin with fly- are the proxy's own",
        ));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), InvalidReplay> {
    let bad_host = name.eq_ignore_ascii_case("host")
        && !value.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        });
    let bad_host = bad_host || (name.eq_ignore_ascii_case("host") && value.is_empty());
    if bad_host || value.len() > VALUE_MAX || value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(InvalidReplay::field(
            "transform.set_headers",
            value,
            "use one line of text, for host a host name",
        ));
    }
    Ok(())
}
