//! The control socket: messages from programs of this machine, and questions of people.

use std::io;
use std::sync::Arc;

use super::Office;

/// Listens.
pub fn open(_office: &Office) -> io::Result<()> {
    Ok(())
}

/// Serves until the office closes.
pub async fn serve(_listener: (), office: Arc<Office>) {
    office.closed().await;
}
