//! What a path of the API means, and by which methods it is asked for.
//!
//! Pure. Invariant: a path is the API's by its beginning, whether it means something or not, so that no carrier's door is
//! found below it by chance.

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    Messages,
    Message(&'a str),
    Retry(&'a str),
    Cancel(&'a str),
    Events,
    Requests,
    Description,
}

/// Whether a path, without its query, is the API's.
#[must_use]
pub fn is_ours(path: &str) -> bool {
    path.starts_with("/v1/") || path == "/openapi.json"
}

#[must_use]
pub fn find(path: &str) -> Option<Route<'_>> {
    if path == "/openapi.json" {
        return Some(Route::Description);
    }
    let words: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
    match words.as_slice() {
        ["messages"] => Some(Route::Messages),
        ["messages", id] if !id.is_empty() => Some(Route::Message(id)),
        ["messages", id, "retry"] => Some(Route::Retry(id)),
        ["messages", id, "cancel"] => Some(Route::Cancel(id)),
        ["events"] => Some(Route::Events),
        ["requests"] => Some(Route::Requests),
        _ => None,
    }
}

impl Route<'_> {
    /// As the header Allow lists them.
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match self {
            Route::Messages => "GET, POST",
            Route::Retry(_) | Route::Cancel(_) => "POST",
            Route::Message(_) | Route::Events | Route::Requests | Route::Description => "GET",
        }
    }

    #[must_use]
    pub fn takes(&self, method: &str) -> bool {
        self.methods().split(", ").any(|known| known == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path() {
        for (path, route) in [
            ("/v1/messages", Some(Route::Messages)),
            ("/v1/messages/1", Some(Route::Message("1"))),
            ("/v1/messages/1/retry", Some(Route::Retry("1"))),
            ("/v1/messages/1/cancel", Some(Route::Cancel("1"))),
            ("/v1/events", Some(Route::Events)),
            ("/v1/requests", Some(Route::Requests)),
            ("/openapi.json", Some(Route::Description)),
            ("/v1/messages/", None),
            ("/v1/messages/1/", None),
            ("/v1/", None),
        ] {
            assert!(is_ours(path), "{path}");
            assert_eq!(find(path), route, "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v10/messages",
            "/hook/v1/messages",
            "/V1/messages",
        ] {
            assert!(!is_ours(path) && find(path).is_none(), "{path}");
        }
        assert!(Route::Messages.takes("POST") && !Route::Messages.takes("PUT"));
        assert!(!Route::Messages.takes("GET, POST") && !Route::Messages.takes(""));
    }
}
