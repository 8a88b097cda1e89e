//! A carrier's answer as a document, and paths into it.
//!
//! Pure. A path has names with dots between them, `[0]` for an item and `[*]` for all. Invariant: ids come out as text.

use serde_json::Value as Json;

/// The values at a path, as text: strings, numbers and truths.
pub(super) fn texts(document: &Json, path: &str) -> Vec<String> {
    let mut found = vec![document];
    let path = path.strip_prefix('$').unwrap_or(path);
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|value| next(value, step))
            .collect();
    }
    found.into_iter().filter_map(text).collect()
}

fn next<'a>(value: &'a Json, step: &str) -> Vec<&'a Json> {
    match (step.strip_suffix(']'), value) {
        (Some("*"), Json::Array(values)) => values.iter().collect(),
        (Some(at), Json::Array(values)) => at
            .parse()
            .ok()
            .and_then(|at: usize| values.get(at))
            .into_iter()
            .collect(),
        (None, Json::Object(fields)) => fields.get(step).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The last field of this name at any depth, as the predecessor found it.
pub(super) fn last(document: &Json, name: &str) -> Option<String> {
    let mut found = None;
    walk(document, name, &mut found);
    found
}

fn walk(value: &Json, name: &str, found: &mut Option<String>) {
    match value {
        Json::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    *found = text(value).or(found.take());
                }
                walk(value, name, found);
            }
        }
        Json::Array(values) => values.iter().for_each(|value| walk(value, name, found)),
        _ => {}
    }
}
