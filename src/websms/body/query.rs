//! The query of a request's target: the same notation as a form's.
//!
//! Pure. Invariant: only `&` parts fields; a semicolon is a sign like any other and can stand in a text.

use super::{Malformed, form};
use crate::websms::request::LARGEST_BODY;

/// The fields of the query, in their order.
pub fn read(target: &str) -> Result<Vec<(String, String)>, Malformed> {
    if target.len() > LARGEST_BODY {
        return Err(Malformed::with_status(
            414,
            format!("the address is longer than {LARGEST_BODY} bytes"),
        ));
    }
    let query = target.split_once('?').map_or("", |(_, query)| query);
    form::read(query.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_a_form() {
        assert_eq!(
            read("/sms?to=%2B1&text=a;b?c").unwrap(),
            [
                ("to".to_owned(), "+1".to_owned()),
                ("text".to_owned(), "a;b?c".to_owned())
            ]
        );
        assert_eq!(read("/sms").unwrap(), []);
        assert_eq!(read(&"/".repeat(70_000)).unwrap_err().status, 414);
    }
}
