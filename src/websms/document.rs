//! What a request or an answer says, as a tree, however it was written.
//!
//! Pure. It refuses to make a number of digits: a number is the text that stood in the source, so that `1.10`, an id of
//! twenty digits and a leading zero come out as they went in. Names keep their order; where one stands twice, the first
//! counts.
//!
//! Invariant: text that was not marked as a document stays text.

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Null,
    Bool(bool),
    /// As it stood in the source.
    Number(String),
    Text(String),
    Array(Vec<Document>),
    Object(Vec<(String, Document)>),
}

impl Document {
    /// The value of a name; of several the first.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Document> {
        let Document::Object(members) = self else {
            return None;
        };
        members
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    /// As `get`, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Document> {
        let Document::Object(members) = self else {
            return None;
        };
        members
            .iter_mut()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    #[must_use]
    pub fn at(&self, index: usize) -> Option<&Document> {
        match self {
            Document::Array(items) => items.get(index),
            _ => None,
        }
    }

    pub fn at_mut(&mut self, index: usize) -> Option<&mut Document> {
        match self {
            Document::Array(items) => items.get_mut(index),
            _ => None,
        }
    }

    /// Text, and what can be told as text: the digits of a number, `true`, `false`. Neither null nor a branch.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Document::Text(text) | Document::Number(text) => Some(text),
            Document::Bool(true) => Some("true"),
            Document::Bool(false) => Some("false"),
            Document::Null | Document::Array(_) | Document::Object(_) => None,
        }
    }

    /// The nodes right below.
    pub fn children(&self) -> impl Iterator<Item = &Document> {
        let (items, members): (&[Document], &[(String, Document)]) = match self {
            Document::Array(items) => (items, &[]),
            Document::Object(members) => (&[], members),
            _ => (&[], &[]),
        };
        items.iter().chain(members.iter().map(|(_, value)| value))
    }
}
