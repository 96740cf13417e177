//! As much of netlink as we need: build messages, send several at once, collect answers; and the links of the kernel.

mod link;
mod message;
mod socket;

pub use link::{Link, delete_link, find_link, link_header, list_links, new_link, set_link_up};
pub use message::{ACK, CREATE, DUMP, EXCL, Message, REPLACE, REQUEST, attributes};
pub use socket::Socket;
