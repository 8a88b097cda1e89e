//! A request of a carrier, as far as the rooms that judge it need it.
//!
//! Pure; it borrows what the server holds. It refuses to choose between two headers of one name.
//!
//! Invariant: what is judged is what came: the target and the body are the bytes of the request, nothing is decoded here.

/// More than this is no text message; pictures come as addresses.
pub const LARGEST_BODY: usize = 64 * 1024;

/// What was asked of us.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query as they stand in the request's first line.
    pub target: &'a str,
    /// Those of one name in the order in which they came. A value that is not UTF-8 is one replacement character: a header that
    /// is left out would leave the word to another of its name.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The target up to its query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target
            .split_once('?')
            .map_or(self.target, |(path, _)| path)
    }

    /// What follows the question mark; empty without one.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The header of this name. One that came twice says nothing: who put the second one there is not known.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut all = self.all(name);
        let first = all.next()?;
        all.next().is_none().then_some(first.trim())
    }

    /// All headers of this name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        let name = name.to_owned();
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(&name))
            .map(|(_, value)| *value)
    }

    /// The media type of the body, small and without its parameters; empty without a header.
    #[must_use]
    pub fn media_type(&self) -> String {
        let value = self.header("Content-Type").unwrap_or("");
        let kind = value.split_once(';').map_or(value, |(kind, _)| kind);
        kind.trim().to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_path_ends_where_the_query_begins() {
        let request = |target| Request {
            method: "POST",
            target,
            headers: &[],
            body: b"",
        };
        assert_eq!(request("/hook/1?a=1?b").path(), "/hook/1");
        assert_eq!(request("/hook/1?a=1?b").query(), "a=1?b");
        assert_eq!(request("/hook/1").path(), "/hook/1");
        assert_eq!(request("/hook/1").query(), "");
    }

    #[test]
    fn a_header_that_came_twice_says_nothing() {
        let request = Request {
            method: "POST",
            target: "/",
            headers: &[
                ("x-sig", "a"),
                ("content-type", "Text/JSON ; charset=utf-8"),
                ("X-Sig", "b"),
            ],
            body: b"",
        };
        assert_eq!(request.header("X-SIG"), None);
        assert_eq!(request.all("X-Sig").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(request.media_type(), "text/json");
    }
}
