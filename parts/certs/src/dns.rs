//! A resolver that asks the servers it is told to ask, and shows what they say: addresses, aliases, texts, and the
//! zone a name lies in. It caches nothing, since its answers decide whether a change somebody just made is visible.

mod message;
mod resolver;

pub use resolver::{DnsError, Resolver, system_servers};
