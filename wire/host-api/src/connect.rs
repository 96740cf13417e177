use tokio::io::{AsyncRead, AsyncWrite};

/// An open connection into a private network. Each direction is ended on its own; dropping it ends both.
pub type Connection = Box<dyn Duplex>;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}
