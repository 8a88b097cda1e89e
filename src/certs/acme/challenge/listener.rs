//! A port that is open to the authority for as long as an order runs.
//!
//! It refuses to wait for those who dawdle, and to serve a crowd. Invariant: with the [`Listener`] the port and all guests
//! are gone.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::certs::acme::trouble::{AcmeError, Kind};

const PATIENCE: Duration = Duration::from_secs(10);
/// Authorities look from several places at once.
const SEATS: usize = 32;

/// Listens until it is dropped.
pub struct Listener(AbortHandle);

impl Listener {
    /// `attend` serves a guest; how that ends is the guest's affair. `variable` is what the port was told by.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn open<A, S>(port: u16, variable: &'static str, attend: A) -> Result<Listener, AcmeError>
    where
        A: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = listen(port, variable)?;
        Ok(Listener(
            tokio::spawn(serve(listener, attend)).abort_handle(),
        ))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve<A, S>(listener: TcpListener, attend: A)
where
    A: Fn(TcpStream) -> S,
    S: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let seats = Arc::new(Semaphore::new(SEATS));
    let mut guests = JoinSet::new();
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let attended = timeout(PATIENCE, attend(stream));
                guests.spawn(async move {
                    let _ = attended.await;
                    drop(seat);
                });
            }
            // Out of descriptors, for one.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        while guests.try_join_next().is_some() {}
    }
}

/// Listens at a port of all addresses: of both families where the machine has both.
fn listen(port: u16, variable: &str) -> Result<TcpListener, AcmeError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let bound = std::net::TcpListener::bind(both).or_else(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse | std::io::ErrorKind::PermissionDenied => Err(error),
        _ => std::net::TcpListener::bind(("0.0.0.0", port)),
    });
    let opened = bound.and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    opened.map_err(|error| {
        AcmeError::new(
            Kind::Local,
            format!("cannot listen at port {port} for the authority: {error}"),
        )
        .hint(format!(
            "free the port, or choose another with {variable} and have it forwarded"
        ))
    })
}
