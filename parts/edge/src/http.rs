//! HTTP: from a client's request to a machine's answer.
//!
//! [`serve_request`] is the way of every request; what a client speaks is behind [`Exchange`]. HTTP/1 is parsed here, not
//! by a framework, and strictly: whatever two parsers could read in two ways is refused, which is what makes request
//! smuggling impossible.

pub(crate) mod attempt;
pub(crate) mod body;
mod channel;
pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod core;
mod counters;
mod delivery;
mod early;
mod error_page;
pub(crate) mod exchange;
pub(crate) mod field;
pub(crate) mod head;
mod http1;
mod limits;
mod memory;
mod notices;
pub(crate) mod outbound;
pub(crate) mod pipeline;
mod pool;
pub(crate) mod problem;
pub(crate) mod pulse;
mod replaying;
pub(crate) mod response_head;
mod room;
pub(crate) mod shared;
mod site;
mod text;
mod upstream;
mod wanted;

pub use self::core::HttpSettings;
pub(crate) use self::core::{Core, Cores};
pub(crate) use body::{BodyError, Form, Piece};
pub(crate) use channel::{Channel, Reader};
pub use counters::{EdgeMetrics, EdgeTotals};
pub(crate) use exchange::{AnswerSource, HeadError};
pub(crate) use head::RequestHead;
pub use limits::{Limit, Limits};
pub(crate) use pulse::TICK;
pub(crate) use response_head::ResponseHead;
