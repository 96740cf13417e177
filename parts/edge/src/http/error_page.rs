//! Errors of the edge, readable by people and programs.

use serde_json::json;

/// The media type and body of an error. `code` is stable and meant for searching.
pub(crate) fn render(
    status: u16,
    code: &str,
    message: &str,
    request_id: &str,
    wants_json: bool,
) -> (&'static str, Vec<u8>) {
    if wants_json {
        let body = json!({ "error": message, "code": code, "request_id": request_id });
        return ("application/json", format!("{body}\n").into_bytes());
    }
    let (reason, message) = (reason(status), escape(message));
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{status} {reason}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:34em;padding:0 1em}}\
         code{{background:#eee;padding:.1em .3em;white-space:nowrap}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}code{{background:#333}}}}</style>\
         <h1>{status} {reason}</h1><p>{message}</p><p>Code <code>{code}</code>, request <code>{request_id}</code></p>\n"
    );
    ("text/html; charset=utf-8", page.into_bytes())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}

/// The reason phrase of the statuses the edge gives by itself.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_code_and_request_and_no_markup_gets_in() {
        for wants_json in [true, false] {
            let (_, body) = render(503, "PR01", "no <script> runs", "R1", wants_json);
            let text = String::from_utf8(body).unwrap();
            assert!(text.contains("PR01") && text.contains("R1"), "{text}");
            assert_eq!(text.contains("<script>"), wants_json, "{text}");
        }
    }
}
