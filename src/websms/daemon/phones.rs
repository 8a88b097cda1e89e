//! Messages to phones.

use std::sync::Arc;

use super::Office;

/// Works off what waits, for ever.
pub async fn run(office: Arc<Office>) {
    office.for_phones.notified().await;
}
