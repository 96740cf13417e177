//! Answers of the edge itself, readable by people and programs.

use serde_json::json;

/// A complete response. `code` is stable and meant for searching; JSON unless the client asks for HTML.
pub(crate) fn render(
    status: u16,
    code: &str,
    message: &str,
    request_id: &str,
    wants_json: bool,
) -> Vec<u8> {
    let reason = reason(status);
    let (kind, body) = if wants_json {
        (
            "application/json",
            format!(
                "{}\n",
                json!({ "error": message, "code": code, "request_id": request_id })
            ),
        )
    } else {
        let page = format!(
            "<!doctype html><meta charset=utf-8><title>{status} {reason}</title>\
             <style>body{{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:34em;padding:0 1em}}\
             code{{background:#eee;padding:.1em .3em}}</style>\
             <h1>{status} {reason}</h1><p>{message}</p><p>Code <code>{code}</code>, request <code>{request_id}</code></p>\n"
        );
        ("text/html; charset=utf-8", page)
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Fly-Request-Id: {request_id}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
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
    fn length_matches_the_body() {
        for wants_json in [true, false] {
            let text = String::from_utf8(render(
                503,
                "no_machine",
                "no machine runs",
                "R1",
                wants_json,
            ))
            .unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("Content-Length: {}", body.len())),
                "{text}"
            );
            assert!(body.contains("no_machine") && body.contains("R1"));
        }
    }
}
