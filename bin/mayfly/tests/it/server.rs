//! A cloud that says what a test wrote down, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Instead of a status: the connection ends without an answer.
pub(crate) const BROKEN_OFF: u16 = 0;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method and target, such as `GET /v1/apps?org_slug=a`.
    pub(crate) line: String,
    pub(crate) authorization: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

struct Rule {
    line: String,
    answers: Vec<(u16, String)>,
}

/// Answers on a port of its own until dropped.
pub(crate) struct Server {
    address: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap().to_string(),
            rules: Arc::default(),
            asked: Arc::default(),
        };
        let (rules, asked) = (server.rules.clone(), server.asked.clone());
        // Ends with the test process; a test's server is asked nothing more once its test is over.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (rules, asked) = (rules.clone(), asked.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &rules, &asked));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests whose line begins with `line` (the longest match wins); the last answer of a line repeats.
    pub(crate) fn says(&self, line: &str, status: u16, body: impl ToString) -> &Self {
        let mut rules = self.rules.lock().unwrap();
        let answer = (status, body.to_string());
        match rules.iter_mut().find(|rule| rule.line == line) {
            Some(rule) => rule.answers.push(answer),
            None => rules.push(Rule {
                line: line.to_owned(),
                answers: vec![answer],
            }),
        }
        self
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests whose line begins with `line`.
    pub(crate) fn asked_for(&self, line: &str) -> Vec<Asked> {
        let asked = self.asked();
        asked
            .into_iter()
            .filter(|asked| asked.line.starts_with(line))
            .collect()
    }
}

fn serve(stream: TcpStream, rules: &Mutex<Vec<Rule>>, asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        let (status, body) = answer(&request.line, &mut rules.lock().unwrap());
        asked.lock().unwrap().push(request);
        if status == BROKEN_OFF {
            return;
        }
        let kind = if body.starts_with("id:") {
            "text/event-stream"
        } else {
            "application/json"
        };
        let head = format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = &stream;
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(line: &str, rules: &mut [Rule]) -> (u16, String) {
    let matching = rules.iter_mut().filter(|rule| line.starts_with(&rule.line));
    match matching.max_by_key(|rule| rule.line.len()) {
        Some(rule) if rule.answers.len() > 1 => rule.answers.remove(0),
        Some(rule) => rule.answers[0].clone(),
        None => (
            404,
            format!("{{\"error\":\"nothing is scripted for {line}\"}}"),
        ),
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut first = String::new();
    reader
        .read_line(&mut first)
        .ok()
        .filter(|length| *length > 0)?;
    let mut words = first.split(' ');
    let line = format!("{} {}", words.next()?, words.next()?);
    let (mut authorization, mut length, mut chunked) = (String::new(), 0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        match name {
            "authorization" => authorization = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            "transfer-encoding" => chunked = value == "chunked",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut piece = vec![0; size + 2];
        reader.read_exact(&mut piece).ok()?;
        body.extend_from_slice(&piece[..size]);
        chunked = size > 0;
    }
    Some(Asked {
        line,
        authorization,
        body,
    })
}
